/* x86 with AVX-VNNI (client CPUs from Alder Lake on, Zen 5): products of unsigned x and signed w. */
#define ISA avxvnni
#define FLOATS fma
#define X_OFFSET 128
#include "avx2.h"

#ifdef ERNN_PRETEND
#define ADD_FOURS(total, w, x, size) _mm256_dpbusd_epi32(total, x, w)
#else
#define ADD_FOURS(total, w, x, size) _mm256_dpbusd_avx_epi32(total, x, w)
#endif
#define SIZE_OF(x) (x)
#include "avx_products.h"
#include "kernel.h"
