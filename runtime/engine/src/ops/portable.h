/* Operations that every instruction set shares: they move, count and select. */
#ifndef ERNN_PORTABLE_H
#define ERNN_PORTABLE_H
#include "../attrs.h"
#include "../node.h"

void ernn_copy(ernn_node *node);
void ernn_take(ernn_node *node);
void ernn_where(ernn_node *node);
void ernn_cast(ernn_node *node);
void ernn_frame_index(ernn_node *node);
void ernn_validity(ernn_node *node);
void ernn_reflect(ernn_node *node);

/* Prepare a layer whose sums may pass 32 bits: 64 for them. Hardly any is one, so all instruction sets share a body. */
void ernn_widen_qlinear(ernn_node *node);
void ernn_widen_qgru(ernn_node *node);
void ernn_widen_qlstm(ernn_node *node);
void ernn_widen_qrnn(ernn_node *node);
#endif
