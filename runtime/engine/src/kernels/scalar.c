/* Any CPU: plain C. */
#define ISA scalar
#define FLOATS plain
#define PLAIN_C
#define RW 16
#define RD 16
#define X_OFFSET 0
#include "vectors.h"

INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  int32_t total[8][16];
  for (int i = 0; i < panels * gates; i++) store32(total[i], acc[i]);
  for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {
    for (int i = 0; i < panels * gates; i++) {
      const int8_t *row = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);
      for (int l = 0; l < 16; l++, row += 4) total[i][l] += x[0] * row[0] + x[1] * row[1] + x[2] * row[2] + x[3] * row[3];
    }
  }
  for (int i = 0; i < panels * gates; i++) acc[i] = load32(total[i]);
}

#include "kernel.h"
