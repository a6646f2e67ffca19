/* Maxima, sums and means over windows of rows. */
#include "portable.h"
#include "walk.h"

static void pool_floats(float *y, const float *x, const pool_attr *a) {
  uint64_t step = (uint64_t)a->dilation * a->inner;
  for (uint32_t i = 0; i < a->inner; i++) y[i] = flush(x[i]);
  for (uint32_t tap = 1; tap < a->size; tap++) {
    x += step;
    for (uint32_t i = 0; i < a->inner; i++) y[i] = a->kind == POOL_MAX ? maximum(y[i], flush(x[i])) : fadd(y[i], flush(x[i]));
  }
  for (uint32_t i = 0; a->kind == POOL_MEAN && i < a->inner; i++) y[i] = fdiv(y[i], (float)a->size);
}

/* A maximum in the rows' own type, a sum in 32 bits. */
static void pool_integers(void *y, uint32_t to, const void *x, uint32_t from, const pool_attr *a) {
  const uint32_t pair = a->kind == POOL_MAX ? BINARY_MAX : BINARY_ADD;
  const uint64_t step = (uint64_t)a->dilation * a->inner;
  for (uint32_t i = 0; i < a->inner; i++) {
    int64_t all = integer_at(x, from, i);
    for (uint32_t tap = 1; tap < a->size; tap++) all = integer_pair(all, integer_at(x, from, i + tap * step), pair);
    put_integer(y, to, i, all);
  }
}

void ernn_pool(ernn_node *node) {
  const pool_attr *a = (const void *)node->attr;
  uint32_t in = *node->in_dtype[0], out = *node->out_dtype[0];
  uint8_t *to = node->out[0];
  for (uint32_t o = 0; o < a->outer; o++) {
    for (uint32_t j = 0; j < a->count; j++, to += (uint64_t)a->inner * dtype_size(out)) {
      uint64_t row = (uint64_t)o * a->rows + a->first + (uint64_t)j * a->stride;
      const void *from = (const uint8_t *)node->in[0] + row * a->inner * dtype_size(in);
      if (in == ERNN_FLOAT32)
        pool_floats((float *)(void *)to, from, a);
      else
        pool_integers(to, out, from, in, a);
    }
  }
}
