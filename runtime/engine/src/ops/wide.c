/* The integer layers with sums in 64 bits, in plain C. */
#define PLAIN_C
#define RW 16
#define RD 16
#define X_OFFSET 0
#define WIDE_SUMS
#include "../kernels/vectors.h"

INLINE void add_products(sums *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {
    for (int i = 0; i < panels * gates; i++) {
      const int8_t *at = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);
      for (int k = 0; k < 64; k++) acc[i].v[k / 4] += x[k % 4] * at[k];
    }
  }
}

#define PANELS(gates) 1u
#include "../kernels/integers.h"
#include "portable.h"

#define WIDEN(op)                                                                                                     \
  void ernn_widen_##op(ernn_node *node) {                                                                             \
    init_##op(node);                                                                                                  \
    node->run = run_##op;                                                                                             \
  }
WIDEN(qlinear)
WIDEN(qgru)
WIDEN(qlstm)
WIDEN(qrnn)
