/* Float sums over an axis, and what is scaled by them. */
#include "edgernn.h"
#include "fours.h"
#include "portable.h"
#include "../attrs.h"

/* Sums run in 16 lanes, then halves of the lanes are added (quantize/reference/ieee.py). */
typedef struct {
  fours v[4];
} lanes;

INLINE lanes load_lanes(const float *x) {
  return (lanes){{flush4(load4(x)), flush4(load4(x + 4)), flush4(load4(x + 8)), flush4(load4(x + 12))}};
}

float ernn_lane_sum(const float *x, uint32_t count) {
  lanes total = {{{0}}};
  for (uint32_t i = 0; i < count; i += 16) {
    float last[16] = {0}; /* what is missing at the end is +0 */
    for (uint32_t k = i; count - i < 16 && k < count; k++) last[k - i] = x[k];
    const lanes part = load_lanes(count - i < 16 ? last : x + i);
    for (int k = 0; k < 4; k++) total.v[k] = i ? flush4(total.v[k] + part.v[k]) : part.v[k];
  }
  const fours low = flush4(total.v[0] + total.v[2]), high = flush4(total.v[1] + total.v[3]);
  const fours sum = flush4(low + high);
  return fadd(fadd(sum[0], sum[2]), fadd(sum[1], sum[3]));
}

/* y = value of four, then of one, for the elements of a row. */
#define EACH(of_fours, of_one)                                                     \
  {                                                                                \
    uint32_t i = 0;                                                                \
    for (; i + 4 <= a->inner; i += 4) store4(to + i, of_fours);                    \
    for (; i < a->inner; i++) to[i] = of_one;                                      \
  }

void ernn_layer_norm(ernn_node *node) {
  const norm_attr *a = (const void *)node->attr;
  const float *weight = node->in[1], *bias = node->in[2], count = (float)a->inner;
  float *squares = node->scratch;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    float *y = (float *)node->out[0] + o * a->inner, *to = y;
    const float mean = fdiv(ernn_lane_sum(x, a->inner), count);
    EACH(flush4(flush4(load4(x + i)) - all4(mean)), fsub(flush(x[i]), mean))
    to = squares;
    EACH(flush4(load4(y + i) * load4(y + i)), fmul(y[i], y[i]))
    to = y;
    const float deviation = f_sqrt(fadd(fdiv(ernn_lane_sum(squares, a->inner), count), a->eps));
    EACH(flush4(load4(y + i) / all4(deviation)), fdiv(y[i], deviation))
    if (weight) EACH(flush4(load4(y + i) * load4(weight + i)), fmul(y[i], weight[i]))
    if (bias) EACH(flush4(load4(y + i) + flush4(load4(bias + i))), fadd(y[i], flush(bias[i])))
  }
}
