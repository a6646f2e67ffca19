/* A stream: its memory, its step, and the verbs around it. */
#include "model.h"

#define LEFT_UNKNOWN ((int64_t)1 << 40) /* as in edgernn.spec */

struct ernn_stream {
  program_view view;
  const ernn_model *model;
  const ernn_isa *isa;
  ernn_node *nodes;
  uint8_t *arena;
  uint64_t kept; /* bytes from here to the end of what outlives a step */
  uint64_t steps;
  uint32_t held, flushed;
  uint64_t taken; /* input frames of the sequence, once it was ended */
  uint32_t fault; /* an index was out of range in this step */
};

static const node_need *need_of(const node_view *node, node_need *need) {
  *need = (node_need){0, 0};
  ernn_rules[node->opcode].check(node, need);
  return need;
}

memory_layout ernn_stream_layout(const program_view *view) {
  const uint64_t most = SIZE_MAX / 4;
  const file_program *p = view->program;
  memory_layout at = {.nodes = align_up(sizeof(ernn_stream))};
  uint32_t word = 0;
  uint64_t own = 0, scratch = 0;
  at.arena = align_up(at.nodes + (uint64_t)p->nodes * sizeof(ernn_node));
  at.own = align_up(at.arena + p->arena);
  for (uint32_t i = 0; i < p->nodes; i++) {
    node_view node;
    node_need need;
    if (ernn_next_node(view, &word, &node)) return (memory_layout){0};
    need_of(&node, &need);
    if (need.own > most || need.scratch > most) return (memory_layout){0};
    own += align_up(need.own);
    if (need.scratch > scratch) scratch = need.scratch;
    if (own > most) return (memory_layout){0};
  }
  at.scratch = at.own + own;
  at.total = at.scratch + align_up(scratch) + ERNN_SLACK;
  if (at.total > most) at.total = 0;
  return at;
}

size_t ernn_stream_size(const ernn_model *m, uint32_t program) {
  program_view view;
  return ernn_program_at(m, program, &view) ? (size_t)ernn_stream_layout(&view).total : 0;
}

static uint8_t *place(const ernn_stream *s, const file_value *v) {
  const file_blob *blob = s->model->section[SECTION_BLOBS];
  const uint8_t *data = s->model->section[SECTION_DATA];
  return v->constant == ERNN_NONE ? s->arena + v->offset : (uint8_t *)(uintptr_t)(data + blob[v->constant].offset);
}

static size_t bytes_of(const file_value *v) { return (size_t)v->count * dtype_size(v->dtype); }

static void copy(void *to, const void *from, size_t size) {
  uint8_t *a = to;
  const uint8_t *b = from;
  size_t i = 0;
  for (; i + 8 <= size; i += 8) __builtin_memcpy(a + i, b + i, 8);
  for (; i < size; i++) a[i] = b[i];
}

static void fill(void *to, size_t size) {
  uint8_t *a = to;
  for (size_t i = 0; i < size; i++) a[i] = 0;
}

static const file_port *port_of(const ernn_stream *s, ernn_kind kind, uint32_t index) {
  const file_program *p = s->view.program;
  return s->view.ports + index + (kind == ERNN_INPUT ? 0 : kind == ERNN_OUTPUT ? p->inputs : p->inputs + p->outputs);
}

static const file_value *value_of(const ernn_stream *s, ernn_kind kind, uint32_t index) {
  return s->view.values + port_of(s, kind, index)->value;
}

ernn_status ernn_stream_init(ernn_stream **stream, const ernn_model *m, uint32_t program, void *memory, size_t size,
                             const ernn_options *options) {
  program_view view;
  if (!ernn_program_at(m, program, &view)) return ERNN_NO_PROGRAM;
  memory_layout at = ernn_stream_layout(&view);
  if ((uintptr_t)memory % ERNN_ALIGN) return ERNN_ALIGNMENT;
  if (size < at.total) return ERNN_MEMORY;
  const ernn_isa *isa = ernn_find_isa(options ? options->isa : NULL);
  if (!isa) return ERNN_NO_ISA;
  fill(memory, (size_t)at.total);
  uint8_t *base = memory;
  ernn_stream *s = memory;
  *s = (ernn_stream){.view = view, .model = m, .isa = isa, .nodes = (void *)(base + at.nodes), .arena = base + at.arena, .kept = at.scratch};
  uint32_t word = 0;
  uint64_t own = at.own;
  for (uint32_t i = 0; i < view.program->nodes; i++) {
    node_view node;
    node_need need;
    ernn_next_node(&view, &word, &node);
    ernn_node *n = s->nodes + i;
    need_of(&node, &need);
    *n = (ernn_node){.attr = node.attr,
                     .own = base + own,
                     .scratch = base + at.scratch,
                     .count = node.outs ? node.out[0]->count : 0,
                     .fault = &s->fault,
                     .joins = node.opcode >= FLOAT_LAYERS && node.opcode < LAYERS,
                     .exact = view.program->exact || (options && options->exact)};
    for (uint32_t k = 0; k < node.ins; k++)
      if (node.in[k]) n->in[k] = place(s, node.in[k]), n->in_dtype[k] = &node.in[k]->dtype;
    for (uint32_t k = 0; k < node.outs; k++) n->out[k] = place(s, node.out[k]), n->out_dtype[k] = &node.out[k]->dtype;
    own += align_up(need.own);
    ernn_prepare(n, isa, node.opcode);
  }
  volatile uint8_t touched = 0; /* every page of the weights is in memory before the first step */
  for (uint64_t i = 0; i < m->size; i += 4096) touched = (uint8_t)(touched + m->data[i]);
  ernn_reset(s);
  *stream = s;
  return ERNN_OK;
}

const char *ernn_stream_isa(const ernn_stream *s) { return s->isa->name; }

void *ernn_input(ernn_stream *s, uint32_t index) {
  return index < s->view.program->inputs ? place(s, value_of(s, ERNN_INPUT, index)) : NULL;
}

const void *ernn_output(const ernn_stream *s, uint32_t index) {
  return index < s->view.program->outputs ? place(s, value_of(s, ERNN_OUTPUT, index)) : NULL;
}

void *ernn_state(ernn_stream *s, uint32_t index) {
  return index < s->view.program->states ? place(s, value_of(s, ERNN_STATE_PORT, index)) : NULL;
}

int64_t *ernn_frames_left(ernn_stream *s) {
  uint32_t left = s->view.program->left;
  return left == ERNN_NONE ? NULL : (void *)place(s, s->view.values + left);
}

static void set_left(ernn_stream *s, int64_t frames) {
  int64_t *left = ernn_frames_left(s);
  if (left) *left = frames;
}

void ernn_reset(ernn_stream *s) {
  const file_program *p = s->view.program;
  const file_blob *blob = s->model->section[SECTION_BLOBS];
  const uint8_t *data = s->model->section[SECTION_DATA];
  for (uint32_t i = 0; i < p->states; i++) {
    const file_port *port = port_of(s, ERNN_STATE_PORT, i);
    const file_value *v = s->view.values + port->value;
    if (port->init == ERNN_NONE)
      fill(place(s, v), bytes_of(v));
    else
      copy(place(s, v), data + blob[port->init].offset, bytes_of(v));
  }
  for (uint32_t i = 0; i < p->outputs; i++) {
    const file_value *v = value_of(s, ERNN_OUTPUT, i);
    if (v->constant == ERNN_NONE) fill(place(s, v), bytes_of(v));
  }
  set_left(s, LEFT_UNKNOWN);
  s->steps = s->taken = 0;
  s->held = s->flushed = s->fault = 0;
}

/* Behind the last node. */
static ernn_status finish(ernn_stream *s) {
  const file_program *p = s->view.program;
  for (uint32_t i = 0; i < p->states; i++) {
    const file_port *port = port_of(s, ERNN_STATE_PORT, i);
    if (port->next == port->value) continue;
    const file_value *v = s->view.values + port->value;
    copy(place(s, v), place(s, s->view.values + port->next), bytes_of(v));
  }
  s->steps++;
  if (!s->fault) return ERNN_OK;
  s->fault = 0;
  return ERNN_INDEX;
}

static ernn_status run(ernn_stream *s) {
  const uint32_t nodes = s->view.program->nodes;
  for (uint32_t i = 0; i < nodes; i++) s->nodes[i].run(s->nodes + i);
  return finish(s);
}

static ernn_status readiness(const ernn_stream *s) { return s->flushed ? ERNN_FLUSHED : s->held ? ERNN_WAITING : ERNN_OK; }

ernn_status ernn_step(ernn_stream *s) {
  if (s->flushed | s->held) return readiness(s);
  return run(s);
}

/* A node of streams of one program. */
static void run_node(ernn_stream *const *streams, uint32_t count, uint32_t index) {
  ernn_node *first = streams[0]->nodes + index;
  if (!first->joins) {
    for (uint32_t k = 0; k < count; k++) first->run(streams[k]->nodes + index);
    return;
  }
  for (uint32_t k = 1; k < count; k++) streams[k - 1]->nodes[index].next = streams[k]->nodes + index;
  first->run(first);
  for (uint32_t k = 0; k < count; k++) streams[k]->nodes[index].next = (ernn_node *)0;
}

ernn_status ernn_step_all(ernn_stream *const *streams, uint32_t count) {
  ernn_status status = ERNN_OK;
  for (uint32_t k = 0; k < count && !status; k++) status = readiness(streams[k]);
  if (status) return status;
  for (uint32_t at = 0, n; at < count; at += n) {
    const ernn_stream *first = streams[at];
    for (n = 1; n < JOINED && at + n < count; n++)
      if (streams[at + n]->view.program != first->view.program || streams[at + n]->isa != first->isa) break;
    for (uint32_t i = 0; i < first->view.program->nodes; i++) run_node(streams + at, n, i);
    for (uint32_t k = 0; k < n; k++) {
      const ernn_status now = finish(streams[at + k]);
      if (now) status = now;
    }
  }
  return status;
}

/* Put frames behind those that wait; `from` as in push. */
static void take(ernn_stream *s, const void *const *in, size_t at, uint32_t frames) {
  for (uint32_t i = 0; i < s->view.program->inputs; i++) {
    const file_value *v = value_of(s, ERNN_INPUT, i);
    size_t each = bytes_of(v) / s->view.program->hop;
    copy(place(s, v) + s->held * each, (const uint8_t *)in[i] + at * each, frames * each);
  }
  s->held += frames;
}

ernn_status ernn_process(ernn_stream *s, const void *in, void *out, size_t frames) {
  const file_program *p = s->view.program;
  const file_port *port = port_of(s, ERNN_OUTPUT, 0);
  if (p->inputs != 1 || p->outputs != 1 || port->dims[0] != p->hop) return ERNN_RATES;
  if (s->flushed) return ERNN_FLUSHED;
  const file_value *y = value_of(s, ERNN_OUTPUT, 0);
  size_t each = bytes_of(y) / p->hop;
  ernn_status status = ERNN_OK;
  for (size_t t = 0; t < frames; t++) {
    take(s, &in, t, 1);
    if (s->held == p->hop) {
      ernn_status now = run(s);
      if (now) status = now;
      s->held = 0;
    }
    copy((uint8_t *)out + t * each, place(s, y) + s->held * each, each);
  }
  return status;
}

/* Frames of a whole sequence of `taken` input frames. */
static int64_t length_of(const file_port *port, uint64_t taken) {
  int64_t shifted = (int64_t)taken + port->offset;
  int64_t groups = shifted < 0 ? 0 : shifted / port->period, length = groups * port->group + port->extra;
  return groups && length > 0 ? length : 0;
}

/* Append to `out` the true frames among those of the step just run. */
static void give(ernn_stream *s, void *const *out, size_t *got) {
  const file_program *p = s->view.program;
  for (uint32_t o = 0; o < p->outputs; o++) {
    const file_port *port = port_of(s, ERNN_OUTPUT, o);
    const file_value *v = s->view.values + port->value;
    size_t each = bytes_of(v) / port->dims[0];
    int64_t first = (int64_t)(s->steps - 1) * port->dims[0] - port->delay; /* whole-sequence index */
    int64_t end = first + port->dims[0], last = end;
    if (s->flushed) last = length_of(port, s->taken);
    int64_t from = first < 0 ? 0 : first, to = end < last ? end : last;
    if (to <= from) continue;
    copy((uint8_t *)out[o] + got[o] * each, place(s, v) + (size_t)(from - first) * each, (size_t)(to - from) * each);
    got[o] += (size_t)(to - from);
  }
}

ernn_status ernn_push(ernn_stream *s, const void *const *in, size_t frames, void *const *out, size_t *got) {
  const file_program *p = s->view.program;
  for (uint32_t o = 0; o < p->outputs; o++) got[o] = 0;
  if (s->flushed) return ERNN_FLUSHED;
  ernn_status status = ERNN_OK;
  for (size_t at = 0; at < frames;) {
    uint32_t room = p->hop - s->held;
    uint32_t count = frames - at < room ? (uint32_t)(frames - at) : room;
    take(s, in, at, count);
    at += count;
    if (s->held < p->hop) break;
    s->held = 0;
    ernn_status now = run(s);
    if (now) status = now;
    give(s, out, got);
  }
  return status;
}

ernn_status ernn_flush(ernn_stream *s, void *const *out, size_t *got) {
  const file_program *p = s->view.program;
  for (uint32_t o = 0; o < p->outputs; o++) got[o] = 0;
  if (!s->flushed) s->taken = s->steps * p->hop + s->held;
  s->flushed = 1;
  int more = 0;
  for (uint32_t o = 0; o < p->outputs; o++) {
    const file_port *port = port_of(s, ERNN_OUTPUT, o);
    int64_t length = length_of(port, s->taken);
    more |= length && length > (int64_t)s->steps * port->dims[0] - port->delay;
  }
  if (!more || !s->taken) return ERNN_FLUSHED;
  set_left(s, (int64_t)s->taken - (int64_t)(s->steps * p->hop));
  for (uint32_t i = 0; i < p->inputs; i++) {
    const file_value *v = value_of(s, ERNN_INPUT, i);
    size_t each = bytes_of(v) / p->hop;
    fill(place(s, v) + s->held * each, bytes_of(v) - s->held * each);
  }
  s->held = 0;
  ernn_status status = run(s);
  give(s, out, got);
  return status;
}

void ernn_prefetch(const ernn_stream *s) {
#if defined(__GNUC__)
  const uint8_t *data = s->model->section[SECTION_DATA];
  for (uint64_t i = 0; i < s->model->bytes[SECTION_DATA]; i += ERNN_ALIGN) __builtin_prefetch(data + i, 0, 2);
  for (uint64_t i = 0; i < s->kept; i += ERNN_ALIGN) __builtin_prefetch((const uint8_t *)s + i, 1, 3);
#else
  (void)s;
#endif
}

/* What a state holds beside its header: states, inputs (frames may wait there), and outputs, which `process` lags into. */
static size_t walk_state(const ernn_stream *s, uint8_t *save, const uint8_t *restore) {
  const file_program *p = s->view.program;
  size_t at = sizeof(state_header);
  for (uint32_t i = 0; i < p->ports; i++) {
    const file_value *v = s->view.values + s->view.ports[i].value;
    if (v->constant != ERNN_NONE) continue;
    if (save) copy(save + at, place(s, v), bytes_of(v));
    if (restore) copy(place(s, v), restore + at, bytes_of(v));
    at += bytes_of(v);
  }
  return at;
}

size_t ernn_state_size(const ernn_stream *s) { return walk_state(s, NULL, NULL); }

static uint64_t state_hash(state_header h, const uint8_t *bytes) {
  h.hash = 0;
  return fnv1a(fnv1a(FNV_START, &h, sizeof h), bytes + sizeof h, (size_t)h.size - sizeof h);
}

static uint32_t number_of(const ernn_stream *s) {
  const file_program *first = s->model->section[SECTION_PROGRAMS];
  return (uint32_t)(s->view.program - first);
}

void ernn_state_save(const ernn_stream *s, void *bytes) {
  state_header h = {.magic = {'R', 'N', 'E', 'S'}, .format = ERNN_STATE_FORMAT, .flushed = (uint16_t)s->flushed,
                    .program = number_of(s), .held = s->held, .size = walk_state(s, bytes, NULL),
                    .fingerprint = ernn_model_fingerprint(s->model), .steps = s->steps, .taken = s->taken};
  h.hash = state_hash(h, bytes);
  copy(bytes, &h, sizeof h);
}

ernn_status ernn_state_restore(ernn_stream *s, const void *bytes, size_t size) {
  state_header h;
  if (size < sizeof h) return ERNN_STATE;
  copy(&h, bytes, sizeof h);
  if (h.magic[0] != 'R' || h.magic[1] != 'N' || h.magic[2] != 'E' || h.magic[3] != 'S') return ERNN_STATE;
  if (h.format > ERNN_STATE_FORMAT) return ERNN_NEWER;
  if (!h.format || h.size != size || h.hash != state_hash(h, bytes)) return ERNN_STATE;
  if (h.fingerprint != ernn_model_fingerprint(s->model) || h.program != number_of(s)) return ERNN_OTHER_MODEL;
  if (size != ernn_state_size(s) || h.held >= s->view.program->hop || h.flushed > 1) return ERNN_STATE;
  walk_state(s, NULL, bytes);
  s->held = h.held, s->flushed = h.flushed, s->steps = h.steps, s->taken = h.taken;
  set_left(s, LEFT_UNKNOWN);
  return ERNN_OK;
}

static uint64_t splitmix(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static uint64_t hash_of_floats(uint64_t hash, const uint8_t *at, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    uint32_t bits;
    copy(&bits, at + 4 * i, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) bits = 0x7fc00000; /* which NaN a CPU makes is its own affair */
    hash = fnv1a(hash, &bits, 4);
  }
  return hash;
}

uint64_t ernn_vectors_hash(ernn_stream *s, uint64_t seed, uint32_t steps) {
  const file_program *p = s->view.program;
  uint64_t hash = FNV_START;
  for (uint32_t t = 0; t < steps; t++) {
    for (uint32_t i = 0; i < p->inputs; i++) {
      const file_port *port = port_of(s, ERNN_INPUT, i);
      const file_value *v = s->view.values + port->value;
      uint8_t *at = place(s, v);
      for (uint64_t k = 0; k < v->count; k++) {
        uint64_t word = splitmix(&seed);
        if (v->dtype == ERNN_FLOAT32) {
          float share = (float)(word >> 40) * 0x1p-24f; /* both are exact */
          float wide = (port->high - port->low) * share, x = port->low + wide;
          copy(at + 4 * k, &x, 4);
        } else {
          int64_t whole = (int64_t)(word >> 32) * ((int64_t)port->high + 1) >> 32;
          copy(at + dtype_size(v->dtype) * k, &whole, dtype_size(v->dtype));
        }
      }
    }
    run(s);
    for (uint32_t o = 0; o < p->outputs; o++) {
      const file_value *v = value_of(s, ERNN_OUTPUT, o);
      hash = v->dtype == ERNN_FLOAT32 ? hash_of_floats(hash, place(s, v), v->count) : fnv1a(hash, place(s, v), bytes_of(v));
    }
  }
  return hash;
}

ernn_status ernn_selftest(const ernn_model *m, uint32_t program, void *memory, size_t size, const char *isa) {
  ernn_stream *s;
  ernn_options options = {isa, 1};
  ernn_status status = ernn_stream_init(&s, m, program, memory, size, &options);
  if (status) return status;
  const file_program *p = s->view.program;
  return ernn_vectors_hash(s, p->vector_seed, p->vector_steps) == p->vector_hash ? ERNN_OK : ERNN_VECTORS;
}
