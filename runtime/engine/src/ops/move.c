/* Bodies of the operations that count and select elements. */
#include "edgernn.h"
#include "portable.h"

static int64_t integer(const void *at, uint32_t dtype, uint64_t i) {
  switch (dtype) {
  case ERNN_INT64: return ((const int64_t *)at)[i];
  case ERNN_INT32: return ((const int32_t *)at)[i];
  case ERNN_INT16: return ((const int16_t *)at)[i];
  case ERNN_INT8: return ((const int8_t *)at)[i];
  default: return ((const uint8_t *)at)[i];
  }
}

void ernn_take(ernn_node *node) {
  const take_attr *a = (const void *)node->attr;
  uint64_t size = (uint64_t)a->inner * dtype_size(*node->in_dtype[0]);
  uint8_t *to = node->out[0];
  for (uint32_t o = 0; o < a->outer; o++) {
    for (uint32_t i = 0; i < a->ids; i++, to += size) {
      int64_t id = integer(node->in[1], *node->in_dtype[1], i);
      if (id < 0) id += a->rows;
      if (id < 0 || id >= (int64_t)a->rows) *node->fault = 1, id = 0;
      ernn_move(to, (const uint8_t *)node->in[0] + ((uint64_t)o * a->rows + (uint64_t)id) * size, size);
    }
  }
}

static uint64_t walked(const uint32_t *at, const uint32_t *steps, uint32_t rank) {
  uint64_t place = 0;
  for (uint32_t i = 0; i < rank; i++) place += (uint64_t)at[i] * steps[i];
  return place;
}

/* What is left of a row of the last axis, or one element: a mask of frames chooses whole rows. */
void ernn_where(ernn_node *node) {
  const spread_attr *a = (const void *)node->attr;
  const uint32_t each = dtype_size(*node->out_dtype[0]), last = a->rank ? a->rank - 1 : 0;
  uint32_t at[MAX_RANK] = {0};
  uint8_t *to = node->out[0];
  for (const uint8_t *end = to + node->count * each; to < end;) {
    const int first = ((const uint8_t *)node->in[0])[walked(at, a->a, a->rank)] != 0;
    const uint32_t *steps = first ? a->b : a->c;
    const uint32_t run = a->a[last] == 0 && steps[last] == 1 ? a->dims[last] - at[last] : 1;
    ernn_move(to, (const uint8_t *)node->in[first ? 1 : 2] + walked(at, steps, a->rank) * each, (uint64_t)run * each);
    to += (uint64_t)run * each, at[last] += run;
    for (uint32_t i = last; i && at[i] == a->dims[i]; at[--i]++) at[i] = 0;
  }
}

static int64_t cut(float x) { /* towards zero; what has no integer is the smallest */
  return x > -0x1p63f && x < 0x1p63f ? (int64_t)x : INT64_MIN;
}

void ernn_cast(ernn_node *node) {
  uint32_t from = *node->in_dtype[0], to = *node->out_dtype[0], each = dtype_size(to);
  for (uint64_t i = 0; i < node->count; i++) {
    float x = from == ERNN_FLOAT32 ? ((const float *)node->in[0])[i] : 0;
    int64_t whole = from == ERNN_FLOAT32 ? (to == ERNN_FLOAT32 ? 0 : cut(x)) : integer(node->in[0], from, i);
    if (to == ERNN_BOOL) whole = from == ERNN_FLOAT32 ? x != 0 : whole != 0;
    if (to == ERNN_FLOAT32)
      ((float *)node->out[0])[i] = from == ERNN_FLOAT32 ? x : (float)whole;
    else
      ernn_move((uint8_t *)node->out[0] + i * each, &whole, each); /* little-endian: the low bytes come first */
  }
}

void ernn_frame_index(ernn_node *node) {
  const frame_index_attr *a = (const void *)node->attr;
  double start, step;
  ernn_move(&start, a->start, 8);
  ernn_move(&step, a->step, 8);
  int64_t first = *(const int64_t *)node->in[0] * (int64_t)a->frames;
  for (uint32_t i = 0; i < a->frames; i++) {
    double wide = step * (double)(first + i), y = start + wide;
    if (*node->out_dtype[0] == ERNN_FLOAT32)
      ((float *)node->out[0])[i] = (float)y;
    else
      ((int64_t *)node->out[0])[i] = y > -0x1p63 && y < 0x1p63 ? (int64_t)y : INT64_MIN;
  }
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t frames_left(int64_t left, const clock_attr *c) {
  return floor_div(left + c->offset, c->period) * c->group + c->extra;
}

void ernn_validity(ernn_node *node) {
  const validity_attr *a = (const void *)node->attr;
  const clock_attr *c = &a->clock;
  const int64_t *steps = node->in[0], *left = node->in[1];
  uint8_t *inside = node->out[0];
  int64_t end = left ? frames_left(*left, c) : 0;
  for (int64_t q = 0; q < (a->scalar ? 1 : (int64_t)c->frames); q++)
    inside[q] = (!steps || *steps * (int64_t)c->frames + q >= c->delay) && (!left || q - c->delay < end);
}

static int64_t size_of(int64_t x) { return x < 0 ? -x : x; }

void ernn_reflect(ernn_node *node) {
  const reflect_attr *a = (const void *)node->attr;
  const clock_attr *c = &a->clock;
  uint64_t size = (uint64_t)a->inner * dtype_size(*node->in_dtype[0]);
  int64_t kept = (int64_t)a->rows - c->frames;
  int64_t first = kept + c->delay - *(const int64_t *)node->in[1] * (int64_t)c->frames;
  int64_t last = frames_left(*(const int64_t *)node->in[2], c) - 1 + kept + c->delay;
  for (int64_t i = 0; i < (int64_t)a->rows; i++) {
    int64_t from = last - size_of(last - (first + size_of(i - first)));
    from = from < 0 ? 0 : from >= (int64_t)a->rows ? (int64_t)a->rows - 1 : from;
    ernn_move((uint8_t *)node->out[0] + (uint64_t)i * size, (const uint8_t *)node->in[0] + (uint64_t)from * size, size);
  }
}
