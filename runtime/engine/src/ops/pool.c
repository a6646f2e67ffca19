/* Maxima, sums and means over windows of rows. */
#include "../functions.h"
#include "edgernn.h"
#include "portable.h"

static void pool_floats(float *y, const float *x, const pool_attr *a) {
  uint64_t step = (uint64_t)a->dilation * a->inner;
  for (uint32_t i = 0; i < a->inner; i++) y[i] = a->kind == POOL_MAX ? x[i] : flush(x[i]);
  for (uint32_t tap = 1; tap < a->size; tap++) {
    x += step;
    for (uint32_t i = 0; i < a->inner; i++) y[i] = a->kind == POOL_MAX ? maximum(y[i], x[i]) : fadd(y[i], flush(x[i]));
  }
  for (uint32_t i = 0; a->kind == POOL_MEAN && i < a->inner; i++) y[i] = fdiv(y[i], (float)a->size);
}

/* A maximum in the rows' own type, a sum in 32 bits. */
#define INTEGERS(type)                                                                                                \
  static void pool_##type(void *to, const type *x, const pool_attr *a) {                                              \
    uint64_t step = (uint64_t)a->dilation * a->inner;                                                                 \
    type *most = to;                                                                                                  \
    int32_t *sum = to;                                                                                                \
    for (uint32_t tap = 0; tap < a->size; tap++, x += step) {                                                         \
      if (a->kind == POOL_SUM)                                                                                        \
        for (uint32_t i = 0; i < a->inner; i++) sum[i] = (tap ? sum[i] : 0) + (int32_t)x[i];                          \
      else                                                                                                            \
        for (uint32_t i = 0; i < a->inner; i++) most[i] = tap && most[i] > x[i] ? most[i] : x[i];                     \
    }                                                                                                                 \
  }
INTEGERS(int8_t)
INTEGERS(int16_t)
INTEGERS(int32_t)
INTEGERS(int64_t)

void ernn_pool(ernn_node *node) {
  const pool_attr *a = (const void *)node->attr;
  uint32_t in = *node->in_dtype[0], from_size = dtype_size(in), to_size = dtype_size(*node->out_dtype[0]);
  uint8_t *to = node->out[0];
  for (uint32_t o = 0; o < a->outer; o++) {
    for (uint32_t j = 0; j < a->count; j++, to += (uint64_t)a->inner * to_size) {
      uint64_t row = (uint64_t)o * a->rows + a->first + (uint64_t)j * a->stride;
      const void *from = (const uint8_t *)node->in[0] + row * a->inner * from_size;
      switch (in) {
      case ERNN_FLOAT32: pool_floats((float *)(void *)to, from, a); break;
      case ERNN_INT8: pool_int8_t(to, from, a); break;
      case ERNN_INT16: pool_int16_t(to, from, a); break;
      case ERNN_INT32: pool_int32_t(to, from, a); break;
      default: pool_int64_t(to, from, a);
      }
    }
  }
}
