/* Bodies of the integer layers. The instruction set has defined X_OFFSET, what its product wants added to each element
 * of x (0 or 128), and
 *   add_products(acc, w, gates, panels, panel_bytes, x, quads)
 *       acc[panel * gates + gate] += 16 rows of 4 weights, 64 bytes a gate, times each 4 elements of x */
#include "../attrs.h"
#include "../layer.h"
#include "../ops/portable.h"
#include "edgernn.h"
#include "vectors.h"

/* Panels that one pass takes: enough chains of additions to hide their latency. */
#ifndef PANELS
#define PANELS(gates) ((gates) == 1 ? 4u : 1u)
#endif

#ifndef FAST_ROWS
#define FAST_ROWS 1 /* bodies without a call for the usual layers; 0: those of the unusual ones serve all */
#endif

typedef int8_t bytes16 __attribute__((vector_size(16), aligned(1)));

INLINE void offset_bytes(int8_t *to, const int8_t *from) { *(bytes16 *)to = *(const bytes16 *)from ^ -128; }

/* x for `add_products`: as it lies where nothing is to be changed. */
INLINE operand prepared(int8_t *room, const void *from, uint32_t bytes, uint32_t count) {
  const uint32_t padded = padded16(count);
  operand x = {room, (const int8_t *)0, padded / 4};
  if (bytes == 2) {
    x.low = ernn_split(room, from, padded, X_OFFSET ? -128 : 0);
  } else if (X_OFFSET) {
    for (uint32_t i = 0; i < padded; i += 16) offset_bytes(room + i, (const int8_t *)from + i);
  } else {
    x.high = from;
  }
  return x;
}

/* Rows of `panels` panels: Σ x w + bias. */
INLINE void rows_of(sums *acc, const int32_t *bias, const int8_t *w, const int gates, const int panels, operand x) {
  UNROLL for (int i = 0; i < gates * panels; i++) acc[i] = load_bias(bias + 16 * i);
  add_products(acc, w, gates, panels, 64 * (uint64_t)gates * x.quads, x.high, x.quads);
}

/* The same of int8 or int16 x, one panel, for layers that are wide somewhere and where rows are not fast. */
#define WIDE_ROWS(gates)                                                                                               \
  APART void more_products_##gates(sums *acc, const int8_t *w, const int8_t *x, uint32_t quads) {                      \
    sums total[gates];                                                                                                 \
    UNROLL for (int i = 0; i < gates; i++) total[i] = acc[i];                                                          \
    add_products(total, w, gates, 1, 0, x, quads);                                                                     \
    UNROLL for (int i = 0; i < gates; i++) acc[i] = total[i];                                                          \
  }                                                                                                                    \
  APART void wide_rows_##gates(sums *acc, const int32_t *bias, const int8_t *w, operand x) {                           \
    for (int i = 0; i < gates; i++) acc[i] = x.low ? no_sums() : load_bias(bias + 16 * i);                             \
    more_products_##gates(acc, w, x.high, x.quads);                                                                    \
    if (!x.low) return;                                                                                                \
    for (int i = 0; i < gates; i++) acc[i] = shifted_sums(acc[i], bias + 16 * i);                                      \
    more_products_##gates(acc, w, x.low, x.quads);                                                                     \
  }
WIDE_ROWS(1)
WIDE_ROWS(3)
WIDE_ROWS(4)

INLINE void put(void *y, uint64_t at, w16 v, uint32_t is_wide) {
  if (is_wide)
    store16((int16_t *)y + at, v);
  else
    store8((int8_t *)y + at, v);
}

/* --- Linear and Conv1d ------------------------------------------------------------------------------------------- */

static void init_qlinear(ernn_node *node) {
  const qlinear_attr *a = (const void *)node->attr;
  ernn_offset_biases(node->own, node->in[2], node->in[1], a->linear.groups * padded16(a->linear.out), 1,
                padded16(a->linear.in), *node->in_dtype[0] == ERNN_INT16, X_OFFSET);
}

/* The sums of the 16 rows from `row` on as elements of y from `y` on. */
APART void finish_rows(const qlinear_attr *a, const ernn_node *node, const sums *acc, uint64_t row, uint64_t y) {
  const uint32_t dtype = *node->out_dtype[0];
  if (dtype == ERNN_FLOAT32) {
    const f16 by = load_floats((const float *)node->in[3] + row);
    store_floats((float *)node->out[0] + y, times(sums_as_floats(*acc), by));
  } else {
    const w16 v = word(scaled(*acc, (const int32_t *)node->in[3] + row, a->shift));
    put(node->out[0], y, clamp16(v, (int16_t)a->low, (int16_t)a->high), dtype == ERNN_INT16);
  }
}

/* The rows of `count` panels, at most 4, from `row` on. */
INLINE void qlinear_panels(const qlinear_attr *a, const ernn_node *node, operand x, uint64_t row, uint64_t y,
                           uint32_t count) {
  const int32_t *bias = (const int32_t *)node->own + row;
  const int8_t *w = (const int8_t *)node->in[1] + row * 4 * x.quads;
  sums acc[4];
  if (FAST_ROWS && count == 4 && !x.low)
    rows_of(acc, bias, w, 1, 4, x);
  else
    for (uint32_t i = 0; i < count; i++) wide_rows_1(acc + i, bias + 16 * i, w + 64 * (uint64_t)i * x.quads, x);
  for (uint32_t i = 0; i < any(count); i++) finish_rows(a, node, acc + i, row + 16 * i, y + 16 * i);
}

static void run_qlinear(ernn_node *node) {
  const qlinear_attr *a = (const void *)node->attr;
  const linear_attr *l = &a->linear;
  const uint32_t each = dtype_size(*node->in_dtype[0]), count = padded16(l->out) / 16;
  operand x[JOINED];
  for (uint32_t r = 0; r < l->rows; r++) {
    for (uint32_t g = 0; g < l->groups; g++) {
      const uint64_t from = l->start + (uint64_t)r * l->stride + (uint64_t)g * l->in;
      uint64_t y = ((uint64_t)r * l->groups + g) * l->out, row = (uint64_t)g * count * 16;
      uint32_t left = count, s = 0;
      for (const ernn_node *n = node; n; n = n->next)
        x[s++] = prepared(n->scratch, (const uint8_t *)n->in[0] + from * each, each, l->in);
      for (uint32_t now; left; left -= now, row += 16 * now, y += 16 * now) {
        now = left < 4 ? left : 4;
        s = 0;
        for (const ernn_node *n = node; n; n = n->next) qlinear_panels(a, n, x[s++], row, y, now);
      }
    }
  }
}

/* --- gates by themselves -------------------------------------------------------------------------------------- */

static void run_qunary(ernn_node *node) {
  for (; node; node = node->next) {
    const qunary_attr *a = (const void *)node->attr;
    const int16_t *x = node->in[0];
    int16_t *y = node->out[0];
    for (uint64_t i = 0; i < node->count; i += 16)
      store16(y + i, a->kind == GATE_SIGMOID ? sigmoid(load16(x + i)) : hyperbolic_tangent(load16(x + i)));
  }
}

/* --- recurrent layers -------------------------------------------------------------------------------------------- */

/* Gate pre-activation: both scaled sums rounded once. */
INLINE w16 joined(const qcell *c, sums given, sums kept, uint64_t row) {
  return word(scaled_both(given, c->by_ih + row, kept, c->by_hh + row, c->shift));
}

INLINE void keep32(const frame *f, uint32_t first, d16 v) {
  if (!f->behind || first + 16 <= f->c->hidden) {
    store32(f->state32 + first, v);
  } else {
    int32_t part[16];
    store32(part, v);
    ernn_copy_words(f->state32 + first, part, f->c->hidden - first);
  }
}

INLINE void keep16(const frame *f, uint32_t first, w16 v) {
  if (!f->behind || first + 16 <= f->c->out) {
    store16(f->state16 + first, v);
  } else {
    int16_t part[16];
    store16(part, v);
    ernn_copy_halves(f->state16 + first, part, f->c->out - first);
  }
}

INLINE void gru_panel(const frame *f, const sums *given, const sums *kept, uint32_t panel) {
  const qcell *c = f->c;
  const uint64_t row = (uint64_t)panel * 48;
  w16 r = sigmoid(joined(c, given[0], kept[0], row)), z = sigmoid(joined(c, given[1], kept[1], row + 16));
  w16 n_given = word(scaled(given[2], c->by_ih + row + 32, c->shift));
  w16 n_kept = word(scaled(kept[2], c->by_hh + row + 32, c->shift));
  w16 n = hyperbolic_tangent(adds(n_given, mulhrs(r, n_kept)));
  d16 h = approach(load32(f->state32 + 16 * panel), n, z);
  keep32(f, 16 * panel, h);
  EACH_D(i) h.v[i] >>= 15;
  put(f->y, f->y_at + 16 * panel, narrow(word(h), c->y_shift, c->y_wide), c->y_wide);
}

INLINE void lstm_panel(const frame *f, const sums *given, const sums *kept, uint32_t panel) {
  const qcell *c = f->c;
  const uint64_t row = (uint64_t)panel * 64;
  const uint32_t first = 16 * panel;
  w16 i = sigmoid(joined(c, given[0], kept[0], row)), forget = sigmoid(joined(c, given[1], kept[1], row + 16));
  w16 g = hyperbolic_tangent(joined(c, given[2], kept[2], row + 32)), o = sigmoid(joined(c, given[3], kept[3], row + 48));
  const int by = c->cell_exponent, down = 18 - by;
  d16 cell = load32(f->state32 + first), rounded = cell, entering = multiplied(i, g);
  EACH_D(k) rounded.v[k] = (cell.v[k] + (1 << 14)) >> 15;
  EACH_W(k) forget.v[k] ^= (int16_t)-32768; /* less 32768 */
  d16 leaving = multiplied(forget, word(rounded));
  EACH_D(k) cell.v[k] += leaving.v[k] + ((entering.v[k] + (1 << by >> 1)) >> by);
  cell = clamp32(cell, -(1 << 30) + 1, (1 << 30) - 1);
  keep32(f, first, cell);
  EACH_D(k) cell.v[k] = (cell.v[k] + (1 << down >> 1)) >> down;
  w16 made = mulhrs(o, hyperbolic_tangent(word(cell)));
  if (c->w_hr) {
    store8(c->made + first, narrow(made, 7, 0));
  } else {
    keep16(f, first, made);
    put(f->y, f->y_at + first, narrow(made, c->y_shift, c->y_wide), c->y_wide);
  }
}

INLINE void rnn_panel(const frame *f, const sums *given, const sums *kept, uint32_t panel) {
  const qcell *c = f->c;
  const uint32_t first = 16 * panel;
  w16 total = joined(c, *given, *kept, first), h = c->is_relu ? clamp16(total, 0, 32767) : hyperbolic_tangent(total);
  keep16(f, first, h);
  put(f->y, f->y_at + first, narrow(h, c->y_shift, c->y_wide), c->y_wide);
}

INLINE void gates_of(const frame *f, const sums *given, const sums *kept, uint32_t panel, const int kind) {
  if (kind == CELL_GRU) gru_panel(f, given, kept, panel);
  if (kind == CELL_LSTM) lstm_panel(f, given, kept, panel);
  if (kind == CELL_RNN) rnn_panel(f, given, kept, panel);
}

#define WIDE_SUMS_OF(gates) ((gates) == 1 ? wide_rows_1 : (gates) == 3 ? wide_rows_3 : wide_rows_4)

/* Sums of `count` panels from `panel` on, of at most `most`, for both halves. Those of int16 x or h and of a rest of panels
 * come from apart: few layers have them. */
INLINE void gate_sums(const frame *f, sums *given, sums *kept, uint32_t panel, const int gates, const int most,
                      uint32_t count) {
  const qcell *c = f->c;
  const uint64_t row = (uint64_t)panel * 16 * (uint32_t)gates;
  const int32_t *bias_ih = c->bias_ih + row, *bias_hh = c->bias_hh + row;
  const int8_t *w_ih = c->w_ih + row * 4 * f->x.quads, *w_hh = c->w_hh + row * 4 * f->h.quads;
  if (FAST_ROWS && !f->x.low && !f->h.low && count == (uint32_t)most) {
    rows_of(given, bias_ih, w_ih, gates, most, f->x);
    rows_of(kept, bias_hh, w_hh, gates, most, f->h);
    return;
  }
  sums apart[2][8]; /* the fast rows stay in registers, as nothing else knows where they are */
  sums *x = FAST_ROWS ? apart[0] : given, *h = FAST_ROWS ? apart[1] : kept;
  for (uint32_t at = 0; at < (uint32_t)gates * count; at += (uint32_t)gates) {
    WIDE_SUMS_OF(gates)(x + at, bias_ih + 16 * at, w_ih + 64 * (uint64_t)at * f->x.quads, f->x);
    WIDE_SUMS_OF(gates)(h + at, bias_hh + 16 * at, w_hh + 64 * (uint64_t)at * f->h.quads, f->h);
  }
  UNROLL for (int i = 0; FAST_ROWS && i < gates * most; i++) given[i] = x[i], kept[i] = h[i];
}

/* All panels of `frames` streams, which share a panel's weights while they are near. Back and forth from step to step: what
 * was read last is near too. */
INLINE void all_panels(const frame *streams, uint32_t frames, const int kind, const int gates) {
  const uint32_t most = PANELS(gates), all = streams->c->panels, groups = (all + most - 1) / most;
  for (uint32_t k = 0; k < groups; k++) {
    const uint32_t first = most * (streams->c->turn & 1 ? groups - 1 - k : k);
    const uint32_t count = most == 1 || all - first >= most ? most : all - first;
    for (const frame *f = streams; f < streams + frames; f++) {
      sums given[8], kept[8];
      gate_sums(f, given, kept, first, gates, (int)most, count);
      for (uint32_t i = 0; i < (most == 1 ? 1 : any(count)); i++)
        gates_of(f, given + (uint32_t)gates * i, kept + (uint32_t)gates * i, first + i, kind);
    }
  }
}

INLINE void store_x(int8_t *to, w16 v) {
  store8(to, v);
  if (X_OFFSET) offset_bytes(to, to);
}

/* 16 units of a state in units of 2^-15, from one of the two forms that states have. */
INLINE w16 state_block(const int32_t *h32, const int16_t *h16, uint32_t first) {
  if (!h32) return load16(h16 + first);
  d16 h = load32(h32 + first);
  EACH_D(i) h.v[i] >>= 15;
  return word(h);
}

/* As int16: its high parts, and behind them its low ones. */
APART const int8_t *split_state(int8_t *high, const int32_t *h32, const int16_t *h16, uint32_t count, int shift) {
  int8_t *low = high + count;
  for (uint32_t i = 0; i < count; i += 16) {
    w16 h = narrow(state_block(h32, h16, i), shift, 1), part = h;
    EACH_W(k) part.v[k] = (h.v[k] + 64) >> 7;
    EACH_W(k) h.v[k] -= part.v[k] << 7;
    store_x(high + i, part), store_x(low + i, h);
  }
  return low;
}

/* The state as the product takes it. */
INLINE operand narrowed(const qcell *c, const int32_t *h32, const int16_t *h16) {
  const uint32_t padded = padded16(c->out);
  operand h = {c->h_room, (const int8_t *)0, padded / 4};
  if (c->h_wide)
    h.low = split_state(c->h_room, h32, h16, padded, c->h_shift);
  else
    for (uint32_t i = 0; i < padded; i += 16) store_x(c->h_room + i, narrow(state_block(h32, h16, i), c->h_shift, 0));
  return h;
}

APART void project(const frame *f) {
  const qcell *c = f->c;
  const operand made = prepared(c->made_room, c->made, 1, c->hidden);
  for (uint32_t first = 0; first < c->out; first += 16) {
    sums acc;
    wide_rows_1(&acc, c->bias_hr + first, c->w_hr + (uint64_t)first * 4 * made.quads, made);
    w16 h = clamp16(word(scaled(acc, c->by_hr + first, c->shift)), -32767, 32767);
    keep16(f, first, h);
    put(f->y, f->y_at + first, narrow(h, c->y_shift, c->y_wide), c->y_wide);
  }
}

/* x and h as the products take them. */
GATE void narrow_both(frame *f, const int kind) {
  const qcell *c = f->c;
  f->x = prepared(c->x_room, f->given, c->x_bytes, c->in);
  f->h = kind == CELL_GRU ? narrowed(c, f->state32, (const int16_t *)0) : narrowed(c, (const int32_t *)0, f->state16);
}

INLINE void run_cell(ernn_node *node, const int kind, const int gates) {
  frame streams[JOINED];
  const uint32_t count = ernn_begin_frames(streams, node, kind);
  const qcell *c = node->own;
  for (uint64_t left = (uint64_t)c->frames * c->batch; left; left--) {
    for (uint32_t s = 0; s < count; s++) narrow_both(streams + s, kind);
    all_panels(streams, count, kind, gates);
    for (uint32_t s = 0; kind == CELL_LSTM && c->w_hr && s < count; s++) project(streams + s);
    for (uint32_t s = 0; left > 1 && s < count; s++) ernn_next_frame(streams + s);
  }
  for (uint32_t s = 0; s < count; s++) streams[s].c->turn++;
}

static void init_qgru(ernn_node *node) { ernn_init_qcell(node, 3, 2, X_OFFSET); }
static void run_qgru(ernn_node *node) { run_cell(node, CELL_GRU, 3); }

static void init_qrnn(ernn_node *node) { ernn_init_qcell(node, 1, 2, X_OFFSET); }
static void run_qrnn(ernn_node *node) { run_cell(node, CELL_RNN, 1); }

static void init_qlstm(ernn_node *node) {
  ernn_init_qcell(node, 4, 3, X_OFFSET);
  qcell *c = node->own;
  c->w_hr = node->in[9], c->by_hr = node->in[10];
  for (uint32_t i = 0; i < padded16(c->out); i++) c->bias_hr[i] = 0; /* a projection has none of its own */
  if (c->w_hr) ernn_offset_biases(c->bias_hr, c->bias_hr, c->w_hr, padded16(c->out), 1, padded16(c->hidden), 0, X_OFFSET);
}

static void run_qlstm(ernn_node *node) { run_cell(node, CELL_LSTM, 4); }
