/* What the integer layers of all instruction sets do before and beside their products. */
#include "edgernn.h"
#include "portable.h"

void ernn_copy_words(int32_t *to, const int32_t *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = from[i];
}

void ernn_copy_halves(int16_t *to, const int16_t *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = from[i];
}

/* Biases less what an offset of each x adds to the sums. */
void ernn_offset_biases(int32_t *to, const int32_t *bias, const int8_t *w, uint32_t rows, uint32_t gates, uint32_t width,
                          int is_wide, int32_t offset) {
  for (uint32_t r = 0; r < rows; r++) {
    const uint32_t panel = r / (16 * gates), gate = r / 16 % gates, lane = r % 16;
    int32_t total = 0;
    for (uint32_t k = 0; k < width; k++)
      total += w[(uint64_t)panel * width * 16 * gates + ((uint64_t)(k / 4) * gates + gate) * 64 + lane * 4 + k % 4];
    to[r] = bias[r] - total * offset * (is_wide ? 129 : 1);
  }
}

const int8_t *ernn_split(int8_t *high, const int16_t *v, uint32_t count, int32_t flip) {
  int8_t *low = high + count;
  for (uint32_t i = 0; i < count; i++) {
    const int32_t part = (v[i] + 64) >> 7;
    high[i] = (int8_t)(part ^ flip);
    low[i] = (int8_t)((v[i] - part * 128) ^ flip);
  }
  return low;
}

/* The state of this step: copied to the result, or to a spare room where `active` says that the old one is held. */
void *ernn_state_of(const void *old, void *result, void *spare, const uint8_t *active, uint64_t halves) {
  const uint16_t *from = old;
  uint16_t *to = active && !*active ? spare : result;
  if (to != from)
    for (uint64_t i = 0; i < halves; i++) to[i] = from[i];
  if (to != result && result != old)
    for (uint64_t i = 0; i < halves; i++) ((uint16_t *)result)[i] = from[i];
  return to;
}

/* Operands are x, the states, then from `first` on weights, biases and multipliers. */
void ernn_init_qcell(ernn_node *node, uint32_t gates, uint32_t first, int32_t offset) {
  const qcell_attr *a = (const void *)node->attr;
  const qcell_layout at = layout_of_qcell(a, gates);
  uint8_t *own = node->own, *scratch = node->scratch;
  qcell *c = node->own;
  *c = (qcell){.frames = a->frames, .batch = a->batch, .in = a->in, .hidden = a->hidden, .out = a->out,
               .panels = padded16(a->hidden) / 16, .shift = a->shift, .cell_exponent = a->cell_exponent,
               .h_shift = a->h_shift, .y_shift = a->y_shift, .x_bytes = dtype_size(*node->in_dtype[0]), .h_wide = a->h_wide,
               .y_wide = *node->out_dtype[0] == ERNN_INT16, .is_relu = a->kind == RNN_RELU};
  c->w_ih = node->in[first], c->w_hh = node->in[first + 1];
  c->by_ih = node->in[first + 4], c->by_hh = node->in[first + 5];
  c->bias_ih = (int32_t *)(void *)(own + OWN_BIASES), c->bias_hh = (int32_t *)(void *)(own + at.bias_hh);
  c->bias_hr = (int32_t *)(void *)(own + at.bias_hr);
  c->x_room = (int8_t *)scratch, c->h_room = (int8_t *)scratch + at.h_room;
  c->made = (int8_t *)scratch + at.made, c->made_room = (int8_t *)scratch + at.made_room;
  c->spare = scratch + at.spare, c->spare_cell = scratch + at.spare_cell;
  const uint32_t rows = gates * 16 * c->panels;
  ernn_offset_biases(c->bias_ih, node->in[first + 2], c->w_ih, rows, gates, padded16(a->in), c->x_bytes == 2, offset);
  ernn_offset_biases(c->bias_hh, node->in[first + 3], c->w_hh, rows, gates, padded16(a->out), a->h_wide != 0, offset);
}

uint32_t ernn_begin_frames(frame *streams, ernn_node *node, int kind) {
  frame *f = streams;
  for (; node; node = node->next, f++) {
    qcell *c = node->own;
    const uint64_t batch = c->batch;
    const uint8_t *active = node->in[kind == CELL_LSTM ? 11 : 8];
    void *h = ernn_state_of(node->in[1], node->out[1], c->spare, active, batch * c->out * (kind == CELL_GRU ? 2 : 1));
    f->c = c, f->given = node->in[0], f->y = node->out[0], f->y_at = 0, f->behind = c->batch - 1;
    f->state16 = kind == CELL_GRU ? (void *)0 : h;
    f->state32 = kind == CELL_GRU ? h : (void *)0;
    if (kind == CELL_LSTM) f->state32 = ernn_state_of(node->in[2], node->out[2], c->spare_cell, active, 2 * batch * c->hidden);
  }
  return (uint32_t)(f - streams);
}

void ernn_next_frame(frame *f) {
  const qcell *c = f->c;
  const int64_t rows = f->behind ? 1 : 1 - (int64_t)c->batch;
  f->given += (uint64_t)c->in * c->x_bytes, f->y_at += c->out;
  if (f->state16) f->state16 += rows * c->out;
  if (f->state32) f->state32 += rows * c->hidden;
  f->behind = f->behind ? f->behind - 1 : c->batch - 1;
}
