/* x86 with AVX2 and FMA. */
#define ISA avx2
#define FLOATS fma
#define X_OFFSET 0
#include "avx2.h"

/* |x| (w sign x): no pair of products leaves 16 bits, as -128 is in neither */
#define ADD_FOURS(total, w, x, size)                                                                                  \
  _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(w, x)), _mm256_set1_epi16(1)))
#define SIZE_OF(x) _mm256_abs_epi8(x)
#define PANELS(gates) ((gates) == 1 ? 2u : 1u)
#include "avx_products.h"
#include "kernel.h"
