/* WebAssembly with 128-bit vectors. */
#define ISA wasm128
#define FLOATS plain
#define RW 16
#define RD 16
#define X_OFFSET 0
#define GATE APART /* a module is loaded over a network: one copy */
#include "types.h"
#include <wasm_simd128.h>

#define REGISTER(x, i) ((v128_t)(x).v[i])

#define HAS_MULHRS
INLINE w16 mulhrs(w16 a, w16 b) {
  EACH_W(i) a.v[i] = (word_register)wasm_i16x8_q15mulr_sat(REGISTER(a, i), REGISTER(b, i));
  return a;
}

#define HAS_ADDS
INLINE w16 adds(w16 a, w16 b) {
  EACH_W(i) a.v[i] = (word_register)wasm_i16x8_add_sat(REGISTER(a, i), REGISTER(b, i));
  return a;
}

#define HAS_SIZES
INLINE w16 sizes(w16 x) {
  EACH_W(i) x.v[i] = (word_register)wasm_u16x8_min(wasm_i16x8_abs(REGISTER(x, i)), wasm_i16x8_splat(32767));
  return x;
}

#define HAS_WORD_CLAMP
INLINE w16 clamp16(w16 x, int16_t low, int16_t high) {
  EACH_W(i) {
    const v128_t above = wasm_i16x8_max(REGISTER(x, i), wasm_i16x8_splat(low));
    x.v[i] = (word_register)wasm_i16x8_min(above, wasm_i16x8_splat(high));
  }
  return x;
}

#define HAS_WORDS
INLINE w16 load16(const int16_t *from) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)wasm_v128_load(from + 8 * i);
  return y;
}

INLINE void store16(int16_t *to, w16 x) { EACH_W(i) wasm_v128_store(to + 8 * i, REGISTER(x, i)); }

INLINE w16 word(d16 x) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)wasm_i16x8_narrow_i32x4(REGISTER(x, 2 * i), REGISTER(x, 2 * i + 1));
  return y;
}

INLINE d16 widened(w16 x) {
  d16 y;
  EACH_W(i) {
    y.v[2 * i] = (double_register)wasm_i32x4_extend_low_i16x8(REGISTER(x, i));
    y.v[2 * i + 1] = (double_register)wasm_i32x4_extend_high_i16x8(REGISTER(x, i));
  }
  return y;
}

INLINE void store8(int8_t *to, w16 x) {
  wasm_v128_store(to, wasm_i8x16_narrow_i16x8(REGISTER(x, 0), REGISTER(x, 1)));
}

#define HAS_MULTIPLIED
INLINE d16 multiplied(w16 a, w16 b) {
  d16 y;
  EACH_W(i) {
    y.v[2 * i] = (double_register)wasm_i32x4_extmul_low_i16x8(REGISTER(a, i), REGISTER(b, i));
    y.v[2 * i + 1] = (double_register)wasm_i32x4_extmul_high_i16x8(REGISTER(a, i), REGISTER(b, i));
  }
  return y;
}

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) { /* a byte whose index is beyond the table becomes zero */
  w16 y;
  EACH_W(i) {
    const v128_t low_at = wasm_v128_or(REGISTER(index, i), wasm_i16x8_splat((int16_t)0x8000));
    const v128_t high_at = wasm_v128_or(wasm_i16x8_shl(REGISTER(index, i), 8), wasm_i16x8_splat(0x0080));
    y.v[i] = (word_register)wasm_v128_or(wasm_i8x16_swizzle(wasm_v128_load(table->low), low_at),
                                         wasm_i8x16_swizzle(wasm_v128_load(table->high), high_at));
  }
  return y;
}

/* 64-bit products of both halves, rounded and shifted right. */
#define HAS_SCALED
INLINE v128_t products(v128_t a, const int32_t *by, int high) {
  const v128_t m = wasm_v128_load(by);
  return high ? wasm_i64x2_extmul_high_i32x4(a, m) : wasm_i64x2_extmul_low_i32x4(a, m);
}

INLINE double_register shifted_down(v128_t low, v128_t high, int shift) {
  const v128_t half = wasm_i64x2_splat((int64_t)1 << shift >> 1);
  low = wasm_i64x2_shr(wasm_i64x2_add(low, half), (uint32_t)shift);
  high = wasm_i64x2_shr(wasm_i64x2_add(high, half), (uint32_t)shift);
  return (double_register)wasm_i32x4_shuffle(low, high, 0, 2, 4, 6);
}

INLINE d16 scaled(d16 a, const int32_t *by, int shift) {
  EACH_D(i) {
    const v128_t v = REGISTER(a, i);
    a.v[i] = shifted_down(products(v, by + 4 * i, 0), products(v, by + 4 * i, 1), shift);
  }
  return a;
}

INLINE d16 scaled_both(d16 a, const int32_t *by_a, d16 b, const int32_t *by_b, int shift) {
  EACH_D(i) {
    const v128_t v = REGISTER(a, i), w = REGISTER(b, i);
    a.v[i] = shifted_down(wasm_i64x2_add(products(v, by_a + 4 * i, 0), products(w, by_b + 4 * i, 0)),
                          wasm_i64x2_add(products(v, by_a + 4 * i, 1), products(w, by_b + 4 * i, 1)), shift);
  }
  return a;
}

/* Each two products of a row in a lane of their own; the lanes meet behind the last. */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  for (int i = 0; i < panels * gates; i++) {
    const int8_t *at = w + (uint32_t)(i / gates) * (uint32_t)panel_bytes + 64 * (i % gates), *from = x;
    v128_t pairs[8];
    for (int k = 0; k < 8; k++) pairs[k] = wasm_i32x4_splat(0);
    for (uint32_t q = 0; q < quads; q++, at += 64 * gates, from += 4) {
      const v128_t xs = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(from));
      for (int k = 0; k < 4; k++) {
        const v128_t rows = wasm_v128_load(at + 16 * k);
        pairs[2 * k] = wasm_i32x4_add(pairs[2 * k], wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(rows), xs));
        pairs[2 * k + 1] = wasm_i32x4_add(pairs[2 * k + 1], wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(rows), xs));
      }
    }
    for (int k = 0; k < 4; k++) {
      const v128_t first = wasm_i32x4_shuffle(pairs[2 * k], pairs[2 * k + 1], 0, 2, 4, 6);
      const v128_t second = wasm_i32x4_shuffle(pairs[2 * k], pairs[2 * k + 1], 1, 3, 5, 7);
      acc[i].v[k] += (double_register)wasm_i32x4_add(first, second);
    }
  }
}

#define PANELS(gates) 1u
#include "kernel.h"
