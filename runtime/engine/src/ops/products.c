/* Products of a layer in which every product and sum is looked at: where subnormals may arise. */
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
