/* What the kernels of 256-bit registers share. int16 lie as `packs` leaves two halves of int32: 0-3, 8-11, 4-7, 12-15. */
#define RW 32
#define RD 32
#include "x86.h"
#include "types.h"

#define HAS_MULHRS
INLINE w16 mulhrs(w16 a, w16 b) {
  return (w16){{(word_register)_mm256_mulhrs_epi16((__m256i)a.v[0], (__m256i)b.v[0])}};
}

#define HAS_ADDS
INLINE w16 adds(w16 a, w16 b) { return (w16){{(word_register)_mm256_adds_epi16((__m256i)a.v[0], (__m256i)b.v[0])}}; }

#define HAS_SIZES
INLINE w16 sizes(w16 x) {
  const __m256i most = _mm256_set1_epi16(32767);
  return (w16){{(word_register)_mm256_min_epu16(_mm256_abs_epi16((__m256i)x.v[0]), most)}};
}

#define HAS_WORD_CLAMP
INLINE w16 clamp16(w16 x, int16_t low, int16_t high) {
  __m256i y = _mm256_max_epi16((__m256i)x.v[0], _mm256_set1_epi16(low));
  return (w16){{(word_register)_mm256_min_epi16(y, _mm256_set1_epi16(high))}};
}

#define HAS_WORDS
INLINE w16 word(d16 x) {
  return (w16){{(word_register)_mm256_packs_epi32((__m256i)x.v[0], (__m256i)x.v[1])}};
}

INLINE d16 widened(w16 x) {
  __m256i v = (__m256i)x.v[0];
  return (d16){{(double_register)_mm256_srai_epi32(_mm256_unpacklo_epi16(v, v), 16),
                (double_register)_mm256_srai_epi32(_mm256_unpackhi_epi16(v, v), 16)}};
}

INLINE w16 load16(const int16_t *from) {
  __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)from);
  return (w16){{(word_register)_mm256_permute4x64_epi64(v, 0xd8)}};
}

INLINE void store16(int16_t *to, w16 x) {
  _mm256_storeu_si256((__m256i *)(void *)to, _mm256_permute4x64_epi64((__m256i)x.v[0], 0xd8));
}

INLINE void store8(int8_t *to, w16 x) {
  __m256i v = _mm256_packs_epi16((__m256i)x.v[0], (__m256i)x.v[0]);
  _mm_storeu_si128((__m128i *)(void *)to,
                   _mm_unpacklo_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

#define HAS_MULTIPLIED
INLINE d16 multiplied(w16 a, w16 b) {
  __m256i low = _mm256_mullo_epi16((__m256i)a.v[0], (__m256i)b.v[0]);
  __m256i high = _mm256_mulhi_epi16((__m256i)a.v[0], (__m256i)b.v[0]);
  return (d16){{(double_register)_mm256_unpacklo_epi16(low, high), (double_register)_mm256_unpackhi_epi16(low, high)}};
}

/* (n, h >> 15) · (32768 - z, z - 32768) in pairs: all fit int16, z is never below 10 */
#define HAS_APPROACH
INLINE d16 approach(d16 h, w16 n, w16 z) {
  const __m256i top = _mm256_set1_epi16(-32768);
  __m256i old = _mm256_packs_epi32(_mm256_srai_epi32((__m256i)h.v[0], 15), _mm256_srai_epi32((__m256i)h.v[1], 15));
  __m256i more = _mm256_sub_epi16(top, (__m256i)z.v[0]), less = _mm256_xor_si256(top, (__m256i)z.v[0]);
  __m256i target = (__m256i)n.v[0];
  h.v[0] += (double_register)_mm256_madd_epi16(_mm256_unpacklo_epi16(target, old), _mm256_unpacklo_epi16(more, less));
  h.v[1] += (double_register)_mm256_madd_epi16(_mm256_unpackhi_epi16(target, old), _mm256_unpackhi_epi16(more, less));
  return h;
}

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) { /* a byte whose index has its top bit set becomes zero */
  const __m256i only_low = _mm256_set1_epi16(-32768), only_high = _mm256_set1_epi16(128);
  __m256i low = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)table->low));
  __m256i high = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)table->high));
  __m256i at = (__m256i)index.v[0];
  low = _mm256_shuffle_epi8(low, _mm256_or_si256(at, only_low));
  high = _mm256_shuffle_epi8(high, _mm256_or_si256(_mm256_slli_epi16(at, 8), only_high));
  return (w16){{(word_register)_mm256_or_si256(low, high)}};
}

/* 64-bit products of even and odd lanes; after a shift right by less than 32 the low 32 bits are the result. */
#define HAS_SCALED
INLINE __m256i even_products(__m256i a, const int32_t *by) {
  return _mm256_mul_epi32(a, _mm256_loadu_si256((const __m256i *)(const void *)by));
}

INLINE __m256i odd_products(__m256i a, const int32_t *by) { /* the multipliers beside them come to the even lanes */
  return _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_loadu_si256((const __m256i *)(const void *)(by + 1)));
}

INLINE __m256i rounded_products(__m256i even, __m256i odd, int shift) {
  const __m256i half = _mm256_set1_epi64x((long long)1 << shift >> 1);
  even = _mm256_srl_epi64(_mm256_add_epi64(even, half), _mm_cvtsi32_si128(shift));
  odd = _mm256_sll_epi64(_mm256_add_epi64(odd, half), _mm_cvtsi32_si128(32 - shift)); /* in the high 32 bits */
  return _mm256_blend_epi32(even, odd, 0xaa);
}

INLINE d16 scaled(d16 a, const int32_t *by, int shift) {
  EACH_D(i) {
    __m256i v = (__m256i)a.v[i];
    a.v[i] = (double_register)rounded_products(even_products(v, by + 8 * i), odd_products(v, by + 8 * i), shift);
  }
  return a;
}

INLINE d16 scaled_both(d16 a, const int32_t *by_a, d16 b, const int32_t *by_b, int shift) {
  EACH_D(i) {
    __m256i v = (__m256i)a.v[i], w = (__m256i)b.v[i];
    __m256i even = _mm256_add_epi64(even_products(v, by_a + 8 * i), even_products(w, by_b + 8 * i));
    __m256i odd = _mm256_add_epi64(odd_products(v, by_a + 8 * i), odd_products(w, by_b + 8 * i));
    a.v[i] = (double_register)rounded_products(even, odd, shift);
  }
  return a;
}

#define HAS_ROUNDED
INLINE d16 rounded_within(f16 x, float limit) { /* the nearest integers, halves to even; NaN is 0 */
  d16 y;
  EACH_D(i) {
    __m256 v = (__m256)x.v[i];
    v = _mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-limit)), _mm256_set1_ps(limit));
    y.v[i] = (double_register)_mm256_cvtps_epi32(v);
  }
  return y;
}
