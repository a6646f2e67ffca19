/* Matrix products in which every product and sum is looked at, one after the other in the order of the columns. */
#include "../functions.h"
#include "portable.h"

float ernn_smallest(const float *x, uint64_t count) {
  float least = 0x1p100f;
  for (uint64_t i = 0; i < count; i++) {
    float size = size_of(x[i]);
    least = size != 0 && size < least ? size : least;
  }
  return least;
}

void ernn_flushing_product(float *y, const float *x, const float *w, const float *bias, uint32_t in, uint32_t panels,
                           uint32_t gates) {
  const uint32_t n = 16 * gates;
  for (uint32_t panel = 0; panel < panels; panel++, y += n, w += (uint64_t)n * in) {
    for (uint32_t r = 0; r < n; r++) y[r] = 0;
    for (uint32_t k = 0; k < in; k++)
      for (uint32_t r = 0; r < n; r++) y[r] = fadd(y[r], fmul(x[k], w[(uint64_t)k * n + r]));
    for (uint32_t r = 0; bias && r < n; r++) y[r] = fadd(y[r], flush(bias[panel * n + r]));
  }
}

void ernn_matmul(ernn_node *node) { /* b is transposed: [batch, out, in] */
  const matmul_attr *a = (const void *)node->attr;
  float *y = node->out[0];
  for (uint64_t b = 0; b < a->batch; b++) {
    for (uint64_t r = 0; r < a->rows; r++) {
      const float *x = (const float *)node->in[0] + (b * a->rows + r) * a->in;
      const float *w = (const float *)node->in[1] + b * a->out * a->in;
      for (uint64_t o = 0; o < a->out; o++, w += a->in) {
        float total = 0;
        for (uint32_t k = 0; k < a->in; k++) total = fadd(total, fmul(flush(x[k]), flush(w[k])));
        *y++ = total;
      }
    }
  }
}
