/* Products of two signals: as in a layer, each sum starts at +0 and takes its products in the order of the columns. */
#include "edgernn.h"
#include "fours.h"
#include "portable.h"
#include "../attrs.h"

/* `groups` times four sums side by side, as each waits for its last addition. w `[4 groups, in]`. */
INLINE void sums_of(float *y, const float *x, const float *w, uint32_t in, const int groups) {
  fours total[4] = {{0}};
  for (uint32_t k = 0; k < in; k++, w++) {
    const fours given = all4(flush(x[k]));
    for (int g = 0; g < groups; g++) {
      const float *row = w + (uint64_t)g * 4 * in;
      const fours column = {row[0], row[in], row[2 * (uint64_t)in], row[3 * (uint64_t)in]};
      total[g] = flush4(total[g] + flush4(given * flush4(column)));
    }
  }
  for (int g = 0; g < groups; g++) store4(y + 4 * g, total[g]);
}

static float sum_of(const float *x, const float *w, uint32_t in) {
  float total = 0;
  for (uint32_t k = 0; k < in; k++) total = fadd(total, fmul(flush(x[k]), flush(w[k])));
  return total;
}

void ernn_matmul(ernn_node *node) { /* b is transposed: [batch, out, in] */
  const matmul_attr *a = (const void *)node->attr;
  float *y = node->out[0];
  for (uint64_t b = 0; b < a->batch; b++) {
    for (uint64_t r = 0; r < a->rows; r++, y += a->out) {
      const float *x = (const float *)node->in[0] + (b * a->rows + r) * a->in;
      const float *w = (const float *)node->in[1] + b * a->out * a->in;
      uint32_t o = 0;
      for (; o + 16 <= a->out; o += 16) sums_of(y + o, x, w + (uint64_t)o * a->in, a->in, 4);
      for (; o + 4 <= a->out; o += 4) sums_of(y + o, x, w + (uint64_t)o * a->in, a->in, 1);
      for (; o < a->out; o++) y[o] = sum_of(x, w + (uint64_t)o * a->in, a->in);
    }
  }
}
