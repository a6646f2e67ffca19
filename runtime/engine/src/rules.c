/* What each operation's operands and attributes must be. A rule that passes is all that keeps a body inside its memory. */
#include "attrs.h"
#include "edgernn.h"
#include "layer.h"

#define WORDS(type) (sizeof(type) / 4)
#define ATTR(type) const type *a = (const void *)n->attr

static uint64_t times(uint64_t a, uint64_t b) { /* stops at 2^62 */
  const uint64_t most = (uint64_t)1 << 62;
  return a && b > most / a ? most : a * b;
}

static uint64_t pad16(uint64_t n) { return (n + 15) & ~(uint64_t)15; }

static int is(const file_value *v, uint32_t dtype, uint64_t count) { return v && v->dtype == dtype && v->count == count; }

static int optional(const file_value *v, uint32_t dtype, uint64_t count) { return !v || is(v, dtype, count); }

static int narrow_int(const file_value *v) { return v->dtype == ERNN_INT8 || v->dtype == ERNN_INT16; }

static int any_int(const file_value *v) {
  return narrow_int(v) || v->dtype == ERNN_INT32 || v->dtype == ERNN_INT64;
}

static const file_value *input_of(const node_view *n, uint32_t i) { return i < n->ins ? n->in[i] : NULL; }

static int shift_fits(int32_t shift, int32_t most) { return shift >= 0 && shift <= most; }

/* Whether elements at start + Σ index·stride lie inside `count`. */
static int reach(uint32_t rank, const uint32_t *dims, const uint32_t *strides, uint64_t start, uint64_t count) {
  for (uint32_t i = 0; i < rank; i++) {
    if (!dims[i]) return 0;
    uint64_t more = times(dims[i] - 1u, strides[i]);
    if (more > count) return 0;
    start += more;
  }
  return start < count;
}

static uint64_t volume(uint32_t rank, const uint32_t *dims) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; i++) count = times(count, dims[i]);
  return count;
}

static int unused(uint32_t rank, const uint32_t *words) { /* zeros stand for the axes that are not there */
  for (uint32_t i = rank; i < MAX_RANK; i++)
    if (words[i]) return 0;
  return 1;
}

static int check_copy(const node_view *n, node_need *need) {
  ATTR(copy_attr);
  (void)need; /* each element of the result is written once, so its size bounds the work */
  return a->rank <= MAX_RANK && n->in[0]->dtype == n->out[0]->dtype && volume(a->rank, a->dims) <= n->out[0]->count &&
         unused(a->rank, a->dims) && unused(a->rank, a->from) && unused(a->rank, a->to) &&
         reach(a->rank, a->dims, a->from, a->from_start, n->in[0]->count) &&
         reach(a->rank, a->dims, a->to, a->to_start, n->out[0]->count);
}

static int check_take(const node_view *n, node_need *need) {
  ATTR(take_attr);
  const file_value *x = n->in[0], *ids = n->in[1];
  (void)need;
  return a->rows && (ids->dtype == ERNN_INT64 || ids->dtype == ERNN_INT32) && ids->count == a->ids &&
         times(times(a->outer, a->rows), a->inner) == x->count && x->dtype == n->out[0]->dtype &&
         times(times(a->outer, a->ids), a->inner) == n->out[0]->count;
}

static int check_unary(const node_view *n, node_need *need) {
  ATTR(unary_attr);
  uint32_t dtype = n->in[0]->dtype;
  (void)need;
  return is(n->out[0], dtype, n->in[0]->count) &&
         (dtype == ERNN_FLOAT32 ? a->kind < UNARY_COUNT && a->kind != UNARY_NOT
          : dtype == ERNN_BOOL  ? a->kind == UNARY_NOT
                                : (dtype == ERNN_INT64 || dtype == ERNN_INT32) &&
                                     (a->kind == UNARY_ABS || a->kind == UNARY_NEG || a->kind == UNARY_SIGN));
}

static int spread(const node_view *n, const spread_attr *a) {
  if (a->rank > MAX_RANK || n->out[0]->count != volume(a->rank, a->dims) || !unused(a->rank, a->dims)) return 0;
  const uint32_t *strides[] = {a->a, a->b, a->c};
  for (uint32_t i = 0; i < 3; i++)
    if (!unused(i < n->ins ? a->rank : 0, strides[i])) return 0;
  for (uint32_t i = 0; i < n->ins; i++)
    if (!reach(a->rank, a->dims, strides[i], 0, n->in[i]->count)) return 0;
  return 1;
}

static int check_binary(const node_view *n, node_need *need) {
  ATTR(binary_attr);
  uint32_t dtype = n->in[0]->dtype, out = n->out[0]->dtype;
  (void)need;
  if (a->kind >= BINARY_COUNT || n->in[1]->dtype != dtype || !spread(n, &a->spread)) return 0;
  if (a->kind >= BINARY_AND) return dtype == ERNN_BOOL && out == ERNN_BOOL;
  if (dtype != ERNN_FLOAT32 && dtype != ERNN_INT64 && dtype != ERNN_INT32) return 0;
  if (a->kind >= BINARY_EQUAL) return out == ERNN_BOOL;
  return out == dtype && (dtype == ERNN_FLOAT32 || (a->kind != BINARY_DIV && a->kind != BINARY_POW));
}

static int check_clip(const node_view *n, node_need *need) {
  (void)need;
  return n->in[0]->dtype == ERNN_FLOAT32 && is(n->out[0], ERNN_FLOAT32, n->in[0]->count);
}

static int check_where(const node_view *n, node_need *need) {
  (void)need;
  return n->in[0]->dtype == ERNN_BOOL && n->in[1]->dtype == n->out[0]->dtype && n->in[2]->dtype == n->out[0]->dtype &&
         spread(n, (const void *)n->attr);
}

static int check_cast(const node_view *n, node_need *need) {
  (void)need;
  return n->in[0]->count == n->out[0]->count;
}

static int check_frame_index(const node_view *n, node_need *need) {
  ATTR(frame_index_attr);
  (void)need;
  return is(n->in[0], ERNN_INT64, 1) && n->out[0]->count == a->frames &&
         (n->out[0]->dtype == ERNN_FLOAT32 || n->out[0]->dtype == ERNN_INT64);
}

static int timed(const clock_attr *c) {
  const int32_t most = 1 << 30;
  const uint32_t counts[] = {c->period, c->frames, c->group};
  for (int i = 0; i < 3; i++)
    if (!counts[i] || counts[i] >= (1u << 30)) return 0;
  return c->offset > -most && c->offset < most && c->extra > -most && c->extra < most && c->delay >= 0 && c->delay < most;
}

static int check_validity(const node_view *n, node_need *need) {
  ATTR(validity_attr);
  (void)need;
  return timed(&a->clock) && optional(input_of(n, 0), ERNN_INT64, 1) && optional(input_of(n, 1), ERNN_INT64, 1) &&
         is(n->out[0], ERNN_BOOL, a->scalar ? 1 : a->clock.frames);
}

static int check_reflect(const node_view *n, node_need *need) {
  ATTR(reflect_attr);
  (void)need;
  return timed(&a->clock) && a->clock.frames <= a->rows && is(n->in[1], ERNN_INT64, 1) &&
         is(n->in[2], ERNN_INT64, 1) && times(a->rows, a->inner) == n->in[0]->count &&
         is(n->out[0], n->in[0]->dtype, n->in[0]->count);
}

static int check_reduce(const node_view *n, node_need *need) {
  ATTR(reduce_attr);
  uint32_t dtype = n->in[0]->dtype;
  (void)need;
  return a->kind < REDUCE_COUNT && a->inner && times(a->outer, a->inner) == n->in[0]->count &&
         is(n->out[0], dtype, a->outer) &&
         (dtype == ERNN_FLOAT32 || ((dtype == ERNN_INT64 || dtype == ERNN_INT32) && a->kind != REDUCE_MEAN));
}

static int check_cumsum(const node_view *n, node_need *need) {
  ATTR(cumsum_attr);
  const file_value *x = n->in[0], *total = n->in[1];
  int same = x->dtype == ERNN_FLOAT32 && total->dtype == ERNN_FLOAT32;
  need->scratch = times(a->inner, 8);
  return (same || (any_int(x) && total->dtype == ERNN_INT64)) && total->count == a->inner && a->frames &&
         x->count == times(a->frames, a->inner) && is(n->out[0], total->dtype, x->count) &&
         is(n->out[1], total->dtype, total->count) && optional(input_of(n, 2), ERNN_BOOL, 1);
}

static int check_running_mean(const node_view *n, node_need *need) { /* x, mean, count, active */
  ATTR(cumsum_attr);
  (void)need;
  return a->frames && is(n->in[0], ERNN_FLOAT32, times(a->frames, a->inner)) && is(n->in[1], ERNN_FLOAT32, a->inner) &&
         is(n->in[2], ERNN_FLOAT32, a->frames) && optional(input_of(n, 3), ERNN_BOOL, 1) &&
         is(n->out[0], ERNN_FLOAT32, n->in[0]->count) && is(n->out[1], ERNN_FLOAT32, a->inner);
}

static int check_cummax(const node_view *n, node_need *need) { /* x, largest, active */
  ATTR(cumsum_attr);
  uint32_t dtype = n->in[0]->dtype;
  (void)need;
  return a->frames && (dtype == ERNN_FLOAT32 || any_int(n->in[0])) && n->in[0]->count == times(a->frames, a->inner) &&
         is(n->in[1], dtype, a->inner) && optional(input_of(n, 2), ERNN_BOOL, 1) &&
         is(n->out[0], dtype, n->in[0]->count) && is(n->out[1], dtype, a->inner);
}

static int check_pool(const node_view *n, node_need *need) {
  ATTR(pool_attr);
  uint32_t in = n->in[0]->dtype, out = n->out[0]->dtype;
  uint64_t last = times(a->count - 1u, a->stride) + times(a->size - 1u, a->dilation) + a->first;
  (void)need;
  return a->count && a->size && a->outer && a->inner && a->kind < POOL_COUNT && last < a->rows &&
         times(times(a->outer, a->rows), a->inner) == n->in[0]->count &&
         times(times(a->outer, a->count), a->inner) == n->out[0]->count &&
         (a->kind == POOL_SUM && in != ERNN_FLOAT32 ? (narrow_int(n->in[0]) || in == ERNN_INT32) && out == ERNN_INT32
                                                    : in == out && (in == ERNN_FLOAT32 || a->kind == POOL_MAX)) &&
         (in == ERNN_FLOAT32 || any_int(n->in[0]));
}

static int check_softmax(const node_view *n, node_need *need) {
  ATTR(softmax_attr);
  need->scratch = times(pad16(a->inner), 4);
  return a->inner && is(n->in[0], ERNN_FLOAT32, times(a->outer, a->inner)) &&
         is(n->out[0], ERNN_FLOAT32, n->in[0]->count);
}

static int check_layer_norm(const node_view *n, node_need *need) {
  ATTR(norm_attr);
  need->scratch = times(a->inner, 8);
  return a->inner && is(n->in[0], ERNN_FLOAT32, times(a->outer, a->inner)) &&
         is(n->out[0], ERNN_FLOAT32, n->in[0]->count) && optional(input_of(n, 1), ERNN_FLOAT32, a->inner) &&
         optional(input_of(n, 2), ERNN_FLOAT32, a->inner);
}

static int linear_reads(const linear_attr *a, const file_value *x) {
  uint64_t width = times(a->groups, a->in);
  return a->rows && a->groups && a->in && a->out && width <= x->count &&
         times(a->rows - 1u, a->stride) + a->start <= x->count - width;
}

static int layer_fits(uint64_t batch, uint64_t in, uint64_t hidden, uint64_t out) { /* so that its layout does */
  const uint64_t most = 1 << 20;
  return batch && in && hidden && out && batch <= most && in <= most && hidden <= most && out <= most;
}

static int check_linear(const node_view *n, node_need *need) {
  ATTR(linear_attr);
  uint64_t rows = times(a->groups, pad16(a->out));
  need->scratch = times(pad16(a->in), 4);
  need->own = 64;
  return linear_reads(a, n->in[0]) && n->in[0]->dtype == ERNN_FLOAT32 &&
         is(n->in[1], ERNN_FLOAT32, times(rows, a->in)) && optional(input_of(n, 2), ERNN_FLOAT32, rows) &&
         is(n->out[0], ERNN_FLOAT32, times(a->rows, times(a->groups, a->out)));
}

static int check_matmul(const node_view *n, node_need *need) { /* b is transposed: [batch, out, in] */
  ATTR(matmul_attr);
  (void)need;
  return a->in && is(n->in[0], ERNN_FLOAT32, times(times(a->batch, a->rows), a->in)) &&
         is(n->in[1], ERNN_FLOAT32, times(times(a->batch, a->out), a->in)) &&
         is(n->out[0], ERNN_FLOAT32, times(times(a->batch, a->rows), a->out));
}

/* x, h, weight_ih, weight_hh, bias_ih, bias_hh, active (GRU, RNN) or c, weight_hr before it (LSTM); see to_ernn */
static int float_cell_fits(const node_view *n, node_need *need, uint32_t gates, uint32_t first) {
  ATTR(cell_attr);
  if (!layer_fits(a->batch, a->in, a->hidden, a->out)) return 0;
  uint64_t rows = times(gates, pad16(a->hidden)), batch = a->batch;
  need->own = sizeof(float_cell);
  need->scratch = 4 * size_of_rooms(a, gates);
  return a->frames && is(n->in[0], ERNN_FLOAT32, times(times(a->frames, batch), a->in)) &&
         is(n->in[1], ERNN_FLOAT32, times(batch, a->out)) && is(n->in[first], ERNN_FLOAT32, times(rows, a->in)) &&
         is(n->in[first + 1], ERNN_FLOAT32, times(rows, a->out)) &&
         optional(input_of(n, first + 2), ERNN_FLOAT32, rows) && optional(input_of(n, first + 3), ERNN_FLOAT32, rows) &&
         is(n->out[0], ERNN_FLOAT32, times(times(a->frames, batch), a->out)) &&
         is(n->out[1], ERNN_FLOAT32, times(batch, a->out));
}

static int check_gru(const node_view *n, node_need *need) {
  ATTR(cell_attr);
  return float_cell_fits(n, need, 3, 2) && a->out == a->hidden && optional(input_of(n, 6), ERNN_BOOL, 1);
}

static int check_rnn(const node_view *n, node_need *need) {
  ATTR(cell_attr);
  return float_cell_fits(n, need, 1, 2) && a->out == a->hidden && a->kind <= RNN_RELU &&
         optional(input_of(n, 6), ERNN_BOOL, 1);
}

static int check_lstm(const node_view *n, node_need *need) {
  ATTR(cell_attr);
  const file_value *projection = input_of(n, 7);
  return float_cell_fits(n, need, 4, 3) && is(n->in[2], ERNN_FLOAT32, times(a->batch, a->hidden)) &&
         optional(projection, ERNN_FLOAT32, times(pad16(a->out), a->hidden)) && (projection || a->out == a->hidden) &&
         optional(input_of(n, 8), ERNN_BOOL, 1) && is(n->out[2], ERNN_FLOAT32, n->in[2]->count);
}

static uint64_t twiddles_of(uint64_t length) { /* of the transform, and of each level of it */
  uint64_t count = 2 * length;
  for (uint64_t m = length % 2 ? length : length / 2; m > 1;) {
    uint64_t p = 2;
    while (m % p) p++;
    count += 2 * m;
    m /= p;
  }
  return count;
}

static int check_stft(const node_view *n, node_need *need) { /* samples, taper, twiddles of every length, window */
  ATTR(stft_attr);
  uint64_t length = a->length;
  if (length < 2 || length > (1u << 20) || !a->count || !a->batch) return 0;
  uint64_t frames = times(a->count - 1u, a->stride) + a->first + length;
  need->scratch = times(length, 4 * 8);
  return n->in[0]->dtype == ERNN_FLOAT32 && n->in[0]->count % a->batch == 0 && frames <= n->in[0]->count / a->batch &&
         is(n->in[1], ERNN_FLOAT32, length) && is(n->in[2], ERNN_FLOAT32, twiddles_of(length)) &&
         is(n->out[0], ERNN_FLOAT32, times(times(a->count, a->batch), 2 * (length / 2 + 1)));
}

static int check_irfft(const node_view *n, node_need *need) { /* spectrum, taper, twiddles as the STFT's */
  ATTR(irfft_attr);
  uint64_t length = a->length;
  if (length < 2 || length > (1u << 20)) return 0;
  need->scratch = times(length, 4 * 8);
  return is(n->in[0], ERNN_FLOAT32, times(a->rows, 2 * (length / 2 + 1))) && is(n->in[1], ERNN_FLOAT32, length) &&
         is(n->in[2], ERNN_FLOAT32, twiddles_of(length)) && is(n->out[0], ERNN_FLOAT32, times(a->rows, length));
}

static int check_quantize(const node_view *n, node_need *need) {
  ATTR(quantize_attr);
  uint64_t each = a->each ? a->inner : 1;
  (void)need;
  return a->inner && is(n->in[0], ERNN_FLOAT32, times(a->outer, a->inner)) && is(n->in[1], ERNN_FLOAT32, each) &&
         optional(input_of(n, 2), ERNN_FLOAT32, each) && narrow_int(n->out[0]) && n->out[0]->count == n->in[0]->count;
}

static int check_dequantize(const node_view *n, node_need *need) {
  (void)need;
  return any_int(n->in[0]) && is(n->out[0], ERNN_FLOAT32, n->in[0]->count);
}

static int check_rescale(const node_view *n, node_need *need) {
  ATTR(rescale_attr);
  (void)need;
  return shift_fits(a->shift, 62) && any_int(n->in[0]) && any_int(n->out[0]) && n->out[0]->count == n->in[0]->count;
}

static int check_qlinear(const node_view *n, node_need *need) {
  ATTR(qlinear_attr);
  const linear_attr *l = &a->linear;
  uint64_t rows = times(l->groups, pad16(l->out));
  const file_value *y = n->out[0];
  need->own = times(rows, 4);
  need->scratch = times(pad16(l->in), 2) + ERNN_SLACK;
  return linear_reads(l, n->in[0]) && narrow_int(n->in[0]) && is(n->in[1], ERNN_INT8, times(rows, pad16(l->in))) &&
         is(n->in[2], ERNN_INT32, rows) && shift_fits(a->shift, 31) &&
         is(n->in[3], y->dtype == ERNN_FLOAT32 ? ERNN_FLOAT32 : ERNN_INT32, rows) &&
         (narrow_int(y) || y->dtype == ERNN_FLOAT32) && y->count == times(times(l->rows, l->groups), l->out);
}

static int check_qunary(const node_view *n, node_need *need) {
  ATTR(qunary_attr);
  (void)need;
  return a->kind <= GATE_TANH && n->in[0]->dtype == ERNN_INT16 && is(n->out[0], ERNN_INT16, n->in[0]->count);
}

static int check_qadd(const node_view *n, node_need *need) {
  ATTR(qadd_attr);
  (void)need;
  return spread(n, &a->spread) && any_int(n->in[0]) && any_int(n->in[1]) && any_int(n->out[0]) &&
         shift_fits(a->shift, 62);
}

static int check_qmul(const node_view *n, node_need *need) {
  ATTR(qmul_attr);
  (void)need;
  return spread(n, &a->spread) && any_int(n->in[0]) && any_int(n->in[1]) && any_int(n->out[0]) &&
         shift_fits(a->shift, 62);
}

/* x, h, [c,] weight_ih, weight_hh, bias_ih, bias_hh, multiplier_ih, multiplier_hh, ...; biases and multipliers lie as
 * the weights' panels do */
static int integer_cell(const node_view *n, node_need *need, uint32_t gates, uint32_t first, uint32_t h_dtype) {
  ATTR(qcell_attr);
  if (!layer_fits(a->batch, a->in, a->hidden, a->out)) return 0;
  const uint64_t rows = times(gates, pad16(a->hidden)), batch = a->batch;
  const qcell_layout layout = layout_of_qcell(a, gates);
  need->own = layout.own, need->scratch = layout.scratch;
  return a->frames && narrow_int(n->in[0]) && a->h_wide <= 1 && shift_fits(a->shift, 31) && a->shift > 0 &&
         shift_fits(a->cell_exponent, 18) && shift_fits(a->h_shift, 14) && shift_fits(a->y_shift, 14) && n->in[0]->count == times(times(a->frames, batch), a->in) &&
         is(n->in[1], h_dtype, times(batch, a->out)) && is(n->in[first], ERNN_INT8, times(rows, pad16(a->in))) &&
         is(n->in[first + 1], ERNN_INT8, times(rows, pad16(a->out))) && is(n->in[first + 2], ERNN_INT32, rows) &&
         is(n->in[first + 3], ERNN_INT32, rows) && is(n->in[first + 4], ERNN_INT32, rows) &&
         is(n->in[first + 5], ERNN_INT32, rows) && narrow_int(n->out[0]) &&
         n->out[0]->count == times(times(a->frames, batch), a->out) && is(n->out[1], h_dtype, n->in[1]->count);
}

static int check_qgru(const node_view *n, node_need *need) {
  ATTR(qcell_attr);
  return integer_cell(n, need, 3, 2, ERNN_INT32) && a->out == a->hidden && optional(input_of(n, 8), ERNN_BOOL, 1);
}

static int check_qrnn(const node_view *n, node_need *need) {
  ATTR(qcell_attr);
  return integer_cell(n, need, 1, 2, ERNN_INT16) && a->out == a->hidden && a->kind <= RNN_RELU &&
         optional(input_of(n, 8), ERNN_BOOL, 1);
}

static int check_qlstm(const node_view *n, node_need *need) {
  ATTR(qcell_attr);
  const file_value *projection = input_of(n, 9), *multiplier = input_of(n, 10);
  return integer_cell(n, need, 4, 3, ERNN_INT16) && is(n->in[2], ERNN_INT32, times(a->batch, a->hidden)) &&
         optional(projection, ERNN_INT8, times(pad16(a->out), pad16(a->hidden))) && !projection == !multiplier &&
         optional(multiplier, ERNN_INT32, pad16(a->out)) && (projection || a->out == a->hidden) &&
         optional(input_of(n, 11), ERNN_BOOL, 1) && is(n->out[2], ERNN_INT32, n->in[2]->count);
}

#define RULE(name, least, most, outs, type) [OP_##name] = {least, most, outs, WORDS(type), check_##name}
const op_rule ernn_rules[OP_COUNT] = {
    RULE(copy, 1, 1, 1, copy_attr),
    RULE(take, 2, 2, 1, take_attr),
    RULE(unary, 1, 1, 1, unary_attr),
    RULE(binary, 2, 2, 1, binary_attr),
    RULE(clip, 1, 1, 1, clip_attr),
    RULE(where, 3, 3, 1, spread_attr),
    [OP_cast] = {1, 1, 1, 0, check_cast},
    RULE(frame_index, 1, 1, 1, frame_index_attr),
    RULE(validity, 0, 2, 1, validity_attr),
    RULE(reflect, 3, 3, 1, reflect_attr),
    RULE(reduce, 1, 1, 1, reduce_attr),
    RULE(cumsum, 2, 3, 2, cumsum_attr),
    RULE(softmax, 1, 1, 1, softmax_attr),
    RULE(layer_norm, 1, 3, 1, norm_attr),
    RULE(linear, 2, 3, 1, linear_attr),
    RULE(matmul, 2, 2, 1, matmul_attr),
    RULE(gru, 4, 7, 2, cell_attr),
    RULE(lstm, 5, 9, 3, cell_attr),
    RULE(rnn, 4, 7, 2, cell_attr),
    RULE(stft, 3, 3, 1, stft_attr),
    RULE(quantize, 2, 3, 1, quantize_attr),
    RULE(dequantize, 1, 1, 1, dequantize_attr),
    RULE(rescale, 1, 1, 1, rescale_attr),
    RULE(qlinear, 4, 4, 1, qlinear_attr),
    RULE(qunary, 1, 1, 1, qunary_attr),
    RULE(qadd, 2, 2, 1, qadd_attr),
    RULE(qmul, 2, 2, 1, qmul_attr),
    RULE(qgru, 8, 9, 2, qcell_attr),
    RULE(qlstm, 9, 12, 3, qcell_attr),
    RULE(qrnn, 8, 9, 2, qcell_attr),
    RULE(pool, 1, 1, 1, pool_attr),
    RULE(running_mean, 3, 4, 2, cumsum_attr),
    RULE(cummax, 2, 3, 2, cumsum_attr),
    RULE(irfft, 3, 3, 1, irfft_attr),
};
