/* What the kernels of 128-bit Arm registers share. `ADD_FOURS(total, w, x)` adds to each 32-bit lane the products of its
 * 4 bytes. */
#include "functions.h"
#include <arm_neon.h>

typedef int16_t neon_w16 __attribute__((vector_size(32), aligned(2)));
typedef union { neon_w16 w; int16x8_t m[2]; } word_registers;

#define HAS_MULHRS
INLINE neon_w16 mulhrs(neon_w16 a, neon_w16 b) {
  word_registers p = {a}, q = {b};
  p.m[0] = vqrdmulhq_s16(p.m[0], q.m[0]), p.m[1] = vqrdmulhq_s16(p.m[1], q.m[1]);
  return p.w;
}

#define HAS_ADDS
INLINE neon_w16 adds(neon_w16 a, neon_w16 b) {
  word_registers p = {a}, q = {b};
  p.m[0] = vqaddq_s16(p.m[0], q.m[0]), p.m[1] = vqaddq_s16(p.m[1], q.m[1]);
  return p.w;
}

#include "vectors.h"

#define NEON_PRODUCTS(ADD_FOURS)                                                                                      \
  INLINE void add_products(d16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads, \
                           const int n) {                                                                             \
    int32x4_t total[16];                                                                                              \
    for (int i = 0; i < 4 * n; i++) total[i] = vld1q_s32((const int32_t *)acc + 4 * i);                               \
    for (uint32_t q = 0; q < quads; q++, w += step, x += 4) {                                                         \
      int32_t four;                                                                                                   \
      __builtin_memcpy(&four, x, 4);                                                                                  \
      int8x16_t xs = vreinterpretq_s8_s32(vdupq_n_s32(four));                                                         \
      for (int i = 0; i < 4 * n; i++)                                                                                 \
        total[i] = ADD_FOURS(total[i], vld1q_s8(w + (uint64_t)(i / 4) * block + (i % 4) * 16), xs);                   \
    }                                                                                                                 \
    for (int i = 0; i < 4 * n; i++) vst1q_s32((int32_t *)acc + 4 * i, total[i]);                                      \
  }
