/* Everything that an instruction set's file compiles, and its row in the list. */
#include "integers.h"
#include "../cpu.h"
#include "../ops/portable.h"

#define NAME(isa) NAME_(isa)
#define NAME_(isa) ernn_isa_##isa
#define USABLE(isa) USABLE_(isa)
#define USABLE_(isa) ernn_cpu_has_##isa
#define TEXT(isa) TEXT_(isa)
#define TEXT_(isa) #isa

/* A layer whose sums may pass 32 bits takes the scalar body: hardly any is one. */
#ifdef WIDE_SUMS
#define PASSES_ON(op, attributes) 0
#else
extern const ernn_isa ernn_isa_scalar;
#define PASSES_ON(op, attributes)                                                                                     \
  (((const attributes *)(const void *)node->attr)->wide && ernn_prepare(node, &ernn_isa_scalar, OP_##op))
#endif
#define CHOOSE(op, attributes)                                                                                        \
  static void choose_##op(ernn_node *node) {                                                                          \
    if (!PASSES_ON(op, attributes)) init_##op(node);                                                                  \
  }
CHOOSE(qlinear, qlinear_attr)
CHOOSE(qgru, qcell_attr)
CHOOSE(qlstm, qcell_attr)
CHOOSE(qrnn, qcell_attr)
#undef CHOOSE

#define FLOATS_OF(name) FLOATS_OF_(name)
#define FLOATS_OF_(name) ernn_floats_##name

extern const ernn_isa NAME(ISA);
extern const ernn_floats FLOATS_OF(FLOATS);
const ernn_isa NAME(ISA) = {
    .name = TEXT(ISA),
    .usable = USABLE(ISA),
    .floats = &FLOATS_OF(FLOATS),
#define X(op) run_##op,
    .run = {ERNN_INTEGER_LAYERS(X)},
#undef X
    .init = {choose_qlinear, choose_qgru, choose_qlstm, choose_qrnn},
};
