/* exp, log, tanh and their kind out of float32 additions, products and quotients alone: the same bits everywhere.
 * The coefficients and steps are those of quantize/reference/functions.py, which names their sources. */
#ifndef ERNN_FUNCTIONS_H
#define ERNN_FUNCTIONS_H
#include <stdint.h>

#ifdef PLAIN_C /* no registers to keep things in: the compiler knows best */
#define INLINE static inline __attribute__((unused))
#else
#define INLINE static inline __attribute__((always_inline, unused))
#endif
#define ONE_COPY static inline __attribute__((unused)) /* where size counts more than a call */
#ifndef FUNCTION
#define FUNCTION INLINE /* a unit that has no loops of them may have one copy of each */
#endif
#define APART static __attribute__((noinline, unused)) /* one copy: what surrounds it costs more than a call */

INLINE uint32_t bits_of(float x) {
  union { float f; uint32_t u; } both = {.f = x};
  return both.u;
}

INLINE float float_of(uint32_t u) {
  union { uint32_t u; float f; } both = {.u = u};
  return both.f;
}

/* Subnormals are zeros of their sign. */
INLINE float flush(float x) {
  uint32_t u = bits_of(x);
  return float_of((u & 0x7fffffffu) < 0x00800000u ? u & 0x80000000u : u);
}

INLINE float fadd(float a, float b) { return flush(a + b); }
INLINE float fsub(float a, float b) { return flush(a - b); }
INLINE float fmul(float a, float b) { return flush(a * b); }
INLINE float fdiv(float a, float b) { return flush(a / b); }
INLINE float size_of(float x) { return float_of(bits_of(x) & 0x7fffffffu); }
INLINE float with_sign(float size, float sign) {
  return float_of((bits_of(size) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u));
}
/* NumPy's maximum and minimum: NaN wins, and of two zeros the second. */
INLINE float maximum(float a, float b) { return a != a ? a : a > b ? a : b; }
INLINE float minimum(float a, float b) { return a != a ? a : a < b ? a : b; }

INLINE float to_even(float x) { /* rounded to a whole number */
  float size = size_of(x), whole = (size + 0x1p23f) - 0x1p23f;
  return size < 0x1p23f ? with_sign(whole, x) : x;
}

INLINE float floor_of(float x) {
  float whole = to_even(x);
  return whole > x ? with_sign(whole - 1.0f, whole - 1.0f == 0 ? x : whole - 1.0f) : whole;
}

INLINE float ceil_of(float x) {
  float whole = to_even(x), up = whole + 1.0f;
  return whole < x ? with_sign(up, up == 0 ? x : up) : whole;
}

/* Within exp, log and tanh nothing is flushed: what may be subnormal there is then added to a number that it is no half
 * unit of. */
FUNCTION float f_exp(float x) {
  x = flush(x);
  float inside = x > -88.0f ? x : -88.0f;
  inside = inside < 89.0f ? inside : 89.0f;
  float n = to_even(inside * 1.44269504088896341f);
  float r = (inside - n * 0.693359375f) - n * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = (y * (r * r) + r) + 1.0f;
  int32_t whole = (int32_t)n, half = whole >> 1; /* two steps: 2^128 is no float32 */
  y = y * float_of((uint32_t)(half + 127) << 23) * float_of((uint32_t)(whole - half + 127) << 23);
  return x != x ? x : flush(y);
}

FUNCTION float f_log(float x) {
  x = flush(x);
  int usable = x > 0 && x <= 0x1.fffffep127f;
  uint32_t u = bits_of(usable ? x : 1.0f);
  int32_t exponent = (int32_t)(u >> 23) - 126;
  float mantissa = float_of((u & 0x007fffffu) | 0x3f000000u); /* in [0.5, 1) */
  int low = mantissa < 0.707106781186547524f;
  float e = (float)(low ? exponent - 1 : exponent);
  float m = low ? (mantissa + mantissa) - 1.0f : mantissa - 1.0f;
  float z = m * m, y = 7.0376836292e-2f;
  y = y * m + -1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m + -1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m + -1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m + -2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * z;
  y = y + -2.12194440e-4f * e;
  y = (y - 0.5f * z) + m;
  y = y + 0.693359375f * e;
  return usable ? y : x > 0 ? x : x == 0 ? -__builtin_inff() : __builtin_nanf("");
}

/* tanh; `power` is exp(2 |x|). */
INLINE float f_tanh_of(float x, float power) {
  x = flush(x);
  float z = x * x, y = -5.70498872745e-3f;
  y = y * z + 2.06390887954e-2f;
  y = y * z + -5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z + -3.33332819422e-1f;
  float small = y * z * x + x;
  float large = 1.0f - 2.0f / (power + 1.0f);
  return size_of(x) < 0.625f ? small : with_sign(large, x);
}

/* Of exp(-x). */
INLINE float f_sigmoid_of(float power) { return fdiv(1.0f, fadd(1.0f, power)); }

FUNCTION float f_softplus(float x) {
  x = flush(x);
  return fadd(maximum(x, 0.0f), f_log(fadd(1.0f, f_exp(-size_of(x)))));
}

FUNCTION float f_erf(float x) {
  x = flush(x);
  float size = size_of(x), t = fdiv(1.0f, fadd(1.0f, fmul(0.3275911f, size))), y = 1.061405429f;
  y = fadd(fmul(y, t), -1.453152027f);
  y = fadd(fmul(y, t), 1.421413741f);
  y = fadd(fmul(y, t), -0.284496736f);
  y = fadd(fmul(y, t), 0.254829592f);
  return with_sign(fsub(1.0f, fmul(fmul(y, t), f_exp(-fmul(size, size)))), x);
}

FUNCTION float f_gelu(float x) {
  x = flush(x);
  return fmul(fmul(0.5f, x), fadd(1.0f, f_erf(fmul(x, 0.707106781186547524f))));
}

INLINE double whole_double(double x) {
  double size = x < 0 ? -x : x, whole = (size + 0x1p52) - 0x1p52;
  return size < 0x1p52 ? (x < 0 ? -whole : whole) : x;
}

FUNCTION float f_quadrant(float x, int64_t turn) { /* sine of x plus so many right angles; reduced in float64 */
  double wide = flush(x), n = whole_double(wide * (2 / 3.141592653589793));
  double product = n * (3.141592653589793 / 2);
  float r = flush((float)(wide - product)), z = fmul(r, r), s = -1.9515295891e-4f, c = 2.443315711809948e-5f;
  s = fadd(fmul(s, z), 8.3321608736e-3f);
  s = fadd(fmul(s, z), -1.6666654611e-1f);
  s = fadd(fmul(fmul(s, z), r), r);
  c = fadd(fmul(c, z), -1.388731625493765e-3f);
  c = fadd(fmul(c, z), 4.166664568298827e-2f);
  c = fadd(fsub(fmul(fmul(c, z), z), fmul(0.5f, z)), 1.0f);
  int64_t corner = turn;
  if (n > -0x1p62 && n < 0x1p62) corner += (int64_t)n;
  float y = corner & 1 ? c : s;
  return corner & 2 ? -y : y;
}

INLINE float f_sqrt(float x) { return flush(__builtin_sqrtf(x)); }

FUNCTION float f_power(float a, float b) {
  a = flush(a), b = flush(b);
  float size = size_of(b), product = 1.0f;
  if (size == to_even(size) && size <= 16.0f) {
    for (float count = 1.0f; count <= size; count++) product = fmul(product, a);
    return b < 0 ? fdiv(1.0f, product) : product;
  }
  if (b == 0.5f) return f_sqrt(a);
  return a == 0 && b > 0 ? 0.0f : f_exp(fmul(b, f_log(a)));
}
#endif
