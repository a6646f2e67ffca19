/* Elements of any integer dtype, and walks over operands that broadcast. */
#ifndef ERNN_WALK_H
#define ERNN_WALK_H
#include "../attrs.h"
#include "../functions.h"
#include "../node.h"
#include "edgernn.h"

ONE_COPY int64_t integer_at(const void *x, uint32_t dtype, uint64_t i) {
  return dtype == ERNN_INT64   ? ((const int64_t *)x)[i]
         : dtype == ERNN_INT32 ? ((const int32_t *)x)[i]
         : dtype == ERNN_INT16 ? ((const int16_t *)x)[i]
         : dtype == ERNN_INT8  ? ((const int8_t *)x)[i]
                               : ((const uint8_t *)x)[i];
}

ONE_COPY void put_integer(void *y, uint32_t dtype, uint64_t i, int64_t value) {
  switch (dtype) {
  case ERNN_INT64: ((int64_t *)y)[i] = value; break;
  case ERNN_INT32: ((int32_t *)y)[i] = (int32_t)value; break;
  case ERNN_INT16: ((int16_t *)y)[i] = (int16_t)value; break;
  case ERNN_INT8: ((int8_t *)y)[i] = (int8_t)value; break;
  default: ((uint8_t *)y)[i] = (uint8_t)value;
  }
}

ONE_COPY int64_t integer_pair(int64_t a, int64_t b, uint32_t kind) {
  switch (kind) {
  case BINARY_ADD: return a + b;
  case BINARY_MAX: return a > b ? a : b;
  case BINARY_MIN: return a < b ? a : b;
  case BINARY_MUL: return a * b;
  case BINARY_SUB: return a - b;
  case BINARY_EQUAL: return a == b;
  case BINARY_GREATER: return a > b;
  case BINARY_GREATER_EQUAL: return a >= b;
  case BINARY_LESS: return a < b;
  case BINARY_LESS_EQUAL: return a <= b;
  case BINARY_AND: return a && b;
  default: return a || b;
  }
}

/* Walk broadcast operands: one row of the last axis after the other. */
typedef struct {
  const spread_attr *a;
  uint32_t at[MAX_RANK], row, count, a_step, b_step;
  uint64_t a_start, b_start, y_start;
} rows_walk;

ONE_COPY rows_walk first_row(const spread_attr *a) {
  rows_walk w = {.a = a, .count = a->rank ? a->dims[a->rank - 1] : 1};
  w.a_step = a->rank ? a->a[a->rank - 1] : 0;
  w.b_step = a->rank ? a->b[a->rank - 1] : 0;
  return w;
}

ONE_COPY int next_row(rows_walk *w) {
  const spread_attr *a = w->a;
  w->y_start += w->count;
  for (uint32_t i = a->rank < 2 ? 0 : a->rank - 1; i-- > 0;) {
    w->a_start += a->a[i], w->b_start += a->b[i];
    if (++w->at[i] < a->dims[i]) return 1;
    w->a_start -= (uint64_t)a->a[i] * a->dims[i], w->b_start -= (uint64_t)a->b[i] * a->dims[i];
    w->at[i] = 0;
  }
  return 0;
}
#endif
