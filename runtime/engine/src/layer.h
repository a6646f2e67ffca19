/* What a layer keeps in a stream's memory: its attributes and operands looked up once, and rooms to work in. */
#ifndef ERNN_LAYER_H
#define ERNN_LAYER_H
#include "attrs.h"
#include "node.h"

static inline uint32_t padded16(uint32_t n) { return (n + 15) & ~(uint32_t)15; }

/* What a matrix product takes: int8, or int16 as 128 high + low. Bytes behind the last one meet weights of zero. */
typedef struct {
  const int8_t *high, *low; /* low: NULL for int8 */
  uint32_t quads;           /* groups of 4 */
} operand;
enum { CELL_RNN, CELL_GRU, CELL_LSTM };

/* An integer recurrent layer. Rows of weights, biases and multipliers lie as the panels do: [panel][gate][16]. */
typedef struct {
  uint32_t frames, batch, in, hidden, out, panels, turn; /* turn: steps done, modulo 2^32 */
  int32_t shift, cell_exponent, h_shift, y_shift;
  uint32_t x_bytes, h_wide, y_wide, is_relu; /* wide: int16 instead of int8 */
  const int8_t *w_ih, *w_hh, *w_hr;          /* w_hr: NULL without a projection */
  const int32_t *by_ih, *by_hh, *by_hr;      /* multipliers */
  int32_t *bias_ih, *bias_hh, *bias_hr;
  int8_t *x_room, *h_room, *made, *made_room; /* x and h as products take them; what a projection takes */
  void *spare, *spare_cell;                   /* the state of a step that `active` will not keep */
} qcell;

/* One frame of one sequence of a stream. Frames lie `[frames, batch, …]`. */
typedef struct {
  qcell *c;
  const uint8_t *given; /* x */
  operand x, h;
  void *y;
  uint64_t y_at;
  int32_t *state32; /* GRU: h; LSTM: c; or NULL */
  int16_t *state16; /* LSTM and RNN: h; or NULL */
  uint32_t behind;  /* rows of the batch behind this one: its states end where theirs begin */
} frame;

/* Offsets of its parts: biases behind the qcell in the node's own memory, rooms in scratch. */
typedef struct {
  uint64_t bias_hh, bias_hr, own;
  uint64_t h_room, made, made_room, spare, spare_cell, scratch;
} qcell_layout;

#define OWN_BIASES ((uint64_t)256)
_Static_assert(sizeof(qcell) <= OWN_BIASES, "biases lie behind it");

/* For sizes up to 2^20 and batches up to 2^20, which `rules.c` holds: nothing here overflows. */
static inline qcell_layout layout_of_qcell(const qcell_attr *a, uint32_t gates) {
  const uint64_t rows = (uint64_t)gates * padded16(a->hidden), in = padded16(a->in), out = padded16(a->out);
  const uint64_t hidden = padded16(a->hidden), batch = a->batch;
  qcell_layout at = {.bias_hh = OWN_BIASES + 4 * rows};
  at.bias_hr = at.bias_hh + 4 * rows;
  at.own = at.bias_hr + 4 * out + ERNN_SLACK;
  at.h_room = align_up(2 * in);
  at.made = at.h_room + align_up(2 * out);
  at.made_room = at.made + align_up(hidden);
  at.spare = at.made_room + align_up(hidden);
  at.spare_cell = at.spare + align_up(4 * batch * (a->out > a->hidden ? a->out : a->hidden) + ERNN_SLACK);
  at.scratch = at.spare_cell + align_up(4 * batch * a->hidden + ERNN_SLACK);
  return at;
}

/* A float recurrent layer: the smallest sizes of its weights that are not zero. */
typedef struct {
  float least_ih, least_hh, least_hr;
} float_cell;

/* Its rooms in scratch; `given` and `kept` are sums in the order of the panels, `[panel][gate][16]`. */
typedef struct {
  float *x, *h, *given, *kept, *made, *spare, *spare_cell;
} float_rooms;

/* In floats; sizes are held as those of a qcell. */
static inline uint64_t size_of_rooms(const cell_attr *a, uint32_t gates) {
  const uint64_t hidden = padded16(a->hidden), in = padded16(a->in), out = padded16(a->out), batch = a->batch;
  const uint64_t kept = gates * hidden > out ? gates * hidden : out;
  return in + out + gates * hidden + kept + hidden + batch * (a->out + (uint64_t)a->hidden) + 32;
}

static inline float_rooms rooms_of(const cell_attr *a, uint32_t gates, void *scratch) {
  const uint64_t hidden = padded16(a->hidden), out = padded16(a->out);
  const uint64_t kept = gates * hidden > out ? gates * hidden : out;
  float_rooms r = {.x = scratch};
  r.h = r.x + padded16(a->in), r.given = r.h + out, r.kept = r.given + gates * hidden, r.made = r.kept + kept;
  r.spare = r.made + hidden, r.spare_cell = r.spare + (uint64_t)a->batch * a->out;
  return r;
}
#endif
