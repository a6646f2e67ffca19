/* Operations that every instruction set shares, and what layers call where speed does not matter. */
#ifndef ERNN_PORTABLE_H
#define ERNN_PORTABLE_H
#include "../layer.h"

#define X(op) void ernn_##op(ernn_node *node);
ERNN_COMMON(X)
#undef X

/* A function of UNARY_… of 16 numbers, which are flushed, other than those in floats.h; of integers or bools a whole node. */
void ernn_of_block(float *block, uint32_t kind);
void ernn_unary_of_integers(ernn_node *node);
float ernn_lane_sum(const float *x, uint32_t count);
/* Bytes that may lie anywhere; the two places do not overlap. */
void ernn_move(void *to, const void *from, uint64_t size);
void ernn_copy_words(int32_t *to, const int32_t *from, uint32_t count);
void ernn_copy_halves(int16_t *to, const int16_t *from, uint32_t count);
void ernn_offset_biases(int32_t *to, const int32_t *bias, const int8_t *w, uint32_t rows, uint32_t gates, uint32_t width,
                        int is_wide, int32_t offset);
/* int16 as 128 high + low, each flipped where the product wants it so; the low ones lie behind the high ones. */
const int8_t *ernn_split(int8_t *high, const int16_t *v, uint32_t count, int32_t flip);
void *ernn_state_of(const void *old, void *result, void *spare, const uint8_t *active, uint64_t halves);
void ernn_init_qcell(ernn_node *node, uint32_t gates, uint32_t first, int32_t offset);
/* The first frames of a node and of those that are joined to it; how many these are. Then the next one of each. */
uint32_t ernn_begin_frames(frame *streams, ernn_node *node, int kind);
void ernn_next_frame(frame *f);

/* The smallest size of those numbers that are not zero; a large number where there is none. */
float ernn_smallest(const float *x, uint64_t count);
/* y = x w + bias, every product and sum flushed; w `[panel][in][gate][16]`, `bias` NULL for none. */
void ernn_flushing_product(float *y, const float *x, const float *w, const float *bias, uint32_t in, uint32_t panels,
                           uint32_t gates);
#endif
