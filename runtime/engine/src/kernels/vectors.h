/* 16 integers at a time, in plain C. An instruction set puts its own in front of these by defining a name's macro. */
#ifndef ERNN_VECTORS_H
#define ERNN_VECTORS_H
#include "functions.h"
#include "tables.h"

typedef int8_t b16 __attribute__((vector_size(16), aligned(1)));
typedef int16_t w16 __attribute__((vector_size(32), aligned(2)));
typedef int32_t d16 __attribute__((vector_size(64), aligned(4)));
typedef int64_t q16 __attribute__((vector_size(128), aligned(8)));

#define WIDER(x) __builtin_convertvector(x, d16)
#define NARROWER(x) __builtin_convertvector(x, w16)

INLINE d16 clamp16(d16 x, int32_t low, int32_t high) {
  d16 above = x > high, below = x < low;
  x = (x & ~above) | (above & high);
  return (x & ~below) | (below & low);
}

#ifndef HAS_WORD
INLINE w16 word(d16 x) { return NARROWER(clamp16(x, -32768, 32767)); }
#endif

#ifndef HAS_MULHRS
INLINE w16 mulhrs(w16 a, w16 b) { return NARROWER((WIDER(a) * WIDER(b) + (1 << 14)) >> 15); }
#endif

#ifndef HAS_ADDS
INLINE w16 adds(w16 a, w16 b) { return word(WIDER(a) + WIDER(b)); }
#endif

#ifndef HAS_LOOKUP
INLINE w16 lookup(const int16_t *table, w16 index) {
  w16 y;
  for (int i = 0; i < 16; i++) y[i] = table[index[i]];
  return y;
}
#endif

/* sigmoid or tanh of units of 2^-12, in units of 2^-15 (docs/int8.md) */
INLINE w16 activate(w16 x, int is_sigmoid) {
  const int16_t(*c)[16] = is_sigmoid ? sigmoid_table : tanh_table;
  w16 sign = x < 0, lowest = x == -32768;
  w16 size = ((x ^ sign) - sign) + lowest; /* -32768 negated is itself, one less is 32767 */
  w16 segment = size >> 11, place = ((size & 2047) << 5) - 0x7fff - 1;
  w16 y = adds(lookup(c[2], segment), mulhrs(place, lookup(c[3], segment)));
  y = adds(lookup(c[1], segment), mulhrs(place, y));
  y = adds(lookup(c[0], segment), mulhrs(place, y));
  y = (y ^ sign) - sign;
  return is_sigmoid ? y ^ (sign & (int16_t)-32768) : y;
}

/* Requantized sums: the product is exact, its rounding is one. */
#ifndef HAS_SCALE
INLINE d16 scale(d16 a, d16 multiplier, int shift) {
  d16 y;
  for (int i = 0; i < 16; i++) {
    int64_t v = ((int64_t)a[i] * multiplier[i] + ((int64_t)1 << shift >> 1)) >> shift;
    y[i] = (int32_t)v;
  }
  return y;
}

INLINE d16 scale_both(d16 a, d16 multiplier_a, d16 b, d16 multiplier_b, int shift) {
  d16 y;
  for (int i = 0; i < 16; i++) {
    int64_t v = (int64_t)a[i] * multiplier_a[i] + (int64_t)b[i] * multiplier_b[i];
    y[i] = (int32_t)((v + ((int64_t)1 << shift >> 1)) >> shift);
  }
  return y;
}
#endif
#endif
