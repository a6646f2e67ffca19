/* x86 with AVX-512 and its VNNI: 16 rows in one register. */
#define ISA avx512vnni
#define KERNEL_OFFSET 128
#include "avx2.h"

INLINE void add_products(d16 *acc, const int8_t *w, uint64_t block, uint64_t step, const int8_t *x, uint32_t quads,
                         const int n) {
  __m512i total[4];
  for (int i = 0; i < n; i++) total[i] = _mm512_loadu_si512((const void *)(acc + i));
  for (uint32_t q = 0; q < quads; q++, w += step, x += 4) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    __m512i xs = _mm512_set1_epi32(four);
    for (int i = 0; i < n; i++)
      total[i] = _mm512_dpbusd_epi32(total[i], xs, _mm512_loadu_si512((const void *)(w + (uint64_t)i * block)));
  }
  for (int i = 0; i < n; i++) _mm512_storeu_si512((void *)(acc + i), total[i]);
}

#include "kernel.h"
