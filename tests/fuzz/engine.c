/* libFuzzer's harness: a hostile file, then everything a program may do with it. `make fuzz-engine` builds and runs it.
 * Every block of memory is exactly as large as the interface asks for, so that AddressSanitizer sees a byte too far. */
#include "edgernn.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_MEMORY = 1 << 20, MOST_WORK = 1 << 15, MOST_PORTS = 64, STEPS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t next(uint64_t *state) { /* xorshift */
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

static void *room(size_t size) {
  void *memory;
  return posix_memalign(&memory, 64, size ? size : 1) ? NULL : memory;
}

static void *noise(size_t size, uint64_t *seed) {
  uint8_t *bytes = room(size);
  if (next(seed) % 2) /* indices and lengths of a sensible size, or anything */
    for (size_t i = 0; i < size; i++) bytes[i] = i % 4 ? 0 : (uint8_t)(next(seed) % 9);
  else
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)next(seed);
  return bytes;
}

static uint64_t fnv1a(const uint8_t *bytes, size_t size) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

typedef struct {
  const ernn_model *model;
  uint32_t program, inputs, outputs, states;
  size_t in[MOST_PORTS], out[MOST_PORTS], state[MOST_PORTS]; /* bytes of a step */
  uint64_t seed;
} context;

static int ports(context *c) {
  c->inputs = ernn_model_ports(c->model, c->program, ERNN_INPUT);
  c->outputs = ernn_model_ports(c->model, c->program, ERNN_OUTPUT);
  c->states = ernn_model_ports(c->model, c->program, ERNN_STATE_PORT);
  if (c->inputs > MOST_PORTS || c->outputs > MOST_PORTS || c->states > MOST_PORTS) return 0;
  for (uint32_t kind = ERNN_INPUT; kind <= ERNN_STATE_PORT; kind++) {
    for (uint32_t i = 0; i <= ernn_model_ports(c->model, c->program, (ernn_kind)kind); i++) {
      ernn_port port;
      if (ernn_model_port(c->model, c->program, (ernn_kind)kind, i, &port)) continue;
      uint8_t *name = room(port.name_size);
      memcpy(name, port.name, port.name_size);
      free(name);
      *(kind == ERNN_INPUT ? &c->in[i] : kind == ERNN_OUTPUT ? &c->out[i] : &c->state[i]) = port.bytes;
    }
  }
  return 1;
}

static void push(context *c, ernn_stream *s, uint32_t hop, size_t frames) {
  void *in[MOST_PORTS], *out[MOST_PORTS];
  size_t got[MOST_PORTS];
  for (uint32_t i = 0; i < c->inputs; i++) in[i] = noise(c->in[i] / hop * frames, &c->seed);
  for (uint32_t o = 0; o < c->outputs; o++) out[o] = room(c->out[o] * ((hop - 1 + frames) / hop));
  ernn_push(s, (const void *const *)in, frames, out, got);
  for (uint32_t i = 0; i < c->inputs; i++) free(in[i]);
  for (uint32_t o = 0; o < c->outputs; o++) free(out[o]);
}

static void flush(context *c, ernn_stream *s) {
  void *out[MOST_PORTS];
  size_t got[MOST_PORTS];
  for (int k = 0; k < STEPS; k++) {
    for (uint32_t o = 0; o < c->outputs; o++) out[o] = room(c->out[o]);
    ernn_status status = ernn_flush(s, out, got);
    for (uint32_t o = 0; o < c->outputs; o++) free(out[o]);
    if (status == ERNN_FLUSHED) break;
  }
}

/* A saved state, whole, damaged, and changed by someone who knows the checksum. */
static void save_and_restore(context *c, ernn_stream *s) {
  size_t size = ernn_state_size(s);
  uint8_t *state = room(size);
  ernn_state_save(s, state);
  if (ernn_state_restore(s, state, size)) abort();
  uint8_t *broken = room(size);
  memcpy(broken, state, size);
  broken[next(&c->seed) % size] ^= (uint8_t)(1 + next(&c->seed) % 255);
  if (ernn_state_restore(s, broken, size) == ERNN_OK) abort();
  if (ernn_state_restore(s, broken, size - 1) == ERNN_OK) abort();
  memcpy(broken, state, 48);
  if (next(&c->seed) % 2) broken[12] = (uint8_t)next(&c->seed);
  if (next(&c->seed) % 2) broken[6] ^= 1;
  for (size_t i = 32; i < size; i++)
    if (next(&c->seed) % 4 == 0) broken[i] = (uint8_t)next(&c->seed);
  memset(broken + 48, 0, 8);
  uint64_t hash = fnv1a(broken, size);
  memcpy(broken + 48, &hash, 8);
  ernn_state_restore(s, broken, size);
  free(broken);
  free(state);
}

static void write_noise(context *c, void *to, size_t size) {
  uint8_t *bytes = noise(size, &c->seed);
  memcpy(to, bytes, size);
  free(bytes);
}

static void stream(context *c, const char *isa) {
  size_t size = ernn_stream_size(c->model, c->program);
  uint32_t hop = ernn_model_hop(c->model, c->program);
  uint64_t work = ernn_model_work(c->model, c->program);
  if (!ports(c) || size > MOST_MEMORY || work > MOST_WORK) return;
  for (uint32_t i = 0; i < c->inputs; i++)
    if (c->in[i] > MOST_MEMORY) return;
  uint8_t *memory = room(size);
  ernn_options options = {isa, (int)(next(&c->seed) % 2)};
  ernn_stream *s;
  if (ernn_stream_init(&s, c->model, c->program, memory, size - 1, &options) != ERNN_MEMORY) abort();
  if (ernn_stream_init(&s, c->model, c->program, memory, size, &options)) abort();
  ernn_prefetch(s);
  for (int k = 0; k < STEPS; k++) {
    for (uint32_t i = 0; i < c->inputs; i++) write_noise(c, ernn_input(s, i), c->in[i]);
    for (uint32_t i = 0; k == 1 && i < c->states; i++) write_noise(c, ernn_state(s, i), c->state[i]);
    if (k == 2 && ernn_frames_left(s)) write_noise(c, ernn_frames_left(s), sizeof(int64_t));
    ernn_step(s);
    for (uint32_t o = 0; o < c->outputs; o++) {
      uint8_t *y = room(c->out[o]);
      memcpy(y, ernn_output(s, o), c->out[o]);
      free(y);
    }
  }
  size_t few = hop < 64 ? 1 + next(&c->seed) % (2 * hop) : 1 + next(&c->seed) % 64;
  if (c->inputs == 1 && c->outputs == 1) {
    uint8_t *x = noise(c->in[0] / hop * few, &c->seed), *y = room(c->out[0] / hop * few);
    ernn_process(s, x, y, few);
    free(x), free(y);
  }
  push(c, s, hop, few);
  save_and_restore(c, s);
  push(c, s, hop, few);
  flush(c, s);
  ernn_reset(s);
  ernn_vectors_hash(s, next(&c->seed), 1);
  flush(c, s);
  free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t *file = room(size);
  memcpy(file, data, size);
  ernn_model model;
  ernn_status status = ernn_model_open(&model, file, size);
  if (status >= ERNN_STATUS_COUNT || !ernn_status_text(status)) abort();
  uint64_t seed = fnv1a(data, size) | 1;
  for (uint32_t p = 0; p < ernn_model_programs(&model) && p < 4; p++) {
    const char *isas[16];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 16 && ernn_isa_name(i); i++)
      if (ernn_isa_usable(ernn_isa_name(i))) isas[count++] = ernn_isa_name(i);
    context c = {.model = &model, .program = p, .seed = seed};
    size_t length;
    if (!ernn_model_spec(&model, p, &length) || !ernn_model_summary(&model, p, &length)) abort();
    stream(&c, isas[(seed >> 32) % count]);
  }
  free(file);
  return 0;
}
