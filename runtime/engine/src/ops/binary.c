/* Element-wise operations on two operands that broadcast. Every one rounds once. */
#define FUNCTION ONE_COPY
#include "fours.h"
#include "portable.h"
#include "walk.h"

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

/* The larger or the smaller one; NaN of the first wins, and of two zeros the second. */
INLINE fours extreme(fours a, fours b, int most) {
  const masks first = (a != a) | (most ? a > b : a < b);
  return (fours)(((masks)a & first) | ((masks)b & ~first));
}

/* Elements of a row whose operands lie together, or are one number: as many as go by four. */
static uint32_t float_fours(float *y, const float *a, const float *b, const rows_walk *w, uint32_t kind) {
  uint32_t i = 0;
  if (w->a_step > 1 || w->b_step > 1) return 0;
#define EACH(k, value)                                                                      \
  case k:                                                                                   \
    for (; i + 4 <= w->count; i += 4) {                                                     \
      const fours p = flush4(w->a_step ? load4(a + i) : all4(*a));                          \
      const fours q = flush4(w->b_step ? load4(b + i) : all4(*b));                          \
      store4(y + i, value);                                                                 \
    }                                                                                       \
    break;
  switch (kind) {
    EACH(BINARY_ADD, flush4(p + q))
    EACH(BINARY_SUB, flush4(p - q))
    EACH(BINARY_MUL, flush4(p * q))
    EACH(BINARY_DIV, flush4(p / q))
  case BINARY_MIN: EACH(BINARY_MAX, extreme(p, q, kind == BINARY_MAX))
  default: break;
  }
#undef EACH
  return i;
}

static void float_row(float *y, const float *a, const float *b, const rows_walk *w, uint32_t kind) {
  const uint32_t first = float_fours(y, a, b, w, kind);
#define EACH(k)                                                                                                       \
  case k:                                                                                                             \
    for (uint32_t i = first; i < w->count; i++) y[i] = float_pair(a[i * (uint64_t)w->a_step], b[i * (uint64_t)w->b_step], k); \
    break;
  switch (kind) {
    EACH(BINARY_ADD) EACH(BINARY_MUL) EACH(BINARY_SUB)
  default:
    for (uint32_t i = first; i < w->count; i++)
      y[i] = float_pair(a[i * (uint64_t)w->a_step], b[i * (uint64_t)w->b_step], kind);
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
