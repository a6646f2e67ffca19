/* Attributes of the operations, as words in a node's record; export/to_ernn writes them. Strides count elements. */
#ifndef ERNN_ATTRS_H
#define ERNN_ATTRS_H
#include <stdint.h>

typedef struct { uint32_t rank, dims[6], from[6], to[6], from_start, to_start; } copy_attr;
typedef struct { uint32_t outer, rows, inner, ids; } take_attr;
typedef struct { uint32_t kind; } unary_attr;
/* rank, dims, strides of up to three operands that broadcast */
typedef struct { uint32_t rank, dims[6], a[6], b[6], c[6]; } spread_attr;
typedef struct { spread_attr spread; uint32_t kind; } binary_attr;
typedef struct { float low, high; } clip_attr;
typedef struct { uint32_t frames; uint32_t start[2], step[2]; } frame_index_attr; /* doubles, low word first */
/* frames of a step, and the timing of the value: T input frames have (T + offset) / period * group + extra frames */
typedef struct { uint32_t frames, period; int32_t offset, delay; uint32_t group; int32_t extra; } clock_attr;
typedef struct { clock_attr clock; uint32_t scalar; } validity_attr;
typedef struct { clock_attr clock; uint32_t rows, inner; } reflect_attr;
typedef struct { uint32_t outer, inner, kind; } reduce_attr;
typedef struct { uint32_t frames, inner; } cumsum_attr;
/* [outer, rows, inner] to [outer, count, inner]: row j of rows first + j * stride + tap * dilation */
typedef struct { uint32_t outer, rows, inner, count, first, stride, dilation, size, kind; } pool_attr;
typedef struct { uint32_t outer, inner, log; } softmax_attr;
typedef struct { uint32_t outer, inner; float eps; } norm_attr;
/* `rows` products of each of `groups` slices of `in` elements with `out` weight rows; x rows lie `stride` apart */
typedef struct { uint32_t rows, groups, in, out, stride, start; } linear_attr;
typedef struct { uint32_t batch, rows, in, out; } matmul_attr;
typedef struct { uint32_t frames, batch, in, hidden, out, kind; } cell_attr;
typedef struct { uint32_t count, batch, length, first, stride; float scale; } stft_attr;
typedef struct { uint32_t rows, length; float scale; } irfft_attr; /* scale: over the length */
typedef struct { uint32_t outer, inner, each; } quantize_attr; /* each: a scale per inner element */
typedef struct { float scale; } dequantize_attr;
typedef struct { int32_t multiplier, shift, low, high; } rescale_attr;
typedef struct { linear_attr linear; int32_t shift, low, high; uint32_t wide; } qlinear_attr;
typedef struct { uint32_t kind; } qunary_attr;
typedef struct { spread_attr spread; int32_t multiplier_a, multiplier_b, shift, low, high; } qadd_attr;
typedef struct { spread_attr spread; int32_t multiplier, shift, low, high; } qmul_attr;
typedef struct {
  uint32_t frames, batch, in, hidden, out, kind;
  int32_t shift, cell_exponent, h_shift, y_shift;
  uint32_t h_wide; /* h enters the product as int16 */
  uint32_t wide;   /* sums may pass 32 bits: the plain 64-bit body */
} qcell_attr;

enum { RNN_TANH, RNN_RELU };
enum { UNARY_ABS, UNARY_CEIL, UNARY_COS, UNARY_ERF, UNARY_EXP, UNARY_FLOOR, UNARY_GELU, UNARY_LOG, UNARY_NEG, UNARY_NOT,
       UNARY_RECIPROCAL, UNARY_RELU, UNARY_ROUND, UNARY_SIGMOID, UNARY_SIGN, UNARY_SIN, UNARY_SOFTPLUS, UNARY_SQRT,
       UNARY_TANH, UNARY_COUNT };
enum { BINARY_ADD, BINARY_DIV, BINARY_MAX, BINARY_MIN, BINARY_MUL, BINARY_POW, BINARY_SUB, BINARY_EQUAL, BINARY_GREATER,
       BINARY_GREATER_EQUAL, BINARY_LESS, BINARY_LESS_EQUAL, BINARY_AND, BINARY_OR, BINARY_COUNT };
enum { REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_COUNT };
enum { POOL_MAX, POOL_MEAN, POOL_SUM, POOL_COUNT };
enum { GATE_SIGMOID, GATE_TANH };
#endif
