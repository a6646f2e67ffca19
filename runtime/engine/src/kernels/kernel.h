/* Everything that an instruction set's file compiles. It has defined ISA and `add_products` (see integers.h), and before
 * including vectors.h any of its faster forms; KERNEL_OFFSET is 128 where its product takes x unsigned. */
#include "floats.h"
#include "../ops/portable.h"

typedef d16 kernel_sums;
#define sums kernel_sums
#define BODY(name) body_##name
#define X_OFFSET KERNEL_OFFSET
#define load_bias(at) (*(const d16 *)(at))
#define scaled scale
#define scaled_both scale_both
#include "integers.h"

static void body_quantize(ernn_node *node) {
  const quantize_attr *a = (const void *)node->attr;
  uint32_t dtype = *node->out_dtype[0];
  const float *inverse = node->in[1], *offset = node->in[2];
  float limit = dtype == ERNN_INT8 ? 127.0f : 16319.0f;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    for (uint32_t i = 0; i < a->inner; i++) {
      uint32_t k = a->each ? i : 0;
      float v = flush(x[i]);
      v = fmul(offset ? fsub(v, offset[k]) : v, inverse[k]);
      v = v != v ? 0.0f : v;
      v = v < -limit ? -limit : v > limit ? limit : v;
      put_integer(node->out[0], dtype, o * a->inner + i, (int64_t)to_even(v));
    }
  }
}

static void body_dequantize(ernn_node *node) {
  const dequantize_attr *a = (const void *)node->attr;
  float *y = node->out[0];
  for (uint64_t i = 0; i < node->count; i++)
    y[i] = fmul((float)integer_at(node->in[0], *node->in_dtype[0], i), a->scale);
}

INLINE int64_t rounded(int64_t v, int32_t shift, int32_t low, int32_t high) {
  v = (v + ((int64_t)1 << shift >> 1)) >> shift;
  return v < low ? low : v > high ? high : v;
}

static void body_rescale(ernn_node *node) {
  const rescale_attr *a = (const void *)node->attr;
  for (uint64_t i = 0; i < node->count; i++)
    put_integer(node->out[0], *node->out_dtype[0], i,
                rounded(integer_at(node->in[0], *node->in_dtype[0], i) * a->multiplier, a->shift, a->low, a->high));
}

static void body_qunary(ernn_node *node) {
  const qunary_attr *a = (const void *)node->attr;
  for (uint64_t i = 0; i < node->count; i += 16)
    *(w16 *)((int16_t *)node->out[0] + i) =
        activate(*(const w16 *)((const int16_t *)node->in[0] + i), a->kind == GATE_SIGMOID);
}

static void body_qadd(ernn_node *node) {
  const qadd_attr *a = (const void *)node->attr;
  rows_walk w = first_row(&a->spread);
  do {
    for (uint32_t i = 0; i < w.count; i++) {
      int64_t p = integer_at(node->in[0], *node->in_dtype[0], w.a_start + (uint64_t)i * w.a_step);
      int64_t q = integer_at(node->in[1], *node->in_dtype[1], w.b_start + (uint64_t)i * w.b_step);
      put_integer(node->out[0], *node->out_dtype[0], w.y_start + i,
                  rounded(p * a->multiplier_a + q * a->multiplier_b, a->shift, a->low, a->high));
    }
  } while (next_row(&w));
}

static void body_qmul(ernn_node *node) {
  const qmul_attr *a = (const void *)node->attr;
  rows_walk w = first_row(&a->spread);
  do {
    for (uint32_t i = 0; i < w.count; i++) {
      int64_t p = integer_at(node->in[0], *node->in_dtype[0], w.a_start + (uint64_t)i * w.a_step);
      int64_t q = integer_at(node->in[1], *node->in_dtype[1], w.b_start + (uint64_t)i * w.b_step);
      put_integer(node->out[0], *node->out_dtype[0], w.y_start + i,
                  rounded(p * q * a->multiplier, a->shift, a->low, a->high));
    }
  } while (next_row(&w));
}

#define CHOOSE(op, attributes)                                                                                        \
  static void choose_##op(ernn_node *node) {                                                                          \
    if (((const attributes *)(const void *)node->attr)->wide)                                                         \
      ernn_widen_##op(node);                                                                                          \
    else                                                                                                              \
      body_init_##op(node);                                                                                           \
  }
CHOOSE(qlinear, qlinear_attr)
CHOOSE(qgru, qcell_attr)
CHOOSE(qlstm, qcell_attr)
CHOOSE(qrnn, qcell_attr)
#undef CHOOSE

#define NAME(isa) NAME_(isa)
#define NAME_(isa) ernn_isa_##isa
#define USABLE(isa) USABLE_(isa)
#define USABLE_(isa) cpu_has_##isa
#define TEXT(isa) TEXT_(isa)
#define TEXT_(isa) #isa

extern const ernn_isa NAME(ISA);
int USABLE(ISA)(void);
const ernn_isa NAME(ISA) = {
    .name = TEXT(ISA),
    .usable = USABLE(ISA),
    .run = {ernn_copy, ernn_take, run_unary, run_binary, run_clip, ernn_where, ernn_cast, ernn_frame_index, ernn_validity,
            ernn_reflect, run_reduce, run_cumsum, run_softmax, run_layer_norm, run_linear, run_matmul, run_gru, run_lstm,
            run_rnn, run_stft, body_quantize, body_dequantize, body_rescale, body_qlinear, body_qunary, body_qadd,
            body_qmul, body_qgru, body_qlstm, body_qrnn},
    .init = {[OP_linear] = init_linear, [OP_gru] = init_gru, [OP_lstm] = init_lstm, [OP_rnn] = init_rnn,
             [OP_qlinear] = choose_qlinear, [OP_qgru] = choose_qgru, [OP_qlstm] = choose_qlstm,
             [OP_qrnn] = choose_qrnn},
};
