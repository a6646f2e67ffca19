/* How many elementary operations a step takes: what keeps a hostile file from holding a thread for hours. */
#include "attrs.h"
#include "model.h"

#define ATTR(type) const type *a = (const void *)n->attr

static uint64_t times(uint64_t a, uint64_t b) { /* stops at 2^62 */
  const uint64_t most = (uint64_t)1 << 62;
  return a && b > most / a ? most : a * b;
}

static uint64_t at_least_one(uint64_t n) { return n ? n : 1; }

static uint64_t linear_work(const linear_attr *a) { return times(times(a->rows, a->groups), times(a->out, a->in)); }

static uint64_t cell_work(uint64_t rows, uint64_t in, uint64_t out, uint64_t hidden) {
  return times(rows, times(4 * hidden, in + out) + times(out, hidden));
}

static uint64_t transform_work(uint64_t length) { /* each prime factor of the length is a level of so many products */
  uint64_t levels = 1;
  for (uint64_t p = 2, rest = length; rest > 1; p++)
    for (; rest % p == 0; rest /= p) levels += p;
  return times(length, levels);
}

static uint64_t body_work(const node_view *n) {
  switch (n->opcode) {
  case OP_take: {
    ATTR(take_attr);
    return times(times(at_least_one(a->outer), at_least_one(a->ids)), at_least_one(a->inner));
  }
  case OP_reflect: {
    ATTR(reflect_attr);
    return times(a->rows, at_least_one(a->inner));
  }
  case OP_matmul: {
    ATTR(matmul_attr);
    return times(times(at_least_one(a->batch), at_least_one(a->rows)), times(at_least_one(a->out), a->in));
  }
  case OP_linear: {
    ATTR(linear_attr);
    return linear_work(a);
  }
  case OP_qlinear: {
    ATTR(qlinear_attr);
    return linear_work(&a->linear);
  }
  case OP_gru:
  case OP_lstm:
  case OP_rnn: {
    ATTR(cell_attr);
    return cell_work(times(a->frames, a->batch), a->in, a->out, a->hidden);
  }
  case OP_qgru:
  case OP_qlstm:
  case OP_qrnn: {
    ATTR(qcell_attr);
    return cell_work(times(a->frames, a->batch), a->in, a->out, a->hidden);
  }
  case OP_stft: {
    ATTR(stft_attr);
    return times(times(a->count, a->batch), transform_work(a->length));
  }
  case OP_irfft: {
    ATTR(irfft_attr);
    return times(a->rows, transform_work(a->length));
  }
  case OP_pool: {
    ATTR(pool_attr);
    return times(times(at_least_one(a->outer), a->count), times(at_least_one(a->inner), a->size));
  }
  default: return 0;
  }
}

static uint64_t elements(const file_value *v) { return v && v->constant == ERNN_NONE ? v->count : 0; }

uint64_t ernn_node_work(const node_view *n) {
  uint64_t total = 1 + body_work(n);
  for (uint32_t k = 0; k < n->ins; k++) total += elements(n->in[k]);
  for (uint32_t k = 0; k < n->outs; k++) total += elements(n->out[k]);
  return total;
}

uint64_t ernn_program_work(const program_view *view) {
  uint64_t total = 0;
  uint32_t at = 0;
  for (uint32_t i = 0; i < view->program->nodes; i++) {
    node_view n;
    ernn_next_node(view, &at, &n);
    total += ernn_node_work(&n);
  }
  for (uint32_t i = 0; i < view->program->ports; i++) total += view->values[view->ports[i].value].count;
  return total;
}
