/* Any CPU: plain C. Its sums have 64 bits, so it also runs the few layers whose sums may pass 32. */
#define ISA scalar
#define FLOATS plain
#define PLAIN_C
#define WIDE_SUMS
#ifdef ERNN_SELDOM_SCALAR /* another instruction set runs all but the few wide layers */
#define GATE APART
#define STEP APART
#define FAST_ROWS 0
#endif
#define RW 16
#define RD 16
#define X_OFFSET 0
#include "vectors.h"

INLINE void add_products(sums *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {
    for (int i = 0; i < panels * gates; i++) {
      const int8_t *row = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);
      for (int k = 0; k < 16; k++, row += 4)
        acc[i].v[k] += x[0] * row[0] + x[1] * row[1] + x[2] * row[2] + x[3] * row[3];
    }
  }
}

#define PANELS(gates) 1u
#include "kernel.h"
