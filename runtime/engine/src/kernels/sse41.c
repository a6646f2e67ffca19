/* x86 with SSE4.1. */
#define ISA sse41
#define KERNEL_OFFSET 0
#include "functions.h"
#include "x86.h"

typedef int16_t sse_w16 __attribute__((vector_size(32), aligned(2)));

#define HAS_MULHRS
INLINE sse_w16 mulhrs(sse_w16 a, sse_w16 b) {
  union { sse_w16 w; __m128i m[2]; } p = {a}, q = {b};
  p.m[0] = _mm_mulhrs_epi16(p.m[0], q.m[0]), p.m[1] = _mm_mulhrs_epi16(p.m[1], q.m[1]);
  return p.w;
}

#define HAS_ADDS
INLINE sse_w16 adds(sse_w16 a, sse_w16 b) {
  union { sse_w16 w; __m128i m[2]; } p = {a}, q = {b};
  p.m[0] = _mm_adds_epi16(p.m[0], q.m[0]), p.m[1] = _mm_adds_epi16(p.m[1], q.m[1]);
  return p.w;
}

#include "vectors.h"

INLINE void add_products(d16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads,
                         const int n) {
  const __m128i ones = _mm_set1_epi16(1);
  __m128i total[16];
  for (int i = 0; i < 4 * n; i++) total[i] = _mm_loadu_si128((const __m128i *)(const void *)((int32_t *)acc + 4 * i));
  for (uint32_t q = 0; q < quads; q++, w += step, x += 4) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __m128i xs = _mm_set1_epi32(four), size = _mm_abs_epi8(xs);
    for (int i = 0; i < 4 * n; i++) {
      __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(w + (uint64_t)(i / 4) * block + (i % 4) * 16));
      part = _mm_madd_epi16(_mm_maddubs_epi16(size, _mm_sign_epi8(part, xs)), ones);
      total[i] = _mm_add_epi32(total[i], part);
    }
  }
  for (int i = 0; i < 4 * n; i++) _mm_storeu_si128((__m128i *)(void *)((int32_t *)acc + 4 * i), total[i]);
}

#include "kernel.h"
