/* Bodies of the float operations, compiled for each instruction set. Every operation rounds once, so all agree.
 * A sum runs in 16 lanes, then halves of the lanes are added (quantize/reference/ieee.py). */
#ifndef ERNN_FLOATS_H
#define ERNN_FLOATS_H
#include "../attrs.h"
#include "../node.h"
#include "edgernn.h"
#include "functions.h"

#define LANES 16
typedef float lanes __attribute__((vector_size(64), aligned(4)));
typedef int32_t lane_bits __attribute__((vector_size(64), aligned(4)));

INLINE lanes flush_lanes(lanes x) {
  lane_bits u = (lane_bits)x, subnormal = (u & 0x7fffffff) < 0x00800000;
  return (lanes)(u & ~(subnormal & 0x7fffffff));
}

INLINE float fold(lanes total) {
  float t[LANES];
  *(lanes *)t = total;
  for (int width = LANES / 2; width; width /= 2)
    for (int i = 0; i < width; i++) t[i] = fadd(t[i], t[i + width]);
  return t[0];
}

INLINE float lane_sum(const float *x, uint32_t count) {
  lanes total = {0};
  for (uint32_t i = 0; i < count; i += LANES) {
    float part[LANES] = {0};
    for (uint32_t k = 0; k < LANES && i + k < count; k++) part[k] = x[i + k];
    total = i ? flush_lanes(total + *(lanes *)part) : *(lanes *)part;
  }
  return fold(total);
}

/* x padded with zeros and its subnormals flushed, for `dot_rows`. */
static void pad_row(float *to, const float *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = flush(x[i]);
  for (uint32_t i = count; i % LANES; i++) to[i] = 0;
}

#define FLUSHED 0 /* the reference's every rounding */
#define NORMAL 1  /* the same bits where no product or sum can be subnormal */
#define FAST 2    /* a layer of an unquantized model: products are not rounded */

INLINE lanes madd(lanes total, lanes x, lanes w, int how) {
  if (how == FLUSHED) return flush_lanes(total + flush_lanes(x * w));
  if (how == NORMAL) return total + x * w;
#ifdef FUSED_LANES
  return FUSED_LANES(total, x, w);
#else
  return total + x * w;
#endif
}

/* y[o] = bias[o] + x · w[o]; x and each row of w `padded` elements long. */
INLINE void dot_rows_as(float *y, const float *x, const float *w, const float *bias, uint32_t padded, uint32_t out,
                        int how) {
  uint32_t o = 0;
  for (; o + 4 <= out; o += 4) { /* four rows share each load of x and hide the latency of the additions */
    const float *row = w + (uint64_t)o * padded;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (uint32_t k = 0; k < padded; k += LANES) {
      lanes part = *(const lanes *)(x + k);
      a = madd(a, part, *(const lanes *)(row + k), how);
      b = madd(b, part, *(const lanes *)(row + padded + k), how);
      c = madd(c, part, *(const lanes *)(row + 2 * (uint64_t)padded + k), how);
      d = madd(d, part, *(const lanes *)(row + 3 * (uint64_t)padded + k), how);
    }
    float sums[4] = {fold(a), fold(b), fold(c), fold(d)};
    for (uint32_t i = 0; i < 4; i++) y[o + i] = bias ? fadd(sums[i], flush(bias[o + i])) : sums[i];
  }
  for (; o < out; o++) {
    const float *row = w + (uint64_t)o * padded;
    lanes a = {0};
    for (uint32_t k = 0; k < padded; k += LANES) a = madd(a, *(const lanes *)(x + k), *(const lanes *)(row + k), how);
    y[o] = bias ? fadd(fold(a), flush(bias[o])) : fold(a);
  }
}

static float smallest(const float *x, uint64_t count) { /* of the sizes that are not zero */
  float least = 0x1p100f;
  for (uint64_t i = 0; i < count; i++) {
    float size = size_of(x[i]);
    least = size != 0 && size < least ? size : least;
  }
  return least;
}

/* A sum of float32 whose terms are all multiples of 2^-125 (products of at least 2^-102 have 24 bits) is no subnormal. */
static void dot_rows(float *y, const float *x, const float *w, const float *bias, uint32_t padded, uint32_t out,
                     float least_weight, uint32_t exact) {
  if (!exact)
    dot_rows_as(y, x, w, bias, padded, out, FAST);
  else if ((double)smallest(x, padded) * (double)least_weight >= 0x1p-102)
    dot_rows_as(y, x, w, bias, padded, out, NORMAL);
  else
    dot_rows_as(y, x, w, bias, padded, out, FLUSHED);
}

static uint32_t padded_to_lanes(uint32_t n) { return (n + (LANES - 1)) & ~(uint32_t)(LANES - 1); }

static void run_unary(ernn_node *node) {
  const unary_attr *a = (const void *)node->attr;
  uint64_t n = node->count;
  if (*node->in_dtype[0] == ERNN_BOOL) {
    for (uint64_t i = 0; i < n; i++) ((uint8_t *)node->out[0])[i] = !((const uint8_t *)node->in[0])[i];
    return;
  }
  if (*node->in_dtype[0] != ERNN_FLOAT32) {
    int wide = *node->in_dtype[0] == ERNN_INT64;
    for (uint64_t i = 0; i < n; i++) {
      int64_t x = wide ? ((const int64_t *)node->in[0])[i] : ((const int32_t *)node->in[0])[i];
      int64_t y = a->kind == UNARY_NEG ? -x : a->kind == UNARY_ABS ? (x < 0 ? -x : x) : (x > 0) - (x < 0);
      if (wide)
        ((int64_t *)node->out[0])[i] = y;
      else
        ((int32_t *)node->out[0])[i] = (int32_t)y;
    }
    return;
  }
  const float *x = node->in[0];
  float *y = node->out[0];
#define EACH(kind, value)                                                                                             \
  case kind:                                                                                                          \
    for (uint64_t i = 0; i < n; i++) {                                                                                \
      float v = flush(x[i]);                                                                                          \
      y[i] = value;                                                                                                   \
    }                                                                                                                 \
    break;
  switch (a->kind) {
    EACH(UNARY_ABS, size_of(v))
    EACH(UNARY_CEIL, ceil_of(v))
    EACH(UNARY_COS, f_quadrant(v, 1))
    EACH(UNARY_ERF, f_erf(v))
    EACH(UNARY_EXP, f_exp(v))
    EACH(UNARY_FLOOR, floor_of(v))
    EACH(UNARY_GELU, f_gelu(v))
    EACH(UNARY_LOG, f_log(v))
    EACH(UNARY_NEG, -v)
    EACH(UNARY_RECIPROCAL, fdiv(1.0f, v))
    EACH(UNARY_RELU, maximum(v, 0.0f))
    EACH(UNARY_ROUND, to_even(v))
    EACH(UNARY_SIGMOID, f_sigmoid(v))
    EACH(UNARY_SIGN, v != v ? v : (float)((v > 0) - (v < 0)))
    EACH(UNARY_SIN, f_quadrant(v, 0))
    EACH(UNARY_SOFTPLUS, f_softplus(v))
    EACH(UNARY_SQRT, f_sqrt(v))
    EACH(UNARY_TANH, f_tanh(v))
  default: break;
  }
#undef EACH
}

INLINE float float_pair(float a, float b, uint32_t kind) {
  a = flush(a), b = flush(b);
  switch (kind) {
  case BINARY_ADD: return fadd(a, b);
  case BINARY_DIV: return fdiv(a, b);
  case BINARY_MAX: return maximum(a, b);
  case BINARY_MIN: return minimum(a, b);
  case BINARY_MUL: return fmul(a, b);
  case BINARY_POW: return f_power(a, b);
  default: return fsub(a, b);
  }
}

INLINE int float_compare(float a, float b, uint32_t kind) {
  a = flush(a), b = flush(b);
  return kind == BINARY_EQUAL ? a == b : kind == BINARY_GREATER ? a > b : kind == BINARY_GREATER_EQUAL ? a >= b
       : kind == BINARY_LESS ? a < b : a <= b;
}

INLINE int64_t integer_pair(int64_t a, int64_t b, uint32_t kind) {
  switch (kind) {
  case BINARY_ADD: return a + b;
  case BINARY_MAX: return a > b ? a : b;
  case BINARY_MIN: return a < b ? a : b;
  case BINARY_MUL: return a * b;
  case BINARY_SUB: return a - b;
  case BINARY_EQUAL: return a == b;
  case BINARY_GREATER: return a > b;
  case BINARY_GREATER_EQUAL: return a >= b;
  case BINARY_LESS: return a < b;
  case BINARY_LESS_EQUAL: return a <= b;
  case BINARY_AND: return a && b;
  default: return a || b;
  }
}

INLINE int64_t integer_at(const void *x, uint32_t dtype, uint64_t i) {
  return dtype == ERNN_INT64   ? ((const int64_t *)x)[i]
         : dtype == ERNN_INT32 ? ((const int32_t *)x)[i]
         : dtype == ERNN_INT16 ? ((const int16_t *)x)[i]
         : dtype == ERNN_INT8  ? ((const int8_t *)x)[i]
                               : ((const uint8_t *)x)[i];
}

INLINE void put_integer(void *y, uint32_t dtype, uint64_t i, int64_t value) {
  switch (dtype) {
  case ERNN_INT64: ((int64_t *)y)[i] = value; break;
  case ERNN_INT32: ((int32_t *)y)[i] = (int32_t)value; break;
  case ERNN_INT16: ((int16_t *)y)[i] = (int16_t)value; break;
  case ERNN_INT8: ((int8_t *)y)[i] = (int8_t)value; break;
  default: ((uint8_t *)y)[i] = (uint8_t)value;
  }
}

/* Walk broadcast operands: one row of the last axis after the other. */
typedef struct {
  const spread_attr *a;
  uint32_t at[MAX_RANK], row, count, a_step, b_step;
  uint64_t a_start, b_start, y_start;
} rows_walk;

static rows_walk first_row(const spread_attr *a) {
  rows_walk w = {.a = a, .count = a->rank ? a->dims[a->rank - 1] : 1};
  w.a_step = a->rank ? a->a[a->rank - 1] : 0;
  w.b_step = a->rank ? a->b[a->rank - 1] : 0;
  return w;
}

static int next_row(rows_walk *w) {
  const spread_attr *a = w->a;
  w->y_start += w->count;
  for (uint32_t i = a->rank < 2 ? 0 : a->rank - 1; i-- > 0;) {
    w->a_start += a->a[i], w->b_start += a->b[i];
    if (++w->at[i] < a->dims[i]) return 1;
    w->a_start -= (uint64_t)a->a[i] * a->dims[i], w->b_start -= (uint64_t)a->b[i] * a->dims[i];
    w->at[i] = 0;
  }
  return 0;
}

static void float_row(float *y, const float *a, const float *b, const rows_walk *w, uint32_t kind) {
#define EACH(k)                                                                                                       \
  case k:                                                                                                             \
    for (uint32_t i = 0; i < w->count; i++) y[i] = float_pair(a[i * (uint64_t)w->a_step], b[i * (uint64_t)w->b_step], k); \
    break;
  switch (kind) {
    EACH(BINARY_ADD) EACH(BINARY_DIV) EACH(BINARY_MAX) EACH(BINARY_MIN) EACH(BINARY_MUL) EACH(BINARY_POW)
    EACH(BINARY_SUB)
  default: break;
  }
#undef EACH
}

static void run_binary(ernn_node *node) {
  const binary_attr *a = (const void *)node->attr;
  uint32_t in = *node->in_dtype[0], out = *node->out_dtype[0];
  rows_walk w = first_row(&a->spread);
  do {
    if (in == ERNN_FLOAT32 && out == ERNN_FLOAT32) {
      float_row((float *)node->out[0] + w.y_start, (const float *)node->in[0] + w.a_start,
                (const float *)node->in[1] + w.b_start, &w, a->kind);
      continue;
    }
    for (uint32_t i = 0; i < w.count; i++) {
      uint64_t p = w.a_start + (uint64_t)i * w.a_step, q = w.b_start + (uint64_t)i * w.b_step;
      int64_t y = in == ERNN_FLOAT32
                      ? float_compare(((const float *)node->in[0])[p], ((const float *)node->in[1])[q], a->kind)
                      : integer_pair(integer_at(node->in[0], in, p), integer_at(node->in[1], in, q), a->kind);
      put_integer(node->out[0], out, w.y_start + i, y);
    }
  } while (next_row(&w));
}

static void run_clip(ernn_node *node) {
  const clip_attr *a = (const void *)node->attr;
  const float *x = node->in[0];
  float *y = node->out[0];
  for (uint64_t i = 0; i < node->count; i++) {
    float v = flush(x[i]);
    v = v < a->low ? a->low : v;
    y[i] = v > a->high ? a->high : v;
  }
}

static float reduce_floats(const float *x, uint32_t count, uint32_t kind) {
  float y = flush(x[0]);
  switch (kind) {
  case REDUCE_MAX:
    for (uint32_t i = 1; i < count; i++) y = maximum(y, x[i]);
    return count > 1 ? y : x[0];
  case REDUCE_MIN:
    for (uint32_t i = 1; i < count; i++) y = minimum(y, x[i]);
    return count > 1 ? y : x[0];
  case REDUCE_PROD:
    for (uint32_t i = 1; i < count; i++) y = fmul(y, flush(x[i]));
    return y;
  default: break;
  }
  lanes total = {0};
  for (uint32_t i = 0; i < count; i += LANES) {
    float part[LANES] = {0};
    for (uint32_t k = 0; k < LANES && i + k < count; k++) part[k] = flush(x[i + k]);
    total = i ? flush_lanes(total + *(lanes *)part) : *(lanes *)part;
  }
  y = fold(total);
  return kind == REDUCE_MEAN ? fdiv(y, (float)count) : y;
}

static void run_reduce(ernn_node *node) {
  const reduce_attr *a = (const void *)node->attr;
  uint32_t dtype = *node->in_dtype[0];
  for (uint64_t o = 0; o < a->outer; o++) {
    uint64_t start = o * a->inner;
    if (dtype == ERNN_FLOAT32) {
      ((float *)node->out[0])[o] = reduce_floats((const float *)node->in[0] + start, a->inner, a->kind);
      continue;
    }
    int64_t y = integer_at(node->in[0], dtype, start);
    static const uint8_t pair[] = {BINARY_ADD, BINARY_ADD, BINARY_MAX, BINARY_MIN, BINARY_MUL};
    for (uint32_t i = 1; i < a->inner; i++) y = integer_pair(y, integer_at(node->in[0], dtype, start + i), pair[a->kind]);
    put_integer(node->out[0], dtype, o, y);
  }
}

static void run_cumsum(ernn_node *node) {
  const cumsum_attr *a = (const void *)node->attr;
  const uint8_t *active = node->in[2];
  uint32_t in = *node->in_dtype[0];
  for (uint32_t i = 0; i < a->inner; i++) {
    if (in == ERNN_FLOAT32) {
      float old = ((const float *)node->in[1])[i], total = old;
      for (uint64_t t = 0; t < a->frames; t++) {
        uint64_t at = t * a->inner + i;
        ((float *)node->out[0])[at] = total = fadd(total, flush(((const float *)node->in[0])[at]));
      }
      ((float *)node->out[1])[i] = !active || *active ? total : old;
    } else {
      int64_t old = ((const int64_t *)node->in[1])[i], total = old;
      for (uint64_t t = 0; t < a->frames; t++) {
        uint64_t at = t * a->inner + i;
        ((int64_t *)node->out[0])[at] = total += integer_at(node->in[0], in, at);
      }
      ((int64_t *)node->out[1])[i] = !active || *active ? total : old;
    }
  }
}

static void run_softmax(ernn_node *node) {
  const softmax_attr *a = (const void *)node->attr;
  float *powers = node->scratch;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    float *y = (float *)node->out[0] + o * a->inner, most = flush(x[0]);
    for (uint32_t i = 1; i < a->inner; i++) most = maximum(most, flush(x[i]));
    for (uint32_t i = 0; i < a->inner; i++) y[i] = fsub(flush(x[i]), most);
    for (uint32_t i = 0; i < a->inner; i++) powers[i] = f_exp(y[i]);
    float total = lane_sum(powers, a->inner), log_total = f_log(total);
    for (uint32_t i = 0; i < a->inner; i++) y[i] = a->log ? fsub(y[i], log_total) : fdiv(powers[i], total);
  }
}

static void run_layer_norm(ernn_node *node) {
  const norm_attr *a = (const void *)node->attr;
  const float *weight = node->in[1], *bias = node->in[2];
  float *squares = node->scratch, count = (float)a->inner;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    float *y = (float *)node->out[0] + o * a->inner;
    for (uint32_t i = 0; i < a->inner; i++) y[i] = flush(x[i]);
    float mean = fdiv(lane_sum(y, a->inner), count);
    for (uint32_t i = 0; i < a->inner; i++) y[i] = fsub(y[i], mean);
    for (uint32_t i = 0; i < a->inner; i++) squares[i] = fmul(y[i], y[i]);
    float deviation = f_sqrt(fadd(fdiv(lane_sum(squares, a->inner), count), a->eps));
    for (uint32_t i = 0; i < a->inner; i++) {
      float v = fdiv(y[i], deviation);
      v = weight ? fmul(v, weight[i]) : v;
      y[i] = bias ? fadd(v, flush(bias[i])) : v;
    }
  }
}

static void init_linear(ernn_node *node) {
  const linear_attr *a = (const void *)node->attr;
  *(float *)node->own = smallest(node->in[1], (uint64_t)a->groups * a->out * padded_to_lanes(a->in));
}

static void run_linear(ernn_node *node) {
  const linear_attr *a = (const void *)node->attr;
  uint32_t padded = padded_to_lanes(a->in);
  const float *bias = node->in[2];
  for (uint32_t r = 0; r < a->rows; r++) {
    for (uint32_t g = 0; g < a->groups; g++) {
      const float *x = (const float *)node->in[0] + a->start + (uint64_t)r * a->stride + (uint64_t)g * a->in;
      uint64_t first = (uint64_t)g * a->out;
      pad_row(node->scratch, x, a->in);
      dot_rows((float *)node->out[0] + (uint64_t)r * a->groups * a->out + first, node->scratch,
               (const float *)node->in[1] + first * padded, bias ? bias + first : bias, padded, a->out,
               *(const float *)node->own, node->exact);
    }
  }
}

static void run_matmul(ernn_node *node) { /* b is transposed: [batch, out, in] */
  const matmul_attr *a = (const void *)node->attr;
  uint32_t padded = padded_to_lanes(a->in);
  float *x = node->scratch, *w = x + padded, *y = node->out[0];
  for (uint64_t b = 0; b < a->batch; b++) {
    for (uint64_t r = 0; r < a->rows; r++) {
      pad_row(x, (const float *)node->in[0] + (b * a->rows + r) * a->in, a->in);
      for (uint64_t o = 0; o < a->out; o++, y++) {
        pad_row(w, (const float *)node->in[1] + (b * a->out + o) * a->in, a->in);
        dot_rows_as(y, x, w, (const float *)0, padded, 1, FLUSHED);
      }
    }
  }
}

/* --- recurrent layers ------------------------------------------------------------------------------------------- */

typedef struct {
  const float *w_ih, *w_hh, *b_ih, *b_hh;
  float *x, *h, *given, *kept, least_ih, least_hh;
  uint32_t in, out, rows, exact;
} float_cell;

static void init_cell(ernn_node *node, uint32_t gates, uint32_t first) {
  const cell_attr *a = (const void *)node->attr;
  float *least = node->own;
  uint64_t rows = (uint64_t)gates * a->hidden;
  least[0] = smallest(node->in[first], rows * padded_to_lanes(a->in));
  least[1] = smallest(node->in[first + 1], rows * padded_to_lanes(a->out));
  if (node->in[7] && gates == 4) least[2] = smallest(node->in[7], (uint64_t)a->out * padded_to_lanes(a->hidden));
}

static float_cell cell_of(const ernn_node *node, uint32_t gates, uint32_t first) {
  const cell_attr *a = (const void *)node->attr;
  const float *least = node->own;
  float_cell c = {.w_ih = node->in[first], .w_hh = node->in[first + 1], .b_ih = node->in[first + 2],
                  .b_hh = node->in[first + 3]};
  c.in = padded_to_lanes(a->in), c.out = padded_to_lanes(a->out), c.rows = gates * a->hidden;
  c.x = node->scratch, c.h = c.x + c.in, c.given = c.h + c.out, c.kept = c.given + padded_to_lanes(c.rows);
  c.least_ih = least[0], c.least_hh = least[1], c.exact = node->exact;
  return c;
}

static void both_products(const float_cell *c, const float *x, uint32_t in, const float *h, uint32_t out) {
  pad_row(c->x, x, in);
  pad_row(c->h, h, out);
  dot_rows(c->given, c->x, c->w_ih, c->b_ih, c->in, c->rows, c->least_ih, c->exact);
  dot_rows(c->kept, c->h, c->w_hh, c->b_hh, c->out, c->rows, c->least_hh, c->exact);
}

/* Where the new state goes: to the result, or to scratch when `active` says that the old one is held. */
static float *state_room(const float *old, float *result, float *scratch, const uint8_t *active, uint64_t count) {
  float *work = active && !*active ? scratch : result;
  for (uint64_t i = 0; i < count; i++) {
    work[i] = old[i];
    if (work != result) result[i] = old[i];
  }
  return work;
}

static void init_gru(ernn_node *node) { init_cell(node, 3, 2); }

static void run_gru(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  float_cell c = cell_of(node, 3, 2);
  uint32_t size = a->hidden;
  float *h = state_room(node->in[1], node->out[1], c.kept + padded_to_lanes(c.rows), node->in[6],
                        (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *old = h + t % a->batch * size, *y = (float *)node->out[0] + t * size;
    both_products(&c, (const float *)node->in[0] + t * a->in, a->in, old, size);
    const float *x = c.given, *k = c.kept;
    for (uint32_t i = 0; i < size; i++) {
      float r = f_sigmoid(fadd(x[i], k[i])), z = f_sigmoid(fadd(x[size + i], k[size + i]));
      float n = f_tanh(fadd(x[2 * size + i], fmul(r, k[2 * size + i])));
      y[i] = old[i] = fadd(fmul(fsub(1.0f, z), n), fmul(z, old[i]));
    }
  }
}

static void init_lstm(ernn_node *node) { init_cell(node, 4, 3); }

static void run_lstm(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  float_cell cell = cell_of(node, 4, 3);
  uint32_t size = a->hidden;
  const uint8_t *active = node->in[8];
  float *room = cell.kept + padded_to_lanes(cell.rows), *whole = room;
  room += padded_to_lanes(size);
  float *h = state_room(node->in[1], node->out[1], room, active, (uint64_t)a->batch * a->out);
  float *c = state_room(node->in[2], node->out[2], room + (uint64_t)a->batch * a->out, active, (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *h_row = h + t % a->batch * a->out, *c_row = c + t % a->batch * size, *y = (float *)node->out[0] + t * a->out;
    both_products(&cell, (const float *)node->in[0] + t * a->in, a->in, h_row, a->out);
    const float *x = cell.given, *k = cell.kept;
    float *made = node->in[7] ? whole : h_row;
    for (uint32_t i = 0; i < size; i++) {
      float in = f_sigmoid(fadd(x[i], k[i])), forget = f_sigmoid(fadd(x[size + i], k[size + i]));
      float g = f_tanh(fadd(x[2 * size + i], k[2 * size + i])), out = f_sigmoid(fadd(x[3 * size + i], k[3 * size + i]));
      c_row[i] = fadd(fmul(forget, c_row[i]), fmul(in, g));
      made[i] = fmul(out, f_tanh(c_row[i]));
    }
    if (node->in[7]) {
      for (uint32_t i = size; i % LANES; i++) whole[i] = 0;
      dot_rows(h_row, whole, node->in[7], (const float *)0, padded_to_lanes(size), a->out, ((const float *)node->own)[2],
               node->exact);
    }
    for (uint32_t i = 0; i < a->out; i++) y[i] = h_row[i];
  }
}

static void init_rnn(ernn_node *node) { init_cell(node, 1, 2); }

static void run_rnn(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  float_cell c = cell_of(node, 1, 2);
  uint32_t size = a->hidden;
  float *h = state_room(node->in[1], node->out[1], c.kept + padded_to_lanes(c.rows), node->in[6],
                        (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *row = h + t % a->batch * size, *y = (float *)node->out[0] + t * size;
    both_products(&c, (const float *)node->in[0] + t * a->in, a->in, row, size);
    for (uint32_t i = 0; i < size; i++) {
      float sum = fadd(c.given[i], c.kept[i]);
      y[i] = row[i] = a->kind == RNN_RELU ? maximum(sum, 0.0f) : f_tanh(sum);
    }
  }
}

/* --- short-time Fourier transform --------------------------------------------------------------------------------- */

/* Complex transform of n elements `step` apart, into `re`, `im`; `room` holds 2 n more. The twiddles of length n lie at
 * `twiddle` (n cosines, n negated sines), those of the next level behind them. */
static void transform(const float *from_re, const float *from_im, uint64_t step, uint32_t n, float *re, float *im,
                      float *room, const float *twiddle) {
  if (n == 1) {
    *re = *from_re, *im = from_im ? *from_im : 0.0f;
    return;
  }
  uint32_t p = 2;
  while (n % p) p++;
  uint32_t m = n / p;
  const float *c = twiddle, *s = twiddle + n;
  float *part_re = room, *part_im = room + n;
  for (uint32_t r = 0; r < p; r++) {
    float *a = part_re + (uint64_t)r * m, *b = part_im + (uint64_t)r * m;
    /* `re` and `im` are free until the parts are joined: the next level works there */
    transform(from_re + r * step, from_im ? from_im + r * step : from_im, step * p, m, a, b, room + 2 * (uint64_t)n,
              twiddle + 2 * (uint64_t)n);
    for (uint32_t i = 0; r && i < m; i++) {
      uint64_t turn = (uint64_t)r * i % n;
      float x = a[i], y = b[i];
      a[i] = fsub(fmul(x, c[turn]), fmul(y, s[turn]));
      b[i] = fadd(fmul(x, s[turn]), fmul(y, c[turn]));
    }
  }
  for (uint32_t q = 0; q < p; q++) {
    for (uint32_t i = 0; i < m; i++) {
      float total_re = part_re[i], total_im = part_im[i];
      for (uint32_t r = 1; r < p; r++) {
        float x = part_re[r * (uint64_t)m + i], y = part_im[r * (uint64_t)m + i];
        uint64_t turn = (uint64_t)r * q * m % n;
        if (p == 2) {
          total_re = q ? fsub(total_re, x) : fadd(total_re, x);
          total_im = q ? fsub(total_im, y) : fadd(total_im, y);
        } else {
          float more_re = turn ? fsub(fmul(x, c[turn]), fmul(y, s[turn])) : x;
          float more_im = turn ? fadd(fmul(x, s[turn]), fmul(y, c[turn])) : y;
          total_re = fadd(total_re, more_re), total_im = fadd(total_im, more_im);
        }
      }
      re[q * (uint64_t)m + i] = total_re, im[q * (uint64_t)m + i] = total_im;
    }
  }
}

static void run_stft(ernn_node *node) {
  const stft_attr *a = (const void *)node->attr;
  uint32_t n = a->length, bins = n / 2 + 1, half = n / 2;
  const float *taper = node->in[1], *twiddle = node->in[2], *c = twiddle, *s = twiddle + n;
  float *x = node->scratch, *re = x + n, *im = re + n, *room = im + n, *y = node->out[0];
  for (uint32_t j = 0; j < a->count; j++) {
    for (uint32_t b = 0; b < a->batch; b++, y += 2 * bins) {
      const float *from = (const float *)node->in[0] + ((uint64_t)a->first + (uint64_t)j * a->stride) * a->batch + b;
      for (uint32_t i = 0; i < n; i++) x[i] = fmul(flush(from[(uint64_t)i * a->batch]), taper[i]);
      if (n % 2)
        transform(x, (const float *)0, 1, n, re, im, room, twiddle + 2 * (uint64_t)n);
      else
        transform(x, x + 1, 2, half, re, im, room, twiddle + 2 * (uint64_t)n);
      for (uint32_t i = 0; i < bins; i++) {
        float real = re[i % (n % 2 ? n : half)], imaginary = im[i % (n % 2 ? n : half)];
        if (n % 2 == 0) {
          uint32_t mirror = (half - i % half) % half;
          float even_re = fmul(0.5f, fadd(real, re[mirror])), even_im = fmul(0.5f, fsub(imaginary, im[mirror]));
          float odd_re = fmul(0.5f, fadd(imaginary, im[mirror])), odd_im = fmul(0.5f, fsub(re[mirror], real));
          real = fadd(even_re, fsub(fmul(odd_re, c[i]), fmul(odd_im, s[i])));
          imaginary = fadd(even_im, fadd(fmul(odd_re, s[i]), fmul(odd_im, c[i])));
        }
        y[2 * i] = fmul(real, a->scale), y[2 * i + 1] = fmul(imaginary, a->scale);
      }
    }
  }
}
#endif
