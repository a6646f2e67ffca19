/* Stream frames through a .tflite file of edgernn's with the LiteRT C API (2.x); the state is carried by name.
 *
 *     cc -std=c11 -I LITERT_SDK/include litert_stream.c -L LITERT_SDK/lib -lLiteRt -o litert_stream
 *     litert_stream model.tflite < frames.f32 > results.f32
 *
 * Frames are float32, one hop after the other, of the one input that is no state; results are those of the outputs
 * that are no states. Every state starts at zero: what the contract's `init` says for all but learned initial states.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "litert/c/litert_common.h"
#include "litert/c/litert_compiled_model.h"
#include "litert/c/litert_environment.h"
#include "litert/c/litert_model.h"
#include "litert/c/litert_options.h"
#include "litert/c/litert_tensor_buffer.h"

#define MOST 64             /* inputs, and outputs, of a step */
#define STATE "state."      /* how the names of states begin; the new one is called NAME_out */
#define LEFT "frames_left"  /* the input that is told where the sequence ends */
#define UNKNOWN_END ((int64_t)1 << 40)

typedef struct {
  const char *name;
  LiteRtTensorBuffer buffer;
  size_t size; /* bytes */
  int pair;    /* of a state among the inputs: its output's index, else -1 */
} Port;

static void check(LiteRtStatus status, const char *what) {
  if (status == kLiteRtStatusOk) return;
  fprintf(stderr, "litert_stream: %s failed with status %d\n", what, (int)status);
  exit(1);
}

static void *lock(const Port *port, LiteRtTensorBufferLockMode mode) {
  void *memory;
  check(LiteRtLockTensorBuffer(port->buffer, &memory, mode), port->name);
  return memory;
}

static void unlock(const Port *port) { check(LiteRtUnlockTensorBuffer(port->buffer), port->name); }

static LiteRtTensorBuffer new_buffer(LiteRtEnvironment env, LiteRtTensor tensor, LiteRtTensorBufferRequirements needs) {
  LiteRtRankedTensorType type;
  LiteRtTensorBuffer buffer;
  check(LiteRtGetRankedTensorType(tensor, &type), "tensor type");
  check(LiteRtCreateManagedTensorBufferFromRequirements(env, &type, needs, &buffer), "tensor buffer");
  return buffer;
}

static size_t open_ports(LiteRtEnvironment env, LiteRtCompiledModel model, LiteRtSignature step, int is_input,
                         Port *ports) {
  LiteRtParamIndex count;
  check(is_input ? LiteRtGetNumSignatureInputs(step, &count) : LiteRtGetNumSignatureOutputs(step, &count), "signature");
  if (count > MOST) exit(1);
  for (LiteRtParamIndex i = 0; i < count; i++) {
    LiteRtTensorBufferRequirements needs;
    LiteRtTensor tensor;
    Port *port = &ports[i];
    if (is_input) {
      check(LiteRtGetSignatureInputName(step, i, &port->name), "name");
      check(LiteRtGetSignatureInputTensor(step, port->name, &tensor), port->name);
      check(LiteRtGetCompiledModelInputBufferRequirements(model, 0, i, &needs), port->name);
    } else {
      check(LiteRtGetSignatureOutputName(step, i, &port->name), "name");
      check(LiteRtGetSignatureOutputTensor(step, port->name, &tensor), port->name);
      check(LiteRtGetCompiledModelOutputBufferRequirements(model, 0, i, &needs), port->name);
    }
    port->buffer = new_buffer(env, tensor, needs);
    check(LiteRtGetTensorBufferPackedSize(port->buffer, &port->size), port->name);
    port->pair = -1;
    if (is_input) {
      int64_t *memory = lock(port, kLiteRtTensorBufferLockModeWrite);
      memset(memory, 0, port->size);
      if (strcmp(port->name, LEFT) == 0) *memory = UNKNOWN_END;
      unlock(port);
    }
  }
  return count;
}

/* Find the output that each state comes back by. */
static void pair_states(Port *inputs, size_t in_count, const Port *outputs, size_t out_count) {
  for (size_t i = 0; i < in_count; i++) {
    size_t length = strlen(inputs[i].name);
    if (strncmp(inputs[i].name, STATE, strlen(STATE)) != 0) continue;
    for (size_t j = 0; j < out_count; j++) {
      const char *name = outputs[j].name;
      if (strncmp(name, inputs[i].name, length) == 0 && strcmp(name + length, "_out") == 0) inputs[i].pair = (int)j;
    }
    if (inputs[i].pair < 0) {
      fprintf(stderr, "litert_stream: nothing returns %s\n", inputs[i].name);
      exit(1);
    }
  }
}

int main(int argc, char **argv) {
  LiteRtEnvironment env;
  LiteRtModel file;
  LiteRtOptions options;
  LiteRtCompiledModel model;
  LiteRtSignature step;
  static Port inputs[MOST], outputs[MOST];
  if (argc != 2) return fprintf(stderr, "usage: litert_stream MODEL.tflite < frames.f32 > results.f32\n"), 2;
  check(LiteRtCreateEnvironment(0, NULL, &env), "environment");
  check(LiteRtCreateModelFromFile(env, argv[1], &file), argv[1]);
  check(LiteRtCreateOptions(&options), "options");
  check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "options");
  check(LiteRtCreateCompiledModel(env, file, options, &model), "compile");
  check(LiteRtGetModelSignature(file, 0, &step), "signature"); /* there is one, called `step` */
  size_t in_count = open_ports(env, model, step, 1, inputs), out_count = open_ports(env, model, step, 0, outputs);
  pair_states(inputs, in_count, outputs, out_count);

  for (;;) {
    LiteRtTensorBuffer given[MOST], made[MOST];
    for (size_t i = 0; i < in_count; i++) {
      if (inputs[i].pair < 0 && strcmp(inputs[i].name, LEFT) != 0) {
        size_t got = fread(lock(&inputs[i], kLiteRtTensorBufferLockModeWrite), 1, inputs[i].size, stdin);
        unlock(&inputs[i]);
        if (got < inputs[i].size) return 0;
      }
      given[i] = inputs[i].buffer;
    }
    for (size_t j = 0; j < out_count; j++) made[j] = outputs[j].buffer;
    check(LiteRtRunCompiledModel(model, 0, in_count, given, out_count, made), "step");
    for (size_t i = 0; i < in_count; i++) {
      if (inputs[i].pair < 0) continue;
      Port *returned = &outputs[inputs[i].pair]; /* the new state is the next step's input: no copy */
      LiteRtTensorBuffer old = inputs[i].buffer;
      inputs[i].buffer = returned->buffer;
      returned->buffer = old;
    }
    for (size_t j = 0; j < out_count; j++) {
      if (strncmp(outputs[j].name, STATE, strlen(STATE)) == 0) continue;
      fwrite(lock(&outputs[j], kLiteRtTensorBufferLockModeRead), 1, outputs[j].size, stdout);
      unlock(&outputs[j]);
    }
  }
}
