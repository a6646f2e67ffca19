/* x86 with AVX-VNNI (client CPUs from Alder Lake on, Zen 5): products of unsigned x and signed w. */
#define ISA avxvnni
#define KERNEL_OFFSET 128
#include "avx2.h"

#ifdef ERNN_PRETEND
INLINE __m256i add_fours(__m256i total, __m256i w, __m256i x) { return _mm256_dpbusd_epi32(total, x, w); }
#else
INLINE __m256i add_fours(__m256i total, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(total, x, w); }
#endif
AVX_PRODUCTS(add_fours)

#include "kernel.h"
