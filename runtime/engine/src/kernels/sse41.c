/* x86 with SSE4.1. */
#define ISA sse41
#define FLOATS plain
#define X_OFFSET 0
#define GATE APART
#define RW 16
#define RD 16
#include "x86.h"
#include "types.h"

#define PAIR(operation) (w16){{(word_register)operation(0), (word_register)operation(1)}}
#define REGISTER(x, i) ((__m128i)(x).v[i])

#define HAS_MULHRS
INLINE w16 mulhrs(w16 a, w16 b) {
#define EACH(i) _mm_mulhrs_epi16(REGISTER(a, i), REGISTER(b, i))
  return PAIR(EACH);
#undef EACH
}

#define HAS_ADDS
INLINE w16 adds(w16 a, w16 b) {
#define EACH(i) _mm_adds_epi16(REGISTER(a, i), REGISTER(b, i))
  return PAIR(EACH);
#undef EACH
}

#define HAS_SIZES
INLINE w16 sizes(w16 x) {
#define EACH(i) _mm_min_epu16(_mm_abs_epi16(REGISTER(x, i)), _mm_set1_epi16(32767))
  return PAIR(EACH);
#undef EACH
}

#define HAS_WORD_CLAMP
INLINE w16 clamp16(w16 x, int16_t low, int16_t high) {
#define EACH(i) _mm_min_epi16(_mm_max_epi16(REGISTER(x, i), _mm_set1_epi16(low)), _mm_set1_epi16(high))
  return PAIR(EACH);
#undef EACH
}

#define HAS_WORDS
INLINE w16 word(d16 x) {
#define EACH(i) _mm_packs_epi32(REGISTER(x, 2 * i), REGISTER(x, 2 * i + 1))
  return PAIR(EACH);
#undef EACH
}

INLINE d16 joined_halves(w16 low, w16 high) { /* int32 of their low and high 16 bits */
  d16 y;
  EACH_W(i) {
    y.v[2 * i] = (double_register)_mm_unpacklo_epi16(REGISTER(low, i), REGISTER(high, i));
    y.v[2 * i + 1] = (double_register)_mm_unpackhi_epi16(REGISTER(low, i), REGISTER(high, i));
  }
  return y;
}

INLINE d16 widened(w16 x) {
  w16 sign = x;
  EACH_W(i) sign.v[i] = x.v[i] < 0;
  return joined_halves(x, sign);
}

INLINE w16 load16(const int16_t *from) {
#define EACH(i) _mm_loadu_si128((const __m128i *)(const void *)(from + 8 * i))
  return PAIR(EACH);
#undef EACH
}

INLINE void store16(int16_t *to, w16 x) {
  EACH_W(i) _mm_storeu_si128((__m128i *)(void *)(to + 8 * i), REGISTER(x, i));
}

INLINE void store8(int8_t *to, w16 x) {
  _mm_storeu_si128((__m128i *)(void *)to, _mm_packs_epi16(REGISTER(x, 0), REGISTER(x, 1)));
}

#define HAS_MULTIPLIED
INLINE d16 multiplied(w16 a, w16 b) {
  w16 low = a, high = a;
  EACH_W(i) low.v[i] = (word_register)_mm_mullo_epi16(REGISTER(a, i), REGISTER(b, i));
  EACH_W(i) high.v[i] = (word_register)_mm_mulhi_epi16(REGISTER(a, i), REGISTER(b, i));
  return joined_halves(low, high);
}

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) { /* a byte whose index has its top bit set becomes zero */
  const __m128i low = _mm_load_si128((const __m128i *)(const void *)table->low);
  const __m128i high = _mm_load_si128((const __m128i *)(const void *)table->high);
#define EACH(i)                                                                                                        \
  _mm_or_si128(_mm_shuffle_epi8(low, _mm_or_si128(REGISTER(index, i), _mm_set1_epi16(-32768))),                        \
               _mm_shuffle_epi8(high, _mm_or_si128(_mm_slli_epi16(REGISTER(index, i), 8), _mm_set1_epi16(128))))
  return PAIR(EACH);
#undef EACH
}

/* 64-bit products of even and odd lanes; after a shift right by less than 32 the low 32 bits are the result. */
#define HAS_SCALED
INLINE __m128i loaded(const int32_t *from) { return _mm_loadu_si128((const __m128i *)(const void *)from); }

INLINE __m128i even_products(__m128i a, const int32_t *by) { return _mm_mul_epi32(a, loaded(by)); }

INLINE __m128i odd_products(__m128i a, const int32_t *by) { /* the multipliers beside them come to the even lanes */
  return _mm_mul_epi32(_mm_srli_epi64(a, 32), loaded(by + 1));
}

INLINE double_register rounded_products(__m128i even, __m128i odd, int shift) {
  const __m128i half = _mm_set1_epi64x((long long)1 << shift >> 1);
  even = _mm_srl_epi64(_mm_add_epi64(even, half), _mm_cvtsi32_si128(shift));
  odd = _mm_sll_epi64(_mm_add_epi64(odd, half), _mm_cvtsi32_si128(32 - shift)); /* in the high 32 bits */
  return (double_register)_mm_blend_epi16(even, odd, 0xcc);
}

GATE d16 scaled(d16 a, const int32_t *by, int shift) {
  EACH_D(i) {
    __m128i v = REGISTER(a, i);
    a.v[i] = rounded_products(even_products(v, by + 4 * i), odd_products(v, by + 4 * i), shift);
  }
  return a;
}

GATE d16 scaled_both(d16 a, const int32_t *by_a, d16 b, const int32_t *by_b, int shift) {
  EACH_D(i) {
    __m128i v = REGISTER(a, i), w = REGISTER(b, i);
    __m128i even = _mm_add_epi64(even_products(v, by_a + 4 * i), even_products(w, by_b + 4 * i));
    __m128i odd = _mm_add_epi64(odd_products(v, by_a + 4 * i), odd_products(w, by_b + 4 * i));
    a.v[i] = rounded_products(even, odd, shift);
  }
  return a;
}

/* |x| (w sign x): no pair of products leaves 16 bits, as -128 is in neither */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  const __m128i ones = _mm_set1_epi16(1);
  for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    const __m128i xs = _mm_set1_epi32(four), size = _mm_abs_epi8(xs);
    UNROLL for (int i = 0; i < panels * gates; i++) {
      const int8_t *at = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);
      EACH_D(k) {
        __m128i part = _mm_sign_epi8(_mm_loadu_si128((const __m128i *)(const void *)(at + 16 * k)), xs);
        part = _mm_madd_epi16(_mm_maddubs_epi16(size, part), ones);
        acc[i].v[k] = (double_register)_mm_add_epi32(REGISTER(acc[i], k), part);
      }
    }
  }
}

#define PANELS(gates) 1u /* additions wait for nothing here */
#define FAST_ROWS 0 /* 16 sums of a gate fill 4 of 16 registers: they lie in memory anyway */
#include "kernel.h"
