/* Bodies of the float layers, compiled once for each width of float registers, and their row in the list. Weights lie in panels of 16 rows, `[panel][in][gate][16]`; a sum runs in the order of the
 * columns from +0, its bias is added last. */
#include "../attrs.h"
#include "../layer.h"
#include "edgernn.h"
#include "vectors.h"
#include "../ops/portable.h"
#include "borders.h"

#ifdef HAS_FMA
#define FUSED fma_floats
#define IS_EXACT 0
#else
#define FUSED plain_madd
#define IS_EXACT 1 /* as it is: one body for both */
#endif

INLINE f16 plain_madd(f16 total, float x, f16 w) { /* two roundings */
  EACH_D(i) total.v[i] += x * w.v[i];
  return total;
}

/* The sums of `n` blocks of 16 rows, `block` apart; the weights of the next column lie `column` behind. */
INLINE void float_blocks(float *y, const float *x, const float *w, const float *bias, uint32_t in, uint64_t block,
                         uint32_t column, const int n, const int exact) {
  f16 acc[4];
  UNROLL for (int i = 0; i < n; i++) acc[i] = repeated(0);
  for (uint32_t k = 0; k < in; k++, w += column) {
    UNROLL for (int i = 0; i < n; i++) {
      const f16 row = load_floats(w + (uint64_t)i * block);
      acc[i] = exact ? plain_madd(acc[i], x[k], row) : FUSED(acc[i], x[k], row);
    }
  }
  UNROLL for (int i = 0; i < n; i++) {
    if (bias) acc[i] = added(acc[i], flushed(load_floats(bias + 16 * i)));
    store_floats(y + 16 * i, acc[i]);
  }
}

/* A sum of float32 whose terms are all multiples of 2^-125 (products of at least 2^-102 have 24 bits) is no subnormal,
 * so only what is smaller needs the body that looks at every result. */
INLINE int needs_flushing(const float *x, uint32_t in, float least_weight) {
  return (double)ernn_smallest(x, in) * (double)least_weight < 0x1p-102;
}

/* The blocks of a panel's gates, or of `n` panels of one gate. */
#define BLOCKS(n, exact) float_blocks(y, x, w, bias, in, gates == 1 ? 16 * (uint64_t)in : 16, 16 * gates, n, exact)

/* y = x w + bias for `panels` panels; y and bias lie as the panels do, `bias` NULL for none. */
APART void float_product(float *y, const float *x, const float *w, const float *bias, uint32_t in, uint32_t panels,
                         uint32_t gates, float least_weight, uint32_t exact) {
  if (exact && needs_flushing(x, in, least_weight)) {
    ernn_flushing_product(y, x, w, bias, in, panels, gates);
    return;
  }
  for (uint32_t left = panels * gates, n; left; left -= n, y += 16 * n, w += 16 * (uint64_t)n * in) {
    n = gates > 1 ? gates : left < 4 ? 1 : 4;
    if (n == 4 && exact && !IS_EXACT)
      BLOCKS(4, 1);
    else if (n == 4 && !IS_EXACT)
      BLOCKS(4, 0);
    else if (n == 3 && !exact && !IS_EXACT)
      BLOCKS(3, 0);
    else if (n == 1 && !exact && !IS_EXACT)
      BLOCKS(1, 0);
    else
      for (uint32_t i = 0; i < n; i++)
        float_blocks(y + 16 * i, x, w + i * (gates == 1 ? 16 * (uint64_t)in : 16), bias ? bias + 16 * i : bias, in, 0,
                     16 * gates, 1, 1);
    bias = bias ? bias + 16 * n : bias;
  }
}

static void init_linear(ernn_node *node) {
  const linear_attr *a = (const void *)node->attr;
  *(float *)node->own = ernn_smallest(node->in[1], (uint64_t)a->groups * padded16(a->out) * a->in);
}

static void run_linear(ernn_node *node) {
  const linear_attr *a = (const void *)node->attr;
  const uint32_t rows = padded16(a->out);
  const float *bias = node->in[2];
  float *x = node->scratch;
  for (uint32_t r = 0; r < a->rows; r++) {
    for (uint32_t g = 0; g < a->groups; g++) {
      const float *from = (const float *)node->in[0] + a->start + (uint64_t)r * a->stride + (uint64_t)g * a->in;
      for (uint32_t i = 0; i < a->in; i++) x[i] = flush(from[i]);
      float_product((float *)node->out[0] + ((uint64_t)r * a->groups + g) * a->out, x,
                    (const float *)node->in[1] + (uint64_t)g * rows * a->in, bias ? bias + (uint64_t)g * rows : bias, a->in,
                    rows / 16, 1, *(const float *)node->own, node->exact);
    }
  }
}

/* --- recurrent layers ------------------------------------------------------------------------------------------- */

static void init_float_cell(ernn_node *node, uint32_t gates, uint32_t first) {
  const cell_attr *a = (const void *)node->attr;
  float_cell *c = node->own;
  const uint64_t rows = (uint64_t)gates * padded16(a->hidden);
  c->least_ih = ernn_smallest(node->in[first], rows * a->in);
  c->least_hh = ernn_smallest(node->in[first + 1], rows * a->out);
}

/* Both products of a frame; results lie as the panels do. */
static void both_products(ernn_node *node, const float_rooms *room, uint32_t gates, uint32_t first, const float *x,
                          const float *h) {
  const cell_attr *a = (const void *)node->attr;
  const float_cell *c = node->own;
  const uint32_t panels = padded16(a->hidden) / 16;
  for (uint32_t i = 0; i < a->in; i++) room->x[i] = flush(x[i]);
  for (uint32_t i = 0; i < a->out; i++) room->h[i] = flush(h[i]);
  float_product(room->given, room->x, node->in[first], node->in[first + 2], a->in, panels, gates, c->least_ih, node->exact);
  float_product(room->kept, room->h, node->in[first + 1], node->in[first + 3], a->out, panels, gates, c->least_hh,
                node->exact);
}

APART void exp_block(float *y) {
  for (int i = 0; i < 16; i++) y[i] = f_exp(y[i]);
}

APART void log_block(float *y) {
  for (int i = 0; i < 16; i++) y[i] = f_log(y[i]);
}

APART void sigmoid_block(float *y) {
  for (int i = 0; i < 16; i++) y[i] = -y[i];
  exp_block(y);
  for (int i = 0; i < 16; i++) y[i] = f_sigmoid_of(y[i]);
}

APART void tanh_block(float *y) {
  float power[16];
  for (int i = 0; i < 16; i++) power[i] = 2.0f * size_of(flush(y[i]));
  exp_block(power);
  for (int i = 0; i < 16; i++) y[i] = f_tanh_of(y[i], power[i]);
}

INLINE void add_blocks(float *y, const float *x, const float *k) {
  for (int i = 0; i < 16; i++) y[i] = fadd(x[i], k[i]);
}

/* The numbers of a state's block, of which the last one may end inside. */
INLINE uint32_t block_of(float *to, const float *from, uint32_t left) {
  const uint32_t count = left < 16 ? left : 16;
  for (uint32_t i = 0; i < 16; i++) to[i] = i < count ? from[i] : 0;
  return count;
}

static void init_gru(ernn_node *node) { init_float_cell(node, 3, 2); }

static void run_gru(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  const float_rooms room = rooms_of(a, 3, node->scratch);
  const uint32_t size = a->hidden;
  float *state = ernn_state_of(node->in[1], node->out[1], room.spare, node->in[6], 2 * (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *h = state + t % a->batch * size, *y = (float *)node->out[0] + t * size;
    both_products(node, &room, 3, 2, (const float *)node->in[0] + t * a->in, h);
    for (uint32_t first = 0; first < size; first += 16) {
      const float *x = room.given + 3 * first, *k = room.kept + 3 * first;
      float r[16], z[16], n[16], old[16];
      const uint32_t count = block_of(old, h + first, size - first);
      add_blocks(r, x, k), add_blocks(z, x + 16, k + 16);
      sigmoid_block(r), sigmoid_block(z);
      for (int i = 0; i < 16; i++) n[i] = fadd(x[32 + i], fmul(r[i], k[32 + i]));
      tanh_block(n);
      for (int i = 0; i < 16; i++) n[i] = fadd(fmul(fsub(1.0f, z[i]), n[i]), fmul(z[i], old[i]));
      for (uint32_t i = 0; i < count; i++) y[first + i] = h[first + i] = n[i];
    }
  }
}

static void init_lstm(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  init_float_cell(node, 4, 3);
  if (node->in[7])
    ((float_cell *)node->own)->least_hr = ernn_smallest(node->in[7], (uint64_t)padded16(a->out) * a->hidden);
}

static void run_lstm(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  const float_rooms room = rooms_of(a, 4, node->scratch);
  const uint32_t size = a->hidden;
  const uint8_t *active = node->in[8];
  float *state = ernn_state_of(node->in[1], node->out[1], room.spare, active, 2 * (uint64_t)a->batch * a->out);
  float *cells = ernn_state_of(node->in[2], node->out[2], room.spare_cell, active, 2 * (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *h = state + t % a->batch * a->out, *c = cells + t % a->batch * size, *y = (float *)node->out[0] + t * a->out;
    both_products(node, &room, 4, 3, (const float *)node->in[0] + t * a->in, h);
    float *made = node->in[7] ? room.made : h;
    for (uint32_t first = 0; first < size; first += 16) {
      const float *x = room.given + 4 * first, *k = room.kept + 4 * first;
      float in[16], forget[16], g[16], out[16], old[16];
      const uint32_t count = block_of(old, c + first, size - first);
      add_blocks(in, x, k), add_blocks(forget, x + 16, k + 16), add_blocks(g, x + 32, k + 32);
      add_blocks(out, x + 48, k + 48);
      sigmoid_block(in), sigmoid_block(forget), tanh_block(g), sigmoid_block(out);
      for (int i = 0; i < 16; i++) g[i] = old[i] = fadd(fmul(forget[i], old[i]), fmul(in[i], g[i]));
      tanh_block(g);
      for (uint32_t i = 0; i < count; i++) c[first + i] = old[i], made[first + i] = fmul(out[i], g[i]);
    }
    if (node->in[7]) {
      float_product(room.kept, room.made, node->in[7], (const float *)0, size, padded16(a->out) / 16, 1,
                    ((const float_cell *)node->own)->least_hr, node->exact);
      for (uint32_t i = 0; i < a->out; i++) h[i] = room.kept[i];
    }
    for (uint32_t i = 0; i < a->out; i++) y[i] = h[i];
  }
}

static void init_rnn(ernn_node *node) { init_float_cell(node, 1, 2); }

static void run_rnn(ernn_node *node) {
  const cell_attr *a = (const void *)node->attr;
  const float_rooms room = rooms_of(a, 1, node->scratch);
  const uint32_t size = a->hidden;
  float *state = ernn_state_of(node->in[1], node->out[1], room.spare, node->in[6], 2 * (uint64_t)a->batch * size);
  for (uint64_t t = 0; t < (uint64_t)a->frames * a->batch; t++) {
    float *h = state + t % a->batch * size, *y = (float *)node->out[0] + t * size;
    both_products(node, &room, 1, 2, (const float *)node->in[0] + t * a->in, h);
    for (uint32_t first = 0; first < size; first += 16) {
      float sum[16];
      add_blocks(sum, room.given + first, room.kept + first);
      if (a->kind == RNN_TANH) tanh_block(sum);
      for (uint32_t i = 0; i < 16 && first + i < size; i++) {
        const float new = a->kind == RNN_RELU ? maximum(sum[i], 0.0f) : sum[i];
        y[first + i] = h[first + i] = new;
      }
    }
  }
}

/* --- element-wise functions --------------------------------------------------------------------------------------- */

static void run_unary(ernn_node *node) {
  const unary_attr *a = (const void *)node->attr;
  if (*node->in_dtype[0] != ERNN_FLOAT32) {
    ernn_unary_of_integers(node);
    return;
  }
  const float *x = node->in[0];
  float *y = node->out[0];
  for (uint64_t at = 0; at < node->count; at += 16) {
    float block[16];
    store_floats(block, flushed(load_floats(x + at)));
    switch (a->kind) {
    case UNARY_EXP: exp_block(block); break;
    case UNARY_LOG: log_block(block); break;
    case UNARY_SIGMOID: sigmoid_block(block); break;
    case UNARY_TANH: tanh_block(block); break;
    default: ernn_of_block(block, a->kind);
    }
    store_floats(y + at, load_floats(block));
  }
}

static void run_softmax(ernn_node *node) {
  const softmax_attr *a = (const void *)node->attr;
  float *powers = node->scratch;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    float *y = (float *)node->out[0] + o * a->inner, most = flush(x[0]);
    for (uint32_t i = 1; i < a->inner; i++) most = maximum(most, flush(x[i]));
    for (uint32_t i = 0; i < a->inner; i++) y[i] = powers[i] = fsub(flush(x[i]), most);
    for (uint32_t i = 0; i < a->inner; i += 16) exp_block(powers + i);
    float total[16] = {ernn_lane_sum(powers, a->inner)}, log_total[16] = {total[0]};
    log_block(log_total);
    for (uint32_t i = 0; i < a->inner; i++) y[i] = a->log ? fsub(y[i], *log_total) : fdiv(powers[i], *total);
  }
}

#define FLOATS_NAME(name) FLOATS_NAME_(name)
#define FLOATS_NAME_(name) ernn_floats_##name
extern const ernn_floats FLOATS_NAME(FLOATS);
const ernn_floats FLOATS_NAME(FLOATS) = {.run = {run_linear, run_gru, run_lstm, run_rnn, run_unary, run_softmax, run_quantize, run_dequantize},
                                         .init = {init_linear, init_gru, init_lstm, init_rnn}};
