/* The integer layers with sums in 64 bits. */
#define X_OFFSET 0
#include "../kernels/vectors.h"

typedef q16 wide_sums;
#define sums wide_sums
#define BODY(name) wide_##name
#define load_bias(at) __builtin_convertvector(*(const d16 *)(at), q16)

INLINE void add_products(q16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads,
                         const int n) {
  for (uint32_t q = 0; q < quads; q++, w += step, x += 4)
    for (int i = 0; i < n; i++)
      for (int l = 0; l < 64; l++) acc[i][l / 4] += x[l % 4] * w[(uint64_t)i * block + (uint64_t)l];
}

INLINE int32_t held(int64_t v, int shift) {
  v = (v + ((int64_t)1 << shift >> 1)) >> shift;
  return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

INLINE d16 scaled(q16 a, d16 multiplier, int shift) {
  d16 y;
  for (int i = 0; i < 16; i++) y[i] = held(a[i] * multiplier[i], shift);
  return y;
}

INLINE d16 scaled_both(q16 a, d16 multiplier_a, q16 b, d16 multiplier_b, int shift) {
  d16 y;
  for (int i = 0; i < 16; i++) y[i] = held(a[i] * multiplier_a[i] + b[i] * multiplier_b[i], shift);
  return y;
}

#include "../kernels/integers.h"
#include "portable.h"

#define WIDEN(op)                                                                                                     \
  void ernn_widen_##op(ernn_node *node) {                                                                             \
    wide_init_##op(node);                                                                                             \
    node->run = wide_##op;                                                                                            \
  }
WIDEN(qlinear)
WIDEN(qgru)
WIDEN(qlstm)
WIDEN(qrnn)
