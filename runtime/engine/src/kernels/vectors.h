/* Steps on 16 integers in plain C. An instruction set puts its own in front of these by defining a name's macro. */
#ifndef ERNN_VECTORS_H
#define ERNN_VECTORS_H
#include "types.h"

#ifndef STEP
#define STEP INLINE /* of steps without an instruction of their own */
#endif

typedef double_register loose_doubles __attribute__((aligned(4)));
typedef float_register loose_floats __attribute__((aligned(4)));
typedef word_register loose_words __attribute__((aligned(2)));

INLINE d16 load32(const int32_t *from) {
  d16 y;
  EACH_D(i) y.v[i] = *(const loose_doubles *)(const void *)(from + i * RD / 4);
  return y;
}

INLINE void store32(int32_t *to, d16 x) { EACH_D(i) *(loose_doubles *)(void *)(to + i * RD / 4) = x.v[i]; }

INLINE f16 load_floats(const float *from) {
  f16 y;
  EACH_D(i) y.v[i] = *(const loose_floats *)(const void *)(from + i * RD / 4);
  return y;
}

INLINE void store_floats(float *to, f16 x) { EACH_D(i) *(loose_floats *)(void *)(to + i * RD / 4) = x.v[i]; }

INLINE f16 repeated(float x) {
  f16 y;
  EACH_D(i) y.v[i] = x - (float_register){0};
  return y;
}

INLINE f16 to_floats(d16 x) {
  f16 y;
  EACH_D(i) y.v[i] = __builtin_convertvector(x.v[i], float_register);
  return y;
}

/* Subnormals are zeros of their sign. */
INLINE f16 flushed(f16 x) {
  EACH_D(i) {
    double_register u = (double_register)x.v[i], subnormal = (u & 0x7fffffff) < 0x00800000;
    x.v[i] = (float_register)(u & ~(subnormal & 0x7fffffff));
  }
  return x;
}

INLINE f16 times(f16 a, f16 b) {
  EACH_D(i) a.v[i] *= b.v[i];
  return flushed(a);
}

INLINE f16 added(f16 a, f16 b) {
  EACH_D(i) a.v[i] += b.v[i];
  return flushed(a);
}

INLINE f16 minus(f16 a, f16 b) {
  EACH_D(i) a.v[i] -= b.v[i];
  return flushed(a);
}

#ifndef HAS_ROUNDED
INLINE d16 rounded_within(f16 x, float limit) { /* the nearest integers, halves to even; NaN is 0 */
  d16 y;
  EACH_D(i) {
    float_register v = (float_register)((double_register)x.v[i] & (x.v[i] == x.v[i]));
    double_register above = v > limit, below = v < -limit, at_limit = (double_register)(limit - (float_register){0});
    at_limit = (at_limit & above) | ((at_limit | INT32_MIN) & below);
    v = (float_register)(((double_register)v & ~(above | below)) | at_limit);
    y.v[i] = (double_register)(v + 0x1.8p23f) - 0x4b400000;
  }
  return y;
}
#endif

STEP d16 clamp32(d16 x, int32_t low, int32_t high) {
  EACH_D(i) {
    double_register above = x.v[i] > high, below = x.v[i] < low;
    x.v[i] = (x.v[i] & ~(above | below)) | (above & high) | (below & low);
  }
  return x;
}

#ifndef HAS_WORD_CLAMP
STEP w16 clamp16(w16 x, int16_t low, int16_t high) {
  EACH_W(i) {
    word_register above = x.v[i] > high, below = x.v[i] < low;
    x.v[i] = (x.v[i] & ~(above | below)) | (above & high) | (below & low);
  }
  return x;
}
#endif

/* int32 to int16 and back, and products; an order of their own is between `word` and `widened`, `load16`, `store16` … */
#ifndef HAS_WORDS
INLINE w16 load16(const int16_t *from) {
  w16 y;
  EACH_W(i) y.v[i] = *(const loose_words *)(const void *)(from + i * RW / 2);
  return y;
}

INLINE void store16(int16_t *to, w16 x) { EACH_W(i) *(loose_words *)(void *)(to + i * RW / 2) = x.v[i]; }

STEP w16 word(d16 x) { /* saturated */
  int32_t from[16];
  int16_t to[16];
  store32(from, clamp32(x, -32768, 32767));
  for (int k = 0; k < 16; k++) to[k] = (int16_t)from[k];
  return load16(to);
}

STEP d16 widened(w16 x) {
  int16_t from[16];
  int32_t to[16];
  store16(from, x);
  for (int k = 0; k < 16; k++) to[k] = from[k];
  return load32(to);
}

STEP void store8(int8_t *to, w16 x) { /* values of 8 bits */
  int16_t from[16];
  store16(from, x);
  for (int k = 0; k < 16; k++) to[k] = (int8_t)from[k];
}
#endif

#ifndef HAS_MULTIPLIED
STEP d16 multiplied(w16 a, w16 b) {
  d16 x = widened(a), y = widened(b);
  EACH_D(i) x.v[i] *= y.v[i];
  return x;
}
#endif

#ifndef HAS_APPROACH
STEP d16 approach(d16 h, w16 n, w16 z) { /* h + (32768 - z) (n - (h >> 15)) */
  d16 target = widened(n), keep = widened(z);
  EACH_D(i) h.v[i] += (32768 - keep.v[i]) * (target.v[i] - (h.v[i] >> 15));
  return h;
}
#endif

#ifndef HAS_MULHRS
STEP w16 mulhrs(w16 a, w16 b) { /* (a b + 2^14) >> 15 */
  d16 p = multiplied(a, b);
  EACH_D(i) p.v[i] = (p.v[i] + (1 << 14)) >> 15;
  return word(p);
}
#endif

#ifndef HAS_ADDS
STEP w16 adds(w16 a, w16 b) { /* saturated */
  d16 x = widened(a), y = widened(b);
  EACH_D(i) x.v[i] += y.v[i];
  return word(x);
}
#endif

#ifndef HAS_SIZES
STEP w16 sizes(w16 x) { /* |x|, at most 32767 */
  EACH_W(i) {
    word_register sign = x.v[i] < 0, lowest = x.v[i] == -32768;
    x.v[i] = (x.v[i] ^ sign) - sign + lowest;
  }
  return x;
}
#endif

#ifndef HAS_LOOKUP
STEP w16 lookup(const coefficient *table, w16 index) {
  int16_t at[16], to[16];
  store16(at, index);
  for (int k = 0; k < 16; k++) to[k] = table->words[at[k]];
  return load16(to);
}
#endif

INLINE w16 plus(w16 a, w16 b) {
  EACH_W(i) a.v[i] += b.v[i];
  return a;
}

/* sigmoid or tanh of units of 2^-12, in units of 2^-15 (docs/int8.md) */
INLINE w16 activate(w16 x, const coefficient *c, int is_sigmoid) {
  w16 size = sizes(x), segment, place;
  EACH_W(i) segment.v[i] = size.v[i] >> 11, place.v[i] = (size.v[i] << 5) ^ (int16_t)-32768;
  w16 y = plus(lookup(c + 2, segment), mulhrs(place, lookup(c + 3, segment)));
  y = plus(lookup(c + 1, segment), mulhrs(place, y));
  y = adds(lookup(c, segment), mulhrs(place, y));
  EACH_W(i) {
    word_register sign = x.v[i] < 0;
    y.v[i] = (y.v[i] ^ sign) + (sign & (int16_t)(is_sigmoid ? -32767 : 1));
  }
  return y;
}

GATE w16 sigmoid(w16 x) { return activate(x, sigmoid_table, 1); }
GATE w16 hyperbolic_tangent(w16 x) { return activate(x, tanh_table, 0); }

/* Units of 2^-15 to units of 2^-shift, shift at most 14. */
STEP w16 narrow(w16 h, int shift, uint32_t is_wide) {
  w16 unit;
  EACH_W(i) unit.v[i] = (int16_t)(1 << shift) - (word_register){0};
  const int16_t limit = is_wide ? 16319 : 127;
  return clamp16(mulhrs(h, unit), (int16_t)-limit, limit);
}

INLINE d16 zeros(void) {
  d16 y;
  EACH_D(i) y.v[i] = (double_register){0};
  return y;
}

/* Sums of products: int32, or int64 where the file says that they need it. */
#ifdef WIDE_SUMS
typedef struct { /* a vector: some compilers copy an array of this size by calling memcpy */
  int64_t v __attribute__((vector_size(128), aligned(8)));
} sums;

INLINE sums no_sums(void) { return (sums){{0}}; }

INLINE sums load_bias(const int32_t *from) {
  sums y;
  for (int k = 0; k < 16; k++) y.v[k] = from[k];
  return y;
}

INLINE sums shifted_sums(sums a, const int32_t *bias) { /* 128 a + bias */
  for (int k = 0; k < 16; k++) a.v[k] = a.v[k] * 128 + bias[k];
  return a;
}

INLINE d16 held(sums a, int shift) {
  int32_t y[16];
  for (int k = 0; k < 16; k++) {
    int64_t x = (a.v[k] + ((int64_t)1 << shift >> 1)) >> shift;
    y[k] = x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int32_t)x;
  }
  return load32(y);
}

STEP d16 scaled(sums a, const int32_t *multiplier, int shift) {
  for (int k = 0; k < 16; k++) a.v[k] *= multiplier[k];
  return held(a, shift);
}

STEP d16 scaled_both(sums a, const int32_t *by_a, sums b, const int32_t *by_b, int shift) {
  for (int k = 0; k < 16; k++) a.v[k] = a.v[k] * by_a[k] + b.v[k] * by_b[k];
  return held(a, shift);
}

INLINE f16 sums_as_floats(sums a) {
  float y[16];
  for (int k = 0; k < 16; k++) y[k] = (float)a.v[k];
  return load_floats(y);
}
#else
typedef d16 sums;

INLINE sums no_sums(void) { return zeros(); }
INLINE sums load_bias(const int32_t *from) { return load32(from); }
INLINE f16 sums_as_floats(sums a) { return to_floats(a); }

INLINE sums shifted_sums(sums a, const int32_t *bias) {
  d16 b = load32(bias);
  EACH_D(i) a.v[i] = (a.v[i] << 7) + b.v[i];
  return a;
}

#ifndef HAS_SCALED
INLINE d16 scaled_both(sums a, const int32_t *by_a, sums b, const int32_t *by_b, int shift) {
  int32_t p[16], q[16], y[16];
  store32(p, a), store32(q, b);
  for (int k = 0; k < 16; k++) {
    int64_t v = (int64_t)p[k] * by_a[k] + (int64_t)q[k] * by_b[k];
    y[k] = (int32_t)((v + ((int64_t)1 << shift >> 1)) >> shift);
  }
  return load32(y);
}

INLINE d16 scaled(sums a, const int32_t *multiplier, int shift) {
  return scaled_both(a, multiplier, zeros(), multiplier, shift);
}
#endif
#endif
#endif
