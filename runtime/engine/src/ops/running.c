/* Mean and largest value since reset. The state may lie where its successor goes. */
#include "../functions.h"
#include "edgernn.h"
#include "portable.h"

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

#define LARGEST(type, above)                                                                                          \
  static void largest_##type(ernn_node *node) {                                                                       \
    const cumsum_attr *a = (const void *)node->attr;                                                                  \
    const uint8_t *active = node->in[2];                                                                              \
    const type *x = node->in[0], *old = node->in[1];                                                                  \
    type *y = node->out[0], *state = node->out[1];                                                                    \
    for (uint32_t t = 0; t < a->frames; t++, x += a->inner, y += a->inner) {                                          \
      const type *most = t ? y - a->inner : old;                                                                      \
      for (uint32_t i = 0; i < a->inner; i++) y[i] = above(most[i], x[i]);                                            \
    }                                                                                                                 \
    const type *kept = !active || *active ? y - a->inner : old;                                                       \
    for (uint32_t i = 0; i < a->inner; i++) state[i] = kept[i];                                                       \
  }
#define ABOVE(a, b) ((a) > (b) ? (a) : (b))
LARGEST(float, maximum)
LARGEST(int8_t, ABOVE)
LARGEST(int16_t, ABOVE)
LARGEST(int32_t, ABOVE)
LARGEST(int64_t, ABOVE)

void ernn_cummax(ernn_node *node) {
  switch (*node->in_dtype[0]) {
  case ERNN_FLOAT32: largest_float(node); break;
  case ERNN_INT8: largest_int8_t(node); break;
  case ERNN_INT16: largest_int16_t(node); break;
  case ERNN_INT32: largest_int32_t(node); break;
  default: largest_int64_t(node);
  }
}
