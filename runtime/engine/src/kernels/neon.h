/* What the kernels of 128-bit Arm registers share. */
#define RW 16
#define RD 16
#define X_OFFSET 0
#include "types.h"
#include <arm_neon.h>
#include "arm_words.h"

#define DOUBLES(x, i) ((int32x4_t)(x).v[i])

#define HAS_WORDS
INLINE w16 word(d16 x) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)vcombine_s16(vqmovn_s32(DOUBLES(x, 2 * i)), vqmovn_s32(DOUBLES(x, 2 * i + 1)));
  return y;
}

INLINE d16 widened(w16 x) {
  d16 y;
  EACH_W(i) {
    y.v[2 * i] = (double_register)vmovl_s16(vget_low_s16(WORDS(x, i)));
    y.v[2 * i + 1] = (double_register)vmovl_s16(vget_high_s16(WORDS(x, i)));
  }
  return y;
}

INLINE w16 load16(const int16_t *from) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)vld1q_s16(from + 8 * i);
  return y;
}

INLINE void store16(int16_t *to, w16 x) { EACH_W(i) vst1q_s16(to + 8 * i, WORDS(x, i)); }

INLINE void store8(int8_t *to, w16 x) { vst1q_s8(to, vcombine_s8(vmovn_s16(WORDS(x, 0)), vmovn_s16(WORDS(x, 1)))); }

#define HAS_MULTIPLIED
INLINE d16 multiplied(w16 a, w16 b) {
  d16 y;
  EACH_W(i) {
    y.v[2 * i] = (double_register)vmull_s16(vget_low_s16(WORDS(a, i)), vget_low_s16(WORDS(b, i)));
    y.v[2 * i + 1] = (double_register)vmull_s16(vget_high_s16(WORDS(a, i)), vget_high_s16(WORDS(b, i)));
  }
  return y;
}

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) { /* a byte whose index is beyond the table becomes zero */
  w16 y;
  EACH_W(i) {
    const uint16x8_t at = (uint16x8_t)index.v[i];
    const uint8x16_t low_at = vreinterpretq_u8_u16(vorrq_u16(at, vdupq_n_u16(0x8000)));
    const uint8x16_t high_at = vreinterpretq_u8_u16(vorrq_u16(vshlq_n_u16(at, 8), vdupq_n_u16(0x0080)));
#ifdef __aarch64__
    y.v[i] = (word_register)vorrq_u8(vqtbl1q_u8(vld1q_u8(table->low), low_at), vqtbl1q_u8(vld1q_u8(table->high), high_at));
#else
    const uint8x8x2_t low = {{vld1_u8(table->low), vld1_u8(table->low + 8)}};
    const uint8x8x2_t high = {{vld1_u8(table->high), vld1_u8(table->high + 8)}};
    const uint8x8_t first = vorr_u8(vtbl2_u8(low, vget_low_u8(low_at)), vtbl2_u8(high, vget_low_u8(high_at)));
    const uint8x8_t second = vorr_u8(vtbl2_u8(low, vget_high_u8(low_at)), vtbl2_u8(high, vget_high_u8(high_at)));
    y.v[i] = (word_register)vcombine_u8(first, second);
#endif
  }
  return y;
}

/* 64-bit products of low and high halves, rounded and shifted right. */
#define HAS_SCALED
INLINE double_register shifted_down(int64x2_t low, int64x2_t high, int shift) {
  const int64x2_t by = vdupq_n_s64(-shift);
  return (double_register)vcombine_s32(vmovn_s64(vrshlq_s64(low, by)), vmovn_s64(vrshlq_s64(high, by)));
}

INLINE d16 scaled(d16 a, const int32_t *by, int shift) {
  EACH_D(i) {
    const int32x4_t v = DOUBLES(a, i), m = vld1q_s32(by + 4 * i);
    a.v[i] = shifted_down(vmull_s32(vget_low_s32(v), vget_low_s32(m)), vmull_s32(vget_high_s32(v), vget_high_s32(m)), shift);
  }
  return a;
}

INLINE d16 scaled_both(d16 a, const int32_t *by_a, d16 b, const int32_t *by_b, int shift) {
  EACH_D(i) {
    const int32x4_t v = DOUBLES(a, i), m = vld1q_s32(by_a + 4 * i), w = DOUBLES(b, i), n = vld1q_s32(by_b + 4 * i);
    const int64x2_t low = vmull_s32(vget_low_s32(v), vget_low_s32(m)), high = vmull_s32(vget_high_s32(v), vget_high_s32(m));
    a.v[i] = shifted_down(vmlal_s32(low, vget_low_s32(w), vget_low_s32(n)),
                          vmlal_s32(high, vget_high_s32(w), vget_high_s32(n)), shift);
  }
  return a;
}

/* `ADD_FOURS(total, w, x)` adds to each 32-bit lane the products of its 4 bytes. */
#define NEON_PRODUCTS(ADD_FOURS)                                                                                       \
  INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,         \
                           const int8_t *x, uint32_t quads) {                                                          \
    for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {                                                    \
      int32_t four;                                                                                                    \
      __builtin_memcpy(&four, x, 4);                                                                                   \
      const int8x16_t xs = vreinterpretq_s8_s32(vdupq_n_s32(four));                                                    \
      UNROLL for (int i = 0; i < panels * gates; i++) {                                                                \
        const int8_t *at = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);                                 \
        EACH_D(k) acc[i].v[k] = (double_register)ADD_FOURS(DOUBLES(acc[i], k), vld1q_s8(at + 16 * k), xs);             \
      }                                                                                                                \
    }                                                                                                                  \
  }
