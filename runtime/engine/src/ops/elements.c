/* Functions of single elements: of floats, and the few of other numbers that look alike. Every one rounds once. */
#define FUNCTION ONE_COPY
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

