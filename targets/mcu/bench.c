/* Measures a step of the model in model.h on a microcontroller, whenever its serial line asks: a line with a number of
 * steps is answered by a line of JSON. `edgernn bench --target serial:DEV` asks. Nothing is printed unasked, so that a
 * reader who comes later misses nothing. */
#include "cycles.h"
#include "firmware.h"
#include "model.h"
#include "noise.h"
#include "start.h"
#include "uart.h"

enum { WARM_UP = 2 };

static _Alignas(64) uint8_t memory[MODEL_STREAM_BYTES];

typedef struct {
  uint32_t least, most;
  uint64_t total;
} measured;

void say(const char *text) {
  while (*text) uart_send(*text++);
}

void leave(int status) { /* a fault: main does not return */
  (void)status;
  say("{\"error\": \"the program faulted\"}\n");
  for (;;) {}
}

static void say_number(const char *key, uint64_t number) {
  char text[21], *at = text + 20;
  *at = 0;
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  say(", \""), say(key), say("\": "), say(at);
}

static void say_hexadecimal(const char *key, uint64_t number) {
  say(", \""), say(key), say("\": \"");
  for (int shift = 60; shift >= 0; shift -= 4) uart_send("0123456789abcdef"[number >> shift & 15]);
  say("\"");
}

/* The number on the next line; another byte begins it anew. */
static uint32_t asked_steps(void) {
  for (uint32_t number = 0;;) {
    const char c = uart_receive();
    if (c >= '0' && c <= '9')
      number = 10 * number + (uint32_t)(c - '0');
    else if (c == '\n' && number)
      return number;
    else
      number = 0;
  }
}

static measured measure(const ernn_model *model, ernn_stream *stream, uint32_t steps) {
  measured m = {.least = UINT32_MAX};
  for (uint32_t i = 0; i < WARM_UP + steps; i++) {
    feed_noise(model, stream);
    const uint32_t began = cycles();
    ernn_step(stream);
    const uint32_t took = cycles() - began;
    if (i < WARM_UP) continue;
    m.total += took;
    if (took < m.least) m.least = took;
    if (took > m.most) m.most = took;
  }
  return m;
}

static ernn_status answer(uint32_t steps, const char *counter) {
  static const ernn_options as_its_maker = {.exact = 1};
  ernn_model model;
  ernn_stream *stream;
  ernn_status status = ernn_model_open(&model, model_model, MODEL_MODEL_BYTES);
  if (!status) status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, &as_its_maker);
  if (status) return status;
  const uint64_t hash = ernn_vectors_hash(stream, VECTORS_SEED, VECTORS_STEPS);
  status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, (const ernn_options *)0);
  if (status) return status;
  const measured m = measure(&model, stream, steps);
  say("{\"schema\": 1, \"isa\": \""), say(ernn_stream_isa(stream));
  say("\", \"counter\": \""), say(counter), say("\"");
  say_hexadecimal("fingerprint", ernn_model_fingerprint(&model)), say_hexadecimal("vectors_hash", hash);
  say_number("steps", steps), say_number("least_cycles", m.least), say_number("most_cycles", m.most);
  say_number("total_cycles", m.total);
  say_number("stream_bytes", ernn_stream_size(&model, 0)), say_number("stack_bytes", stack_used()), say("}\n");
  return ERNN_OK;
}

int main(void) {
  uart_start();
  const char *counter = cycles_start();
  for (;;) {
    const ernn_status status = answer(asked_steps(), counter);
    if (status) say("{\"error\": \""), say(ernn_status_text(status)), say("\"}\n");
  }
}
