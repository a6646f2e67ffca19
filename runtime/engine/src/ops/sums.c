/* Sums and extremes over an axis, and running sums. */
#include "fours.h"
#include "portable.h"
#include "walk.h"

static float reduce_floats(const float *x, uint32_t count, uint32_t kind) {
  float y = flush(x[0]);
  switch (kind) {
  case REDUCE_MAX:
    for (uint32_t i = 1; i < count; i++) y = maximum(y, flush(x[i]));
    return y;
  case REDUCE_MIN:
    for (uint32_t i = 1; i < count; i++) y = minimum(y, flush(x[i]));
    return y;
  case REDUCE_PROD:
    for (uint32_t i = 1; i < count; i++) y = fmul(y, flush(x[i]));
    return y;
  default: break;
  }
  y = ernn_lane_sum(x, count);
  return kind == REDUCE_MEAN ? fdiv(y, (float)count) : y;
}

/* Sums of two neighbours, as of a square's real and imaginary part, in fours; how many. The empty lanes' +0 is in them. */
static uint64_t sums_of_pairs(float *y, const float *x, uint64_t outer) {
  uint64_t o = 0;
  for (; o + 4 <= outer; o += 4, x += 8) {
    const fours first = {x[0], x[2], x[4], x[6]}, second = {x[1], x[3], x[5], x[7]};
    store4(y + o, flush4(flush4(first) + flush4(second) + all4(0)));
  }
  return o;
}

void ernn_reduce(ernn_node *node) {
  const reduce_attr *a = (const void *)node->attr;
  uint32_t dtype = *node->in_dtype[0];
  uint64_t o = 0;
  if (dtype == ERNN_FLOAT32 && a->inner == 2 && a->kind == REDUCE_SUM) o = sums_of_pairs(node->out[0], node->in[0], a->outer);
  for (; o < a->outer; o++) {
    uint64_t start = o * a->inner;
    if (dtype == ERNN_FLOAT32) {
      ((float *)node->out[0])[o] = reduce_floats((const float *)node->in[0] + start, a->inner, a->kind);
      continue;
    }
    int64_t y = integer_at(node->in[0], dtype, start);
    static const uint8_t pair[] = {BINARY_ADD, BINARY_ADD, BINARY_MAX, BINARY_MIN, BINARY_MUL};
    for (uint32_t i = 1; i < a->inner; i++) y = integer_pair(y, integer_at(node->in[0], dtype, start + i), pair[a->kind]);
    put_integer(node->out[0], dtype, o, y);
  }
}

void ernn_cumsum(ernn_node *node) {
  const cumsum_attr *a = (const void *)node->attr;
  const uint8_t *active = node->in[2];
  uint32_t in = *node->in_dtype[0];
  for (uint32_t i = 0; i < a->inner; i++) {
    if (in == ERNN_FLOAT32) {
      float old = ((const float *)node->in[1])[i], total = old;
      for (uint64_t t = 0; t < a->frames; t++) {
        uint64_t at = t * a->inner + i;
        ((float *)node->out[0])[at] = total = fadd(total, flush(((const float *)node->in[0])[at]));
      }
      ((float *)node->out[1])[i] = !active || *active ? total : old;
    } else {
      int64_t old = ((const int64_t *)node->in[1])[i], total = old;
      for (uint64_t t = 0; t < a->frames; t++) {
        uint64_t at = t * a->inner + i;
        ((int64_t *)node->out[0])[at] = total += integer_at(node->in[0], in, at);
      }
      ((int64_t *)node->out[1])[i] = !active || *active ? total : old;
    }
  }
}
