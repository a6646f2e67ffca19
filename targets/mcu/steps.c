/* Runs steps of the model in model.h over noise, for an emulator that counts its instructions. */
#include "model.h"
#include "start.h"

static _Alignas(64) uint8_t memory[MODEL_STREAM_BYTES];

static const volatile uint32_t steps = 0x53544550; /* "STEP": in the program the number takes this word's place */

static float noise(void) { /* in [-1, 1), as ernn_bench has it */
  static uint32_t x = 7;
  x ^= x << 13, x ^= x >> 17, x ^= x << 5;
  return (float)(x >> 8) * 0x1p-23f - 1.0f;
}

int main(void) {
  ernn_model model;
  ernn_stream *stream;
  ernn_status status = ernn_model_open(&model, model_model, MODEL_MODEL_BYTES);
  if (!status) status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, (const ernn_options *)0);
  if (status) {
    say(ernn_status_text(status)), say("\n");
    return 1;
  }
  for (uint32_t i = 0; i < ernn_model_ports(&model, 0, ERNN_INPUT); i++) {
    ernn_port port;
    ernn_model_port(&model, 0, ERNN_INPUT, i, &port);
    float *x = ernn_input(stream, i);
    for (uint32_t k = 0; port.dtype == ERNN_FLOAT32 && k < port.bytes / sizeof *x; k++) x[k] = noise();
  }
  for (uint32_t left = steps; left; left--) ernn_step(stream);
  say("{\"isa\": \""), say(ernn_stream_isa(stream)), say("\"}\n");
  return 0;
}
