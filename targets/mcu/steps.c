/* Runs steps of the model in model.h over noise, for an emulator that counts its instructions. */
#include "model.h"
#include "noise.h"
#include "start.h"

static _Alignas(64) uint8_t memory[MODEL_STREAM_BYTES];

static const volatile uint32_t steps = 0x53544550; /* "STEP": in the program the number takes this word's place */

int main(void) {
  ernn_model model;
  ernn_stream *stream;
  ernn_status status = ernn_model_open(&model, model_model, MODEL_MODEL_BYTES);
  if (!status) status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, (const ernn_options *)0);
  if (status) {
    say(ernn_status_text(status)), say("\n");
    return 1;
  }
  feed_noise(&model, stream);
  for (uint32_t left = steps; left; left--) ernn_step(stream);
  say("{\"isa\": \""), say(ernn_stream_isa(stream)), say("\"}\n");
  return 0;
}
