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

void ernn_rescale(ernn_node *node) {
  const rescale_attr *a = (const void *)node->attr;
  const int64_t by = a->multiplier, most = ((int64_t)1 << 62) / (by < 0 ? -by : by ? by : 1);
  for (uint64_t i = 0; i < node->count; i++) {
    int64_t q = integer_at(node->in[0], *node->in_dtype[0], i);
    q = q > most ? most : q < -most ? -most : q; /* a total of hours: the product has 64 bits */
    put_integer(node->out[0], *node->out_dtype[0], i, rounded(q * by, a->shift, a->low, a->high));
  }
}

void ernn_qunary(ernn_node *node) {
  const qunary_attr *a = (const void *)node->attr;
  const int16_t *x = node->in[0];
  int16_t *y = node->out[0];
  for (uint64_t i = 0; i < node->count; i += 16)
    store16(y + i, a->kind == GATE_SIGMOID ? sigmoid(load16(x + i)) : hyperbolic_tangent(load16(x + i)));
}

/* a x + b y + both x y of two operands that broadcast. */
typedef struct {
  int32_t a, b, both, shift, low, high;
} factors;

static void combine(ernn_node *node, const spread_attr *spread, const factors by) {
  rows_walk w = first_row(spread);
  do {
    for (uint32_t i = 0; i < w.count; i++) {
      int64_t x = integer_at(node->in[0], *node->in_dtype[0], w.a_start + (uint64_t)i * w.a_step);
      int64_t y = integer_at(node->in[1], *node->in_dtype[1], w.b_start + (uint64_t)i * w.b_step);
      put_integer(node->out[0], *node->out_dtype[0], w.y_start + i,
                  rounded(x * by.a + y * by.b + x * y * by.both, by.shift, by.low, by.high));
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
