/* Any CPU: plain C. */
#define ISA scalar
#define KERNEL_OFFSET 0
#include "vectors.h"

INLINE void add_products(d16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads,
                         const int n) {
  for (uint32_t q = 0; q < quads; q++, w += step, x += 4) {
    for (int i = 0; i < n; i++) {
      const int8_t *row = w + (uint64_t)i * block;
      for (int l = 0; l < 16; l++, row += 4) acc[i][l] += x[0] * row[0] + x[1] * row[1] + x[2] * row[2] + x[3] * row[3];
    }
  }
}

#include "kernel.h"
