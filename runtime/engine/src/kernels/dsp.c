/* Arm CPUs with two products at a time in the general registers: Cortex-M4, M7, M33, and Armv6, as in the first
 * Raspberry Pi. */
#define ISA dsp
#define FLOATS plain
#define PLAIN_C
#define RW 16
#define RD 16
#define X_OFFSET 0
#include "vectors.h"
#include <arm_acle.h>

/* The bytes 0 and 2 of a word, and 1 and 3, as pairs of int16. */
INLINE int16x2_t even(uint32_t word) { return __sxtb16((int8x4_t)word); }
INLINE int16x2_t odd(uint32_t word) { return __sxtb16((int8x4_t)(word >> 8 | word << 24)); }

INLINE uint32_t four(const int8_t *from) {
  uint32_t word;
  __builtin_memcpy(&word, from, 4);
  return word;
}

/* Four rows at a time, whose sums stay in registers. */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  for (int i = 0; i < panels * gates; i++) {
    const int8_t *first = w + (uint32_t)(i / gates) * (uint32_t)panel_bytes + 64 * (i % gates);
    for (int k = 0; k < 4; k++) {
      const int8_t *row = first + 16 * k, *from = x;
      int32_t a = acc[i].v[k][0], b = acc[i].v[k][1], c = acc[i].v[k][2], d = acc[i].v[k][3];
      for (uint32_t q = 0; q < quads; q++, row += 64 * gates, from += 4) {
        const int16x2_t low = even(four(from)), high = odd(four(from));
        const uint32_t wa = four(row), wb = four(row + 4), wc = four(row + 8), wd = four(row + 12);
        a = __smlad(odd(wa), high, __smlad(even(wa), low, a));
        b = __smlad(odd(wb), high, __smlad(even(wb), low, b));
        c = __smlad(odd(wc), high, __smlad(even(wc), low, c));
        d = __smlad(odd(wd), high, __smlad(even(wd), low, d));
      }
      acc[i].v[k] = (double_register){a, b, c, d};
    }
  }
}

#define PANELS(gates) 1u
#include "kernel.h"
