/* x86 with AVX2 and FMA. */
#define ISA avx2
#define KERNEL_OFFSET 0
#include "avx2.h"

INLINE __m256i add_fours(__m256i total, __m256i w, __m256i x) { /* |x| (w sign x): pairs stay inside 16 bits */
  __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
  return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
AVX_PRODUCTS(add_fours)

#include "kernel.h"
