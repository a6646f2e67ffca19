/* Element-wise operations on integers with scales. */
#define PLAIN_C
#define RW 16
#define RD 16
#include "../kernels/vectors.h"
#include "portable.h"
#include "walk.h"

INLINE int64_t rounded(int64_t v, int32_t shift, int32_t low, int32_t high) {
  v = (v + ((int64_t)1 << shift >> 1)) >> shift;
  return v < low ? low : v > high ? high : v;
}

/* Elements on their way through 64 bits: as many as fit into the fastest memory, so that a dtype is asked for once. */
enum { BLOCK = 64 };

#define EACH_DTYPE(dtype, X)            \
  switch (dtype) {                      \
  case ERNN_INT64: X(int64_t) break;    \
  case ERNN_INT32: X(int32_t) break;    \
  case ERNN_INT16: X(int16_t) break;    \
  case ERNN_INT8: X(int8_t) break;      \
  default: X(uint8_t)                   \
  }

ONE_COPY void take_integers(int64_t *to, const void *x, uint32_t dtype, uint64_t start, uint64_t step, uint32_t count) {
#define TAKE(type) \
  for (uint32_t i = 0; i < count; i++) to[i] = ((const type *)x)[start + i * step];
  EACH_DTYPE(dtype, TAKE)
#undef TAKE
}

ONE_COPY void put_integers(void *y, uint32_t dtype, uint64_t start, const int64_t *from, uint32_t count) {
#define PUT(type) \
  for (uint32_t i = 0; i < count; i++) ((type *)y)[start + i] = (type)from[i];
  EACH_DTYPE(dtype, PUT)
#undef PUT
}

void ernn_rescale(ernn_node *node) {
  const rescale_attr *a = (const void *)node->attr;
  const int64_t by = a->multiplier, most = ((int64_t)1 << 62) / (by < 0 ? -by : by ? by : 1);
  int64_t q[BLOCK];
  for (uint64_t start = 0; start < node->count; start += BLOCK) {
    const uint32_t count = node->count - start < BLOCK ? (uint32_t)(node->count - start) : BLOCK;
    take_integers(q, node->in[0], *node->in_dtype[0], start, 1, count);
    for (uint32_t i = 0; i < count; i++) {
      q[i] = q[i] > most ? most : q[i] < -most ? -most : q[i]; /* a total of hours: the product has 64 bits */
      q[i] = rounded(q[i] * by, a->shift, a->low, a->high);
    }
    put_integers(node->out[0], *node->out_dtype[0], start, q, count);
  }
}

/* a x + b y + both x y of two operands that broadcast. */
typedef struct {
  int32_t a, b, both, shift, low, high;
} factors;

static void combine(ernn_node *node, const spread_attr *spread, const factors by) {
  int64_t x[BLOCK], y[BLOCK];
  rows_walk w = first_row(spread);
  do {
    for (uint64_t start = 0; start < w.count; start += BLOCK) {
      const uint32_t count = w.count - start < BLOCK ? (uint32_t)(w.count - start) : BLOCK;
      take_integers(x, node->in[0], *node->in_dtype[0], w.a_start + start * w.a_step, w.a_step, count);
      take_integers(y, node->in[1], *node->in_dtype[1], w.b_start + start * w.b_step, w.b_step, count);
      for (uint32_t i = 0; i < count; i++)
        x[i] = rounded(x[i] * by.a + y[i] * by.b + x[i] * y[i] * by.both, by.shift, by.low, by.high);
      put_integers(node->out[0], *node->out_dtype[0], w.y_start + start, x, count);
    }
  } while (next_row(&w));
}

void ernn_qadd(ernn_node *node) {
  const qadd_attr *a = (const void *)node->attr;
  combine(node, &a->spread, (factors){a->multiplier_a, a->multiplier_b, 0, a->shift, a->low, a->high});
}

void ernn_qmul(ernn_node *node) {
  const qmul_attr *a = (const void *)node->attr;
  combine(node, &a->spread, (factors){0, 0, a->multiplier, a->shift, a->low, a->high});
}
