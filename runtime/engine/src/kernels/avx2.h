/* What the kernels of 256-bit registers share: the element-wise steps. */
#include "functions.h"
#include "x86.h"

typedef int16_t avx_w16 __attribute__((vector_size(32), aligned(2)));
typedef int32_t avx_d16 __attribute__((vector_size(64), aligned(4)));
typedef union { avx_w16 w; __m256i m; } word_register;
typedef union { avx_d16 d; __m256i m[2]; } double_registers;

#define HAS_MULHRS
INLINE avx_w16 mulhrs(avx_w16 a, avx_w16 b) {
  word_register p = {a}, q = {b};
  return (word_register){.m = _mm256_mulhrs_epi16(p.m, q.m)}.w;
}

#define HAS_ADDS
INLINE avx_w16 adds(avx_w16 a, avx_w16 b) {
  word_register p = {a}, q = {b};
  return (word_register){.m = _mm256_adds_epi16(p.m, q.m)}.w;
}

#define HAS_WORD
INLINE avx_w16 word(avx_d16 x) {
  double_registers p = {x};
  return (word_register){.m = _mm256_permute4x64_epi64(_mm256_packs_epi32(p.m[0], p.m[1]), 0xd8)}.w;
}

#define HAS_LOOKUP
INLINE avx_w16 lookup(const int16_t *table, avx_w16 index) { /* low and high bytes of 16 entries by byte shuffles */
  const __m128i take_low = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m128i take_high = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 15, 13, 11, 9, 7, 5, 3, 1);
  __m128i a = _mm_load_si128((const __m128i *)(const void *)table);
  __m128i b = _mm_load_si128((const __m128i *)(const void *)(table + 8));
  __m128i low = _mm_unpacklo_epi64(_mm_shuffle_epi8(a, take_low), _mm_shuffle_epi8(b, take_low));
  __m128i high = _mm_unpacklo_epi64(_mm_shuffle_epi8(a, take_high), _mm_shuffle_epi8(b, take_high));
  word_register p = {index};
  __m256i high_index = _mm256_or_si256(_mm256_slli_epi16(p.m, 8), _mm256_set1_epi16(0x0080));
  __m256i low_index = _mm256_or_si256(p.m, _mm256_set1_epi16((short)0x8000));
  return (word_register){.m = _mm256_or_si256(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(low), low_index),
                                              _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(high), high_index))}
      .w;
}

/* 64-bit products of even and odd lanes; after a shift right by less than 32 the low 32 bits are the result. */
#define HAS_SCALE
INLINE __m256i avx_scaled(__m256i even, __m256i odd, int shift) {
  const __m256i half = _mm256_set1_epi64x((long long)1 << shift >> 1);
  const __m128i by = _mm_cvtsi32_si128(shift), by_odd = _mm_cvtsi32_si128(32 - shift);
  even = _mm256_srl_epi64(_mm256_add_epi64(even, half), by);
  odd = _mm256_sll_epi64(_mm256_add_epi64(odd, half), by_odd); /* its result in the high 32 bits */
  return _mm256_blend_epi32(even, odd, 0xaa);
}

INLINE avx_d16 scale(avx_d16 a, avx_d16 multiplier, int shift) {
  double_registers p = {a}, m = {multiplier};
  for (int i = 0; i < 2; i++)
    p.m[i] = avx_scaled(_mm256_mul_epi32(p.m[i], m.m[i]),
                        _mm256_mul_epi32(_mm256_srli_epi64(p.m[i], 32), _mm256_srli_epi64(m.m[i], 32)), shift);
  return p.d;
}

INLINE avx_d16 scale_both(avx_d16 a, avx_d16 multiplier_a, avx_d16 b, avx_d16 multiplier_b, int shift) {
  double_registers p = {a}, m = {multiplier_a}, q = {b}, n = {multiplier_b};
  for (int i = 0; i < 2; i++) {
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(p.m[i], m.m[i]), _mm256_mul_epi32(q.m[i], n.m[i]));
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(p.m[i], 32), _mm256_srli_epi64(m.m[i], 32)),
                                   _mm256_mul_epi32(_mm256_srli_epi64(q.m[i], 32), _mm256_srli_epi64(n.m[i], 32)));
    p.m[i] = avx_scaled(even, odd, shift);
  }
  return p.d;
}

#include "vectors.h"

#if defined(__FMA__) && !defined(ERNN_PRETEND)
typedef float avx_lanes __attribute__((vector_size(64), aligned(4)));
INLINE avx_lanes fused_lanes(avx_lanes total, avx_lanes x, avx_lanes w) {
  union { avx_lanes v; __m256 m[2]; } t = {total}, p = {x}, q = {w};
  t.m[0] = _mm256_fmadd_ps(p.m[0], q.m[0], t.m[0]), t.m[1] = _mm256_fmadd_ps(p.m[1], q.m[1], t.m[1]);
  return t.v;
}
#define FUSED_LANES fused_lanes
#endif

/* `ADD_FOURS(total, w, x)` adds to each 32-bit lane the products of its 4 bytes; x as `prepare` left it. */
#define AVX_PRODUCTS(ADD_FOURS)                                                                                       \
  INLINE void add_products(d16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads, \
                           const int n) {                                                                             \
    __m256i total[8];                                                                                                 \
    for (int i = 0; i < 2 * n; i++)                                                                                   \
      total[i] = _mm256_loadu_si256((const __m256i *)(const void *)((int32_t *)acc + 8 * i));                         \
    for (uint32_t q = 0; q < quads; q++, w += step, x += 4) {                                                         \
      int32_t four;                                                                                                   \
      __builtin_memcpy(&four, x, 4);                                                                                  \
      __m256i xs = _mm256_set1_epi32(four);                                                                           \
      for (int i = 0; i < 2 * n; i++)                                                                                 \
        total[i] = ADD_FOURS(                                                                                         \
            total[i], _mm256_loadu_si256((const __m256i *)(const void *)(w + (uint64_t)(i / 2) * block + (i % 2) * 32)), \
            xs);                                                                                                      \
    }                                                                                                                 \
    for (int i = 0; i < 2 * n; i++) _mm256_storeu_si256((__m256i *)(void *)((int32_t *)acc + 8 * i), total[i]);       \
  }
