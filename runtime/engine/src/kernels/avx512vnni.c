/* x86 with AVX-512 and its VNNI: 16 rows in one register, int16 in their natural order. */
#define ISA avx512vnni
#define FLOATS fma
#define X_OFFSET 128
#define RW 32
#define RD 64
#include "x86.h"
#include "types.h"

#define PANELS(gates) 1u
#define CHAINS 4 /* one accumulator a gate would wait for its own sums */

#define HAS_WORDS
INLINE w16 word(d16 x) { return (w16){{(word_register)_mm512_cvtsepi32_epi16((__m512i)x.v[0])}}; }
INLINE d16 widened(w16 x) { return (d16){{__builtin_convertvector(x.v[0], double_register)}}; }
INLINE w16 load16(const int16_t *from) {
  return (w16){{(word_register)_mm256_loadu_si256((const __m256i *)(const void *)from)}};
}
INLINE void store16(int16_t *to, w16 x) { _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)x.v[0]); }
INLINE void store8(int8_t *to, w16 x) {
  __m256i v = (__m256i)x.v[0];
  _mm_storeu_si128((__m128i *)(void *)to, _mm_packs_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) {
  __m256i words = _mm256_load_si256((const __m256i *)(const void *)table->words);
  return (w16){{(word_register)_mm256_permutexvar_epi16((__m256i)index.v[0], words)}};
}

#define HAS_SCALED
INLINE d16 rounded_products(__m512i even, __m512i odd, int shift) {
  typedef uint64_t quads8 __attribute__((vector_size(64)));
  const uint64_t half = (uint64_t)1 << shift >> 1;
  quads8 low = ((quads8)even + half) >> shift, high = ((quads8)odd + half) << (32 - shift);
  return (d16){{(double_register)_mm512_mask_blend_epi32(0xaaaa, (__m512i)low, (__m512i)high)}};
}
INLINE __m512i even_products(d16 a, const int32_t *by) {
  return _mm512_mul_epi32((__m512i)a.v[0], _mm512_loadu_si512((const void *)by));
}
INLINE __m512i odd_products(d16 a, const int32_t *by) { /* the multipliers beside them come to the even lanes */
  return _mm512_mul_epi32(_mm512_srli_epi64((__m512i)a.v[0], 32), _mm512_loadu_si512((const void *)(by + 1)));
}
INLINE d16 scaled(d16 a, const int32_t *by, int shift) {
  return rounded_products(even_products(a, by), odd_products(a, by), shift);
}
INLINE d16 scaled_both(d16 a, const int32_t *by_a, d16 b, const int32_t *by_b, int shift) {
  return rounded_products(_mm512_add_epi64(even_products(a, by_a), even_products(b, by_b)),
                          _mm512_add_epi64(odd_products(a, by_a), odd_products(b, by_b)), shift);
}

#define HAS_ROUNDED
INLINE d16 rounded_within(f16 x, float limit) { /* the nearest integers, halves to even; NaN is 0 */
  __m512 v = (__m512)((double_register)x.v[0] & (x.v[0] == x.v[0]));
  v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-limit)), _mm512_set1_ps(limit));
  return (d16){{(double_register)_mm512_cvtps_epi32(v)}};
}

INLINE __m512i fours(__m512i total, const int8_t *x, const int8_t *w) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return _mm512_dpbusd_epi32(total, _mm512_set1_epi32(four), _mm512_loadu_si512((const void *)w));
}

/* The quads go round the chains, whose sums meet at the end; a panel's weights are read in the order in which they lie.
 * Columns are padded to 16, so that quads come by fours. */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  __m512i total[CHAINS][8];
  UNROLL for (int i = 0; i < panels * gates; i++) {
    total[0][i] = (__m512i)acc[i].v[0];
    UNROLL for (int c = 1; c < CHAINS; c++) total[c][i] = _mm512_setzero_si512();
  }
  for (uint32_t q = 0; q < quads; q += CHAINS, w += 64 * CHAINS * gates, x += 4 * CHAINS)
    UNROLL for (int c = 0; c < CHAINS; c++) UNROLL for (int i = 0; i < panels * gates; i++)
        total[c][i] = fours(total[c][i], x + 4 * c,
                            w + (uint64_t)(i / gates) * panel_bytes + 64 * (c * gates + i % gates));
  UNROLL for (int i = 0; i < panels * gates; i++) {
    UNROLL for (int c = 1; c < CHAINS; c++) total[0][i] = _mm512_add_epi32(total[0][i], total[c][i]);
    acc[i].v[0] = (double_register)total[0][i];
  }
}

/* int16 steps of 256 bits */
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

#include "kernel.h"
