/* Mean and largest value since reset. The state may lie where its successor goes. */
#include "portable.h"
#include "walk.h"

void ernn_running_mean(ernn_node *node) {
  const cumsum_attr *a = (const void *)node->attr;
  const uint8_t *active = node->in[3];
  const float *x = node->in[0], *old = node->in[1], *count = node->in[2];
  float *y = node->out[0], *state = node->out[1];
  for (uint32_t t = 0; t < a->frames; t++, x += a->inner, y += a->inner) {
    const float *mean = t ? y - a->inner : old;
    for (uint32_t i = 0; i < a->inner; i++) y[i] = fadd(mean[i], fdiv(fsub(flush(x[i]), mean[i]), count[t]));
  }
  const float *kept = !active || *active ? y - a->inner : old;
  for (uint32_t i = 0; i < a->inner; i++) state[i] = kept[i];
}

void ernn_cummax(ernn_node *node) {
  const cumsum_attr *a = (const void *)node->attr;
  const uint8_t *active = node->in[2];
  const int moves = !active || *active;
  const uint32_t dtype = *node->in_dtype[0];
  for (uint32_t i = 0; i < a->inner; i++) {
    if (dtype == ERNN_FLOAT32) {
      float old = flush(((const float *)node->in[1])[i]), most = old;
      for (uint64_t t = 0, at = i; t < a->frames; t++, at += a->inner)
        ((float *)node->out[0])[at] = most = maximum(most, flush(((const float *)node->in[0])[at]));
      ((float *)node->out[1])[i] = moves ? most : old;
    } else {
      int64_t old = integer_at(node->in[1], dtype, i), most = old;
      for (uint64_t t = 0, at = i; t < a->frames; t++, at += a->inner) {
        most = integer_pair(most, integer_at(node->in[0], dtype, at), BINARY_MAX);
        put_integer(node->out[0], dtype, at, most);
      }
      put_integer(node->out[1], dtype, i, moves ? most : old);
    }
  }
}
