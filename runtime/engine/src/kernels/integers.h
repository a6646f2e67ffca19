/* Bodies of the integer operations around a matrix product, for one width of its sums.
 *
 * The includer has defined, for `sums` of 16 rows:
 *   BODY(name)                             the body's name
 *   X_OFFSET                               what `prepare` adds to each element of x (0 or 128)
 *   add_products(acc, w, block, step, x, quads, n)
 *                                          acc[i] += rows of block i: 64 bytes for each 4 elements of x, `step` apart
 *   scaled(a, ma, shift), scaled_both(a, ma, b, mb, shift)
 *                                          sums as int32, rounded and held in 32 bits
 */
#include "../attrs.h"
#include "../node.h"
#include "edgernn.h"
#include "vectors.h"

/* x of a product: int8, or int16 as 128 high + low */
typedef struct {
  int8_t *high, *low;
  uint32_t padded;
} BODY(input);
#define input BODY(input)

INLINE uint32_t BODY(padded)(uint32_t n) { return (n + 15) & ~(uint32_t)15; }
#define padded16 BODY(padded)

static void BODY(prepare)(input *x, const void *from, uint32_t dtype, uint32_t count) {
  if (dtype == ERNN_INT8) {
    const int8_t *v = from;
    x->low = (int8_t *)0;
    for (uint32_t i = 0; i < count; i++) x->high[i] = (int8_t)(v[i] ^ (X_OFFSET ? -128 : 0));
  } else {
    const int16_t *v = from;
    x->low = x->high + x->padded;
    for (uint32_t i = 0; i < count; i++) {
      int32_t high = (v[i] + 64) >> 7;
      x->high[i] = (int8_t)(high ^ (X_OFFSET ? -128 : 0));
      x->low[i] = (int8_t)((v[i] - high * 128) ^ (X_OFFSET ? -128 : 0));
    }
  }
}

/* Rows of `n` blocks: Σ x w + bias. */
INLINE void BODY(rows)(sums *acc, const int32_t *bias, const int8_t *w, uint64_t block, uint64_t step, const input *x,
                       const int n) {
  uint32_t quads = x->padded / 4;
  if (x->low) {
    for (int i = 0; i < n; i++) acc[i] = (sums){0};
    add_products(acc, w, block, step, x->high, quads, n);
    for (int i = 0; i < n; i++) acc[i] = (acc[i] << 7) + load_bias(bias + 16 * i);
    add_products(acc, w, block, step, x->low, quads, n);
  } else {
    for (int i = 0; i < n; i++) acc[i] = load_bias(bias + 16 * i);
    add_products(acc, w, block, step, x->high, quads, n);
  }
}

/* Biases less what X_OFFSET adds to the sums. */
static void BODY(offset_biases)(int32_t *to, const int32_t *bias, const int8_t *w, uint32_t rows, uint32_t gates,
                                uint32_t width, int wide_x) {
  for (uint32_t r = 0; r < rows; r++) {
    uint32_t panel = r / (16 * gates), gate = r / 16 % gates, lane = r % 16;
    int32_t total = 0;
    for (uint32_t k = 0; k < width; k++)
      total += w[(uint64_t)panel * width * 16 * gates + ((uint64_t)(k / 4) * gates + gate) * 64 + lane * 4 + k % 4];
    to[r] = bias[r] - total * X_OFFSET * (wide_x ? 129 : 1);
  }
}

INLINE d16 BODY(narrow)(d16 h, int shift, int wide) { /* units of 2^-15 to 2^-shift */
  int by = 15 - shift, limit = wide ? 16319 : 127;
  return clamp16((h + (1 << by >> 1)) >> by, -limit, limit);
}
#define narrow16 BODY(narrow)

INLINE void BODY(put)(void *y, uint64_t at, d16 v, uint32_t dtype) {
  if (dtype == ERNN_INT8)
    *(b16 *)((int8_t *)y + at) = __builtin_convertvector(v, b16);
  else
    *(w16 *)((int16_t *)y + at) = NARROWER(v);
}
#define put16 BODY(put)

/* --- Linear and Conv1d ------------------------------------------------------------------------------------------- */

static void BODY(init_qlinear)(ernn_node *node) {
  const qlinear_attr *a = (const void *)node->attr;
  BODY(offset_biases)(node->own, node->in[2], node->in[1], a->linear.groups * padded16(a->linear.out), 1,
                      padded16(a->linear.in), *node->in_dtype[0] == ERNN_INT16);
}

INLINE void BODY(panels)(const qlinear_attr *a, ernn_node *node, const input *x, uint64_t row, uint64_t y, const int n) {
  uint32_t dtype = *node->out_dtype[0];
  uint64_t width = x->padded;
  sums acc[4];
  BODY(rows)(acc, (const int32_t *)node->own + row, (const int8_t *)node->in[1] + row * width, 16 * width, 64, x, n);
  for (int i = 0; i < n; i++) {
    uint64_t at = y + 16 * (uint64_t)i;
    if (dtype == ERNN_FLOAT32) {
      const float *multiplier = (const float *)node->in[3] + row + 16 * i;
      float *to = (float *)node->out[0] + at;
      for (int l = 0; l < 16; l++) to[l] = fmul((float)acc[i][l], multiplier[l]);
    } else {
      d16 v = scaled(acc[i], *(const d16 *)((const int32_t *)node->in[3] + row + 16 * i), a->shift);
      put16(node->out[0], at, clamp16(v, a->low, a->high), dtype);
    }
  }
}

static void BODY(qlinear)(ernn_node *node) {
  const qlinear_attr *a = (const void *)node->attr;
  const linear_attr *l = &a->linear;
  uint32_t each = dtype_size(*node->in_dtype[0]), padded = padded16(l->in), count = padded16(l->out) / 16;
  input x = {node->scratch, (int8_t *)0, padded};
  for (uint32_t r = 0; r < l->rows; r++) {
    for (uint32_t g = 0; g < l->groups; g++) {
      uint64_t from = l->start + (uint64_t)r * l->stride + (uint64_t)g * l->in;
      uint64_t y = ((uint64_t)r * l->groups + g) * l->out, row = (uint64_t)g * count * 16;
      BODY(prepare)(&x, (const uint8_t *)node->in[0] + from * each, *node->in_dtype[0], l->in);
      uint32_t p = 0;
      for (; p + 4 <= count; p += 4) BODY(panels)(a, node, &x, row + 16 * (uint64_t)p, y + 16 * (uint64_t)p, 4);
      for (; p < count; p++) BODY(panels)(a, node, &x, row + 16 * (uint64_t)p, y + 16 * (uint64_t)p, 1);
    }
  }
}

/* --- recurrent layers -------------------------------------------------------------------------------------------- */

typedef struct {
  const qcell_attr *a;
  const int8_t *w_ih, *w_hh;
  const int32_t *bias_ih, *bias_hh, *by_ih, *by_hh;
  input x, h;
  uint8_t *room; /* scratch behind x and h */
  uint32_t panels, x_dtype, y_dtype, h_dtype;
} BODY(cell);
#define cell BODY(cell)

static void BODY(init_cell)(ernn_node *node, uint32_t gates, uint32_t first) {
  const qcell_attr *a = (const void *)node->attr;
  uint32_t rows = gates * padded16(a->hidden);
  int32_t *own = node->own;
  BODY(offset_biases)(own, node->in[first + 2], node->in[first], rows, gates, padded16(a->in),
                      *node->in_dtype[0] == ERNN_INT16);
  BODY(offset_biases)(own + rows, node->in[first + 3], node->in[first + 1], rows, gates, padded16(a->out),
                      a->h_wide != 0);
}

static cell BODY(cell_of)(ernn_node *node, uint32_t gates, uint32_t first) {
  const qcell_attr *a = (const void *)node->attr;
  cell c = {.a = a, .w_ih = node->in[first], .w_hh = node->in[first + 1], .bias_ih = node->own,
            .by_ih = node->in[first + 4], .by_hh = node->in[first + 5]};
  uint32_t in = padded16(a->in), out = padded16(a->out);
  int8_t *scratch = node->scratch;
  c.panels = padded16(a->hidden) / 16;
  c.bias_hh = c.bias_ih + (uint64_t)gates * 16 * c.panels;
  c.x = (input){scratch, (int8_t *)0, in};
  c.h = (input){scratch + 2 * in, (int8_t *)0, out};
  c.room = (uint8_t *)scratch + align_up(2 * ((uint64_t)in + out));
  c.x_dtype = *node->in_dtype[0], c.y_dtype = *node->out_dtype[0], c.h_dtype = a->h_wide ? ERNN_INT16 : ERNN_INT8;
  return c;
}

INLINE void BODY(gates)(const cell *c, sums *given, sums *kept, uint32_t panel, const int n) {
  uint64_t first = (uint64_t)panel * 16 * (uint32_t)n;
  BODY(rows)(given, c->bias_ih + first, c->w_ih + first * c->x.padded, 64, 64 * (uint64_t)n, &c->x, n);
  BODY(rows)(kept, c->bias_hh + first, c->w_hh + first * c->h.padded, 64, 64 * (uint64_t)n, &c->h, n);
}

/* Gate pre-activation: both scaled sums rounded once. */
INLINE w16 BODY(joined)(const cell *c, sums given, sums kept, uint64_t row) {
  return word(scaled_both(given, *(const d16 *)(c->by_ih + row), kept, *(const d16 *)(c->by_hh + row), c->a->shift));
}

/* The state of this step: copied to the result, or to scratch where `active` says that the old one is held. */
static void *BODY(state)(const void *old, void *result, void *scratch, const uint8_t *active, uint64_t words) {
  const uint16_t *from = old;
  uint16_t *to = active && !*active ? scratch : result;
  if (to != from)
    for (uint64_t i = 0; i < words; i++) to[i] = from[i];
  if (to != result && result != old)
    for (uint64_t i = 0; i < words; i++) ((uint16_t *)result)[i] = from[i];
  return to;
}

/* 16 units of a state: rows of a batch stand close, so only the last row may be written beyond its end. */
INLINE void BODY(keep32)(int32_t *h, d16 v, uint32_t left) {
  if (left >= 16)
    *(d16 *)h = v;
  else
    for (uint32_t i = 0; i < left; i++) h[i] = v[i];
}

INLINE void BODY(keep16)(int16_t *h, w16 v, uint32_t left) {
  if (left >= 16)
    *(w16 *)h = v;
  else
    for (uint32_t i = 0; i < left; i++) h[i] = v[i];
}

/* The state as the product takes it. */
INLINE void BODY(narrow_block)(cell *c, uint32_t at, d16 h) {
  d16 v = narrow16(h, c->a->h_shift, c->a->h_wide != 0);
  if (c->a->h_wide) {
    d16 high = (v + 64) >> 7;
    *(b16 *)(c->h.high + at) = __builtin_convertvector(high ^ (X_OFFSET ? -128 : 0), b16);
    *(b16 *)(c->h.low + at) = __builtin_convertvector((v - high * 128) ^ (X_OFFSET ? -128 : 0), b16);
  } else {
    *(b16 *)(c->h.high + at) = __builtin_convertvector(v ^ (X_OFFSET ? -128 : 0), b16);
  }
}

INLINE uint32_t BODY(room_in_row)(const cell *c, uint64_t row, uint32_t size, uint32_t first) {
  return row + 1 == c->a->batch || first + 16 <= size ? 16 : size - first;
}

static void BODY(init_qgru)(ernn_node *node) { BODY(init_cell)(node, 3, 2); }

static void BODY(qgru)(ernn_node *node) {
  cell c = BODY(cell_of)(node, 3, 2);
  uint32_t size = c.a->hidden, batch = c.a->batch, each = dtype_size(c.x_dtype);
  int shift = c.a->shift;
  int32_t *state = BODY(state)(node->in[1], node->out[1], c.room, node->in[8], 2 * (uint64_t)batch * size);
  c.h.low = c.a->h_wide ? c.h.high + c.h.padded : (int8_t *)0;
  for (uint64_t t = 0; t < (uint64_t)c.a->frames * batch; t++) {
    int32_t *h = state + t % batch * size;
    BODY(prepare)(&c.x, (const uint8_t *)node->in[0] + t * c.a->in * each, c.x_dtype, c.a->in);
    for (uint32_t i = 0; i < size; i += 16) BODY(narrow_block)(&c, i, *(const d16 *)(h + i) >> 15);
    for (uint32_t k = 0; k < c.panels; k++) {
      uint32_t panel = node->turn & 1 ? c.panels - 1 - k : k; /* back and forth: what was read last is still near */
      sums given[3], kept[3];
      BODY(gates)(&c, given, kept, panel, 3);
      uint64_t row = (uint64_t)panel * 48;
      w16 r = activate(BODY(joined)(&c, given[0], kept[0], row), 1);
      w16 z = activate(BODY(joined)(&c, given[1], kept[1], row + 16), 1);
      w16 n_given = word(scaled(given[2], *(const d16 *)(c.by_ih + row + 32), shift));
      w16 n_kept = word(scaled(kept[2], *(const d16 *)(c.by_hh + row + 32), shift));
      w16 n = activate(adds(n_given, mulhrs(r, n_kept)), 0);
      d16 old = *(const d16 *)(h + panel * 16);
      d16 new = old + (32768 - WIDER(z)) * (WIDER(n) - (old >> 15));
      BODY(keep32)(h + panel * 16, new, BODY(room_in_row)(&c, t % batch, size, panel * 16));
      put16(node->out[0], t * size + panel * 16, narrow16(new >> 15, c.a->y_shift, c.y_dtype == ERNN_INT16), c.y_dtype);
    }
  }
  node->turn++;
}

static void BODY(init_qlstm)(ernn_node *node) {
  const qcell_attr *a = (const void *)node->attr;
  BODY(init_cell)(node, 4, 3);
  if (node->in[9]) { /* the projection's biases: nothing but the offset */
    int32_t *own = (int32_t *)node->own + 8 * (uint64_t)padded16(a->hidden);
    for (uint32_t i = 0; i < padded16(a->out); i++) own[i] = 0;
    BODY(offset_biases)(own, own, node->in[9], padded16(a->out), 1, padded16(a->hidden), 0);
  }
}

INLINE void BODY(project)(const cell *c, ernn_node *node, input *whole, int16_t *h, uint64_t row) {
  const int32_t *bias = (const int32_t *)node->own + 128 * (uint64_t)c->panels;
  for (uint32_t first = 0; first < c->a->out; first += 16) {
    sums acc[1];
    BODY(rows)(acc, bias + first, (const int8_t *)node->in[9] + (uint64_t)first * whole->padded, 64, 64, whole, 1);
    d16 v = scaled(acc[0], *(const d16 *)((const int32_t *)node->in[10] + first), c->a->shift);
    BODY(keep16)(h + first, NARROWER(clamp16(v, -32767, 32767)), BODY(room_in_row)(c, row, c->a->out, first));
  }
}

static void BODY(qlstm)(ernn_node *node) {
  cell c = BODY(cell_of)(node, 4, 3);
  uint32_t size = c.a->hidden, out = c.a->out, batch = c.a->batch, each = dtype_size(c.x_dtype);
  int exponent = c.a->cell_exponent;
  input whole = {(int8_t *)c.room, (int8_t *)0, padded16(size)}; /* what a projection takes */
  uint8_t *c_room = c.room + align_up(whole.padded), *h_room = c_room + align_up(4 * (uint64_t)batch * size) + ERNN_ALIGN;
  int32_t *cells = BODY(state)(node->in[2], node->out[2], c_room, node->in[11], 2 * (uint64_t)batch * size);
  int16_t *states = BODY(state)(node->in[1], node->out[1], h_room, node->in[11], (uint64_t)batch * out);
  c.h.low = c.a->h_wide ? c.h.high + c.h.padded : (int8_t *)0;
  for (uint64_t t = 0; t < (uint64_t)c.a->frames * batch; t++) {
    int32_t *c_row = cells + t % batch * size;
    int16_t *h = states + t % batch * out;
    BODY(prepare)(&c.x, (const uint8_t *)node->in[0] + t * c.a->in * each, c.x_dtype, c.a->in);
    for (uint32_t i = 0; i < out; i += 16) BODY(narrow_block)(&c, i, WIDER(*(const w16 *)(h + i)));
    for (uint32_t k = 0; k < c.panels; k++) {
      uint32_t panel = node->turn & 1 ? c.panels - 1 - k : k, first = panel * 16;
      sums given[4], kept[4];
      BODY(gates)(&c, given, kept, panel, 4);
      uint64_t row = (uint64_t)panel * 64;
      w16 i = activate(BODY(joined)(&c, given[0], kept[0], row), 1);
      w16 f = activate(BODY(joined)(&c, given[1], kept[1], row + 16), 1);
      w16 g = activate(BODY(joined)(&c, given[2], kept[2], row + 32), 0);
      w16 o = activate(BODY(joined)(&c, given[3], kept[3], row + 48), 1);
      d16 old = *(const d16 *)(c_row + first);
      d16 entering = (WIDER(i) * WIDER(g) + (1 << exponent >> 1)) >> exponent;
      d16 leaving = (WIDER(f) - 32768) * WIDER(word((old + (1 << 14)) >> 15));
      d16 new = clamp16(old + leaving + entering, -(1 << 30) + 1, (1 << 30) - 1);
      int down = 18 - exponent;
      w16 made = mulhrs(o, activate(word((new + (1 << down >> 1)) >> down), 0));
      BODY(keep32)(c_row + first, new, BODY(room_in_row)(&c, t % batch, size, first));
      if (node->in[9]) {
        d16 v = narrow16(WIDER(made), 7, 0) ^ (X_OFFSET ? -128 : 0);
        *(b16 *)(whole.high + first) = __builtin_convertvector(v, b16);
      } else {
        BODY(keep16)(h + first, made, BODY(room_in_row)(&c, t % batch, size, first));
        put16(node->out[0], t * out + first, narrow16(WIDER(made), c.a->y_shift, c.y_dtype == ERNN_INT16), c.y_dtype);
      }
    }
    if (node->in[9]) {
      BODY(project)(&c, node, &whole, h, t % batch);
      for (uint32_t i = 0; i < out; i += 16)
        put16(node->out[0], t * out + i,
              narrow16(WIDER(*(const w16 *)(h + i)), c.a->y_shift, c.y_dtype == ERNN_INT16), c.y_dtype);
    }
  }
  node->turn++;
}

static void BODY(init_qrnn)(ernn_node *node) { BODY(init_cell)(node, 1, 2); }

static void BODY(qrnn)(ernn_node *node) {
  cell c = BODY(cell_of)(node, 1, 2);
  uint32_t size = c.a->hidden, batch = c.a->batch, each = dtype_size(c.x_dtype);
  int16_t *state = BODY(state)(node->in[1], node->out[1], c.room, node->in[8], (uint64_t)batch * size);
  c.h.low = c.a->h_wide ? c.h.high + c.h.padded : (int8_t *)0;
  for (uint64_t t = 0; t < (uint64_t)c.a->frames * batch; t++) {
    int16_t *h = state + t % batch * size;
    BODY(prepare)(&c.x, (const uint8_t *)node->in[0] + t * c.a->in * each, c.x_dtype, c.a->in);
    for (uint32_t i = 0; i < size; i += 16) BODY(narrow_block)(&c, i, WIDER(*(const w16 *)(h + i)));
    for (uint32_t k = 0; k < c.panels; k++) {
      uint32_t panel = node->turn & 1 ? c.panels - 1 - k : k, first = panel * 16;
      sums given[1], kept[1];
      BODY(gates)(&c, given, kept, panel, 1);
      w16 total = BODY(joined)(&c, given[0], kept[0], first);
      w16 new = c.a->kind == RNN_RELU ? total & ~(total < 0) : activate(total, 0);
      BODY(keep16)(h + first, new, BODY(room_in_row)(&c, t % batch, size, first));
      put16(node->out[0], t * size + first, narrow16(WIDER(new), c.a->y_shift, c.y_dtype == ERNN_INT16), c.y_dtype);
    }
  }
  node->turn++;
}
#undef input
#undef padded16
#undef narrow16
#undef put16
#undef cell
