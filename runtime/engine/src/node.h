/* One operation of a program: as the file has it, and bound to a stream's memory. */
#ifndef ERNN_NODE_H
#define ERNN_NODE_H
#include "format.h"

#define MAX_IN 12
#define MAX_OUT 3
#define MAX_RANK 6
#define JOINED 16 /* streams that step a layer together at most */

/* A node of the file, its operands' records looked up. NULL for an absent operand. */
typedef struct {
  uint32_t opcode, ins, outs, attrs;
  const file_value *in[MAX_IN], *out[MAX_OUT];
  const int32_t *attr;
} node_view;

/* What a node asks for beside its operands, in bytes. */
typedef struct {
  uint64_t own;     /* kept from step to step, filled by `init` */
  uint64_t scratch; /* lent during `run` */
} node_need;

typedef struct ernn_node ernn_node;
typedef void ernn_run(ernn_node *node);

struct ernn_node {
  ernn_run *run;
  ernn_node *next; /* the same node of the next stream that steps this layer together with this one, or NULL */
  const int32_t *attr;
  const void *in[MAX_IN];
  void *out[MAX_OUT];
  void *own, *scratch;
  const uint32_t *in_dtype[MAX_IN]; /* of the file's value records */
  const uint32_t *out_dtype[MAX_OUT];
  uint64_t count; /* elements of the first result */
  uint32_t *fault; /* the stream's: set where an index is out of range */
  uint32_t turn;   /* steps done, modulo 2^32 */
  uint32_t exact;
  uint32_t joins; /* its body steps those that follow by `next` as well */
};

/* Same order as OPS in export/to_ernn/format.py. Layers have a body for each instruction set, the others one for all. */
#define ERNN_FLOAT_LAYERS(X) X(linear) X(gru) X(lstm) X(rnn) X(unary) X(softmax) X(quantize) X(dequantize)
#define ERNN_INTEGER_LAYERS(X) X(qlinear) X(qgru) X(qlstm) X(qrnn) X(qunary)
#define ERNN_COMMON(X)                                                                                                \
  X(copy) X(take) X(binary) X(clip) X(where) X(cast) X(frame_index) X(validity) X(reflect) X(reduce)        \
  X(cumsum) X(layer_norm) X(matmul) X(stft) X(rescale) X(qadd) X(qmul) X(pool)                   \
  X(running_mean) X(cummax) X(irfft)

enum {
#define X(name) OP_##name,
  ERNN_FLOAT_LAYERS(X) ERNN_INTEGER_LAYERS(X) ERNN_COMMON(X)
#undef X
  OP_COUNT
};

/* What the loader must know of an operation. `check` gives 1 when operands and attributes fit each other, so that `run`
 * stays inside its operands for any contents; attributes are at least `attrs` words then. */
typedef struct {
  uint8_t least_in, most_in, outs, attrs;
  int (*check)(const node_view *node, node_need *need);
} op_rule;
extern const op_rule ernn_rules[OP_COUNT];

enum { FLOAT_LAYERS = OP_dequantize + 1, LAYERS = OP_qunary + 1 };

/* A body for every layer of one kind, and what prepares a node's own memory for it (NULL: nothing to prepare). */
typedef struct {
  ernn_run *run[FLOAT_LAYERS], *init[FLOAT_LAYERS];
} ernn_floats;

/* One instruction set. */
typedef struct {
  const char *name;
  int (*usable)(void);
  const ernn_floats *floats;
  ernn_run *run[LAYERS - FLOAT_LAYERS], *init[LAYERS - FLOAT_LAYERS];
} ernn_isa;

extern ernn_run *const ernn_common[OP_COUNT]; /* NULL for layers */

/* Give a node its body and prepare its memory; 1. */
static inline int ernn_prepare(ernn_node *node, const ernn_isa *isa, uint32_t op) {
  ernn_run *prepare = (ernn_run *)0;
  if (op < FLOAT_LAYERS)
    node->run = isa->floats->run[op], prepare = isa->floats->init[op];
  else if (op < LAYERS)
    node->run = isa->run[op - FLOAT_LAYERS], prepare = isa->init[op - FLOAT_LAYERS];
  else
    node->run = ernn_common[op];
  if (prepare) prepare(node);
  return 1;
}
#endif
