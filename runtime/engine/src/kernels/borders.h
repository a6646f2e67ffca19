/* Between float32 and integers. */
#include "../attrs.h"
#include "../layer.h"
#include "edgernn.h"
#include "vectors.h"

INLINE void quantize_block(const ernn_node *node, uint64_t at, f16 x, f16 inverse, const float *offset, uint32_t is_wide) {
  if (offset) x = minus(x, load_floats(offset));
  w16 q = word(rounded_within(times(x, inverse), is_wide ? 16319.0f : 127.0f));
  if (is_wide)
    store16((int16_t *)node->out[0] + at, q);
  else
    store8((int8_t *)node->out[0] + at, q);
}

/* A result has room behind it, so the last block may write beyond its end; a row's is written over by the next row. */
static void run_quantize(ernn_node *node) {
  const quantize_attr *a = (const void *)node->attr;
  const uint32_t is_wide = *node->out_dtype[0] == ERNN_INT16;
  const float *inverse = node->in[1], *offset = node->in[2];
  const f16 one = repeated(*inverse);
  float offsets[16] = {0};
  for (int i = 0; offset && !a->each && i < 16; i++) offsets[i] = *offset;
  for (uint64_t o = 0; o < a->outer; o++) {
    const float *x = (const float *)node->in[0] + o * a->inner;
    for (uint32_t i = 0; i < a->inner; i += 16) {
      const float *less = !offset ? offset : a->each ? offset + i : offsets;
      quantize_block(node, o * a->inner + i, flushed(load_floats(x + i)), a->each ? load_floats(inverse + i) : one, less,
                     is_wide);
    }
  }
}

static void run_dequantize(ernn_node *node) {
  const dequantize_attr *a = (const void *)node->attr;
  const f16 scale = repeated(a->scale);
  const uint32_t dtype = *node->in_dtype[0];
  float *y = node->out[0];
  for (uint64_t i = 0; i < node->count; i += 16) {
    d16 q = zeros();
    if (dtype == ERNN_INT8) {
      typedef int8_t few __attribute__((vector_size(RD / 4), aligned(1)));
      EACH_D(k) q.v[k] = __builtin_convertvector(((const few *)((const int8_t *)node->in[0] + i))[k], double_register);
    } else if (dtype == ERNN_INT16) {
      typedef int16_t few __attribute__((vector_size(RD / 2), aligned(2)));
      EACH_D(k) q.v[k] = __builtin_convertvector(((const few *)(const void *)((const int16_t *)node->in[0] + i))[k],
                                                 double_register);
    } else if (dtype == ERNN_INT32) {
      q = load32((const int32_t *)node->in[0] + i);
    } else { /* int64, as running sums are: one rounding */
      const int64_t *from = (const int64_t *)node->in[0];
      for (uint64_t k = i; k < i + 16 && k < node->count; k++) y[k] = fmul((float)from[k], a->scale);
      continue;
    }
    store_floats(y + i, times(to_floats(q), scale));
  }
}
