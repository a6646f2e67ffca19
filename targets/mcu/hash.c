/* Streams the frames in frames.h through the model in model.h, and prints the SHA-256 of all outputs as `edgernn run
 * --hash` has it, with what the run took of this CPU's memory. */
#include "frames.h"
#include "model.h"
#include "sha256.h"
#include "start.h"

static _Alignas(64) uint8_t memory[MODEL_STREAM_BYTES];
static _Alignas(64) uint8_t outputs[OUTPUTS * OUTPUT_BYTES];

static void say_number(const char *key, uint32_t number) {
  char text[11], *at = text + 10;
  *at = 0;
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  say(", \""), say(key), say("\": "), say(at);
}

static void add(sha256 *hash, const ernn_model *model, const size_t *got) {
  for (uint32_t o = 0; o < OUTPUTS; o++) {
    ernn_port port;
    ernn_model_port(model, 0, ERNN_OUTPUT, o, &port);
    sha256_add(hash, outputs + o * OUTPUT_BYTES, got[o] * (port.bytes / port.dims[0]));
  }
}

int main(void) {
  ernn_model model;
  ernn_stream *stream;
  ernn_status status = ernn_model_open(&model, model_model, MODEL_MODEL_BYTES);
  if (!status) status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, (const ernn_options *)0);
  void *out[OUTPUTS];
  const void *in[INPUTS];
  size_t got[OUTPUTS];
  sha256 hash;
  sha256_start(&hash);
  for (uint32_t o = 0; o < OUTPUTS; o++) out[o] = outputs + o * OUTPUT_BYTES;
  for (uint32_t at = 0; !status && at < FRAMES; at += MODEL_HOP) {
    for (uint32_t i = 0; i < INPUTS; i++) in[i] = inputs[i] + at * input_frame[i];
    status = ernn_push(stream, in, FRAMES - at < MODEL_HOP ? FRAMES - at : MODEL_HOP, out, got);
    add(&hash, &model, got);
  }
  while (!status) { /* one output: with several, their frames would stand in another order than in one flush */
    status = ernn_flush(stream, out, got);
    add(&hash, &model, got);
  }
  if (status != ERNN_FLUSHED) {
    say("error: "), say(ernn_status_text(status)), say("\n");
    return 1;
  }
  char text[65];
  sha256_end(&hash, text);
  say("{\"sha256\": \""), say(text), say("\", \"isa\": \""), say(ernn_stream_isa(stream)), say("\"");
  say_number("stream_bytes", (uint32_t)ernn_stream_size(&model, 0));
  say_number("stack_bytes", stack_used());
  say("}\n");
  return 0;
}
