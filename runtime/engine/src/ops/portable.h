/* Operations that every instruction set shares, and what layers call where speed does not matter. */
#ifndef ERNN_PORTABLE_H
#define ERNN_PORTABLE_H
#include "../attrs.h"
#include "../node.h"

#define X(op) void ernn_##op(ernn_node *node);
ERNN_COMMON(X)
#undef X

/* Prepare a layer whose sums may pass 32 bits: 64 for them. */
void ernn_widen_qlinear(ernn_node *node);
void ernn_widen_qgru(ernn_node *node);
void ernn_widen_qlstm(ernn_node *node);
void ernn_widen_qrnn(ernn_node *node);

/* The smallest size of those numbers that are not zero; a large number where there is none. */
float ernn_smallest(const float *x, uint64_t count);
/* y = x w + bias, every product and sum flushed; w `[panel][in][gate][16]`, `bias` NULL for none. */
void ernn_flushing_product(float *y, const float *x, const float *w, const float *bias, uint32_t in, uint32_t panels,
                           int gates);
#endif
