/* x86 with AVX2 and FMA. */
#define FLOATS fma
#include "avx2.h"

#define HAS_FMA
INLINE f16 fma_floats(f16 total, float x, f16 w) {
  EACH_D(i) total.v[i] = (float_register)_mm256_fmadd_ps((__m256)w.v[i], _mm256_set1_ps(x), (__m256)total.v[i]);
  return total;
}

#include "floats.h"
