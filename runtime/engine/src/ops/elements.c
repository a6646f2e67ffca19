/* Element-wise operations on floats, and the few on other integers that look alike. Every one rounds once. */
#define FUNCTION static
#include "portable.h"
#include "walk.h"

void ernn_of_block(float *block, uint32_t kind) {
#define EACH(kind, value)                                                                                             \
  case kind:                                                                                                          \
    for (uint32_t i = 0; i < 16; i++) {                                                                            \
      float v = block[i];                                                                                             \
      block[i] = value;                                                                                               \
    }                                                                                                                 \
    break;
  switch (kind) {
    EACH(UNARY_ABS, size_of(v))
    EACH(UNARY_CEIL, ceil_of(v))
    EACH(UNARY_COS, f_quadrant(v, 1))
    EACH(UNARY_ERF, f_erf(v))
    EACH(UNARY_FLOOR, floor_of(v))
    EACH(UNARY_GELU, f_gelu(v))
    EACH(UNARY_NEG, -v)
    EACH(UNARY_RECIPROCAL, fdiv(1.0f, v))
    EACH(UNARY_RELU, maximum(v, 0.0f))
    EACH(UNARY_ROUND, to_even(v))
    EACH(UNARY_SIGN, v != v ? v : (float)((v > 0) - (v < 0)))
    EACH(UNARY_SIN, f_quadrant(v, 0))
    EACH(UNARY_SOFTPLUS, f_softplus(v))
    EACH(UNARY_SQRT, f_sqrt(v))
  default: break;
  }
#undef EACH
}

void ernn_unary_of_integers(ernn_node *node) {
  const unary_attr *a = (const void *)node->attr;
  const uint32_t dtype = *node->in_dtype[0];
  for (uint64_t i = 0; i < node->count; i++) {
    const int64_t x = integer_at(node->in[0], dtype, i);
    const int64_t y = a->kind == UNARY_NOT   ? !x
                      : a->kind == UNARY_NEG ? -x
                      : a->kind == UNARY_ABS ? (x < 0 ? -x : x)
                                             : (x > 0) - (x < 0);
    put_integer(node->out[0], dtype, i, y);
  }
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

void ernn_binary(ernn_node *node) {
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

void ernn_clip(ernn_node *node) {
  const clip_attr *a = (const void *)node->attr;
  const float *x = node->in[0];
  float *y = node->out[0];
  for (uint64_t i = 0; i < node->count; i++) {
    float v = flush(x[i]);
    v = v < a->low ? a->low : v;
    y[i] = v > a->high ? a->high : v;
  }
}

