/* Short-time Fourier transform and its inverse. */
#include "fours.h"
#include "portable.h"
#include "walk.h"

/* re, im times the twiddles at `c`, `s`, one for each of m elements. */
APART void turned(float *re, float *im, const float *c, const float *s, uint32_t m) {
  uint32_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const fours x = load4(re + i), y = load4(im + i), cosine = load4(c + i), sine = load4(s + i);
    store4(re + i, flush4(flush4(x * cosine) - flush4(y * sine)));
    store4(im + i, flush4(flush4(x * sine) + flush4(y * cosine)));
  }
  for (; i < m; i++) {
    const float x = re[i], y = im[i];
    re[i] = fsub(fmul(x, c[i]), fmul(y, s[i]));
    im[i] = fadd(fmul(x, s[i]), fmul(y, c[i]));
  }
}

/* Sums and differences of the halves of `parts`. */
APART void joined_two(float *to, const float *parts, uint32_t m) {
  uint32_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const fours x = load4(parts + i), y = load4(parts + m + i);
    store4(to + i, flush4(x + y)), store4(to + m + i, flush4(x - y));
  }
  for (; i < m; i++) to[i] = fadd(parts[i], parts[m + i]), to[m + i] = fsub(parts[i], parts[m + i]);
}

/* Any other number of parts, whose own twiddles are `m` apart. */
APART void joined(float *re, float *im, const float *part_re, const float *part_im, uint32_t p, uint32_t m,
                   const float *c, const float *s) {
  for (uint32_t q = 0; q < p; q++) {
    for (uint32_t i = 0; i < m; i++) {
      float total_re = part_re[i], total_im = part_im[i];
      for (uint32_t r = 1; r < p; r++) {
        const float x = part_re[r * (uint64_t)m + i], y = part_im[r * (uint64_t)m + i];
        const uint32_t turn = r * q % p * m;
        total_re = fadd(total_re, turn ? fsub(fmul(x, c[turn]), fmul(y, s[turn])) : x);
        total_im = fadd(total_im, turn ? fadd(fmul(x, s[turn]), fmul(y, c[turn])) : y);
      }
      re[q * (uint64_t)m + i] = total_re, im[q * (uint64_t)m + i] = total_im;
    }
  }
}

/* Complex transform of n elements `step` apart, into `re`, `im`; `room` holds 2 n more. The twiddles of length n lie at
 * `twiddle` (n cosines, n negated sines), those of the next level behind them. */
static void transform(const float *from_re, const float *from_im, uint64_t step, uint32_t n, float *re, float *im,
                      float *room, const float *twiddle) {
  if (n == 1) {
    *re = *from_re, *im = from_im ? *from_im : 0.0f;
    return;
  }
  uint32_t p = 2;
  while (n % p) p++;
  const uint32_t m = n / p;
  const float *c = twiddle, *s = twiddle + n;
  float *part_re = room, *part_im = room + n;
  for (uint32_t r = 0; r < p; r++) {
    float *a = part_re + (uint64_t)r * m, *b = part_im + (uint64_t)r * m;
    /* `re` and `im` are free until the parts are joined: the next level works there */
    transform(from_re + r * step, from_im ? from_im + r * step : from_im, step * p, m, a, b, room + 2 * (uint64_t)n,
              twiddle + 2 * (uint64_t)n);
    if (r == 1) turned(a, b, c, s, m);
    for (uint32_t i = 0; r > 1 && i < m; i++) turned(a + i, b + i, c + (uint64_t)r * i % n, s + (uint64_t)r * i % n, 1);
  }
  if (p == 2)
    joined_two(re, part_re, m), joined_two(im, part_im, m);
  else
    joined(re, im, part_re, part_im, p, m, c, s);
}

typedef struct {
  const float *re, *im, *c, *s;
  uint32_t half;
  float scale;
} spectrum;

/* Four bins, from i on, of a real signal whose even samples were the real parts of a transform and whose odd ones the
 * imaginary parts; those that are there. */
static void unfolded(const spectrum *x, uint32_t i, float *y) {
  float parts[4][4];
  for (uint32_t k = 0; k < 4; k++) {
    const uint32_t at = i + k < x->half ? i + k : 0, mirror = at ? x->half - at : 0;
    parts[0][k] = x->re[at], parts[1][k] = x->im[at], parts[2][k] = x->re[mirror], parts[3][k] = x->im[mirror];
  }
  const fours re = load4(parts[0]), im = load4(parts[1]), other_re = load4(parts[2]), other_im = load4(parts[3]);
  const fours c = load4(x->c + i), s = load4(x->s + i), half = all4(0.5f), scale = all4(x->scale);
  const fours even_re = flush4(half * flush4(re + other_re)), even_im = flush4(half * flush4(im - other_im));
  const fours odd_re = flush4(half * flush4(im + other_im)), odd_im = flush4(half * flush4(other_re - re));
  const fours real = flush4(even_re + flush4(flush4(odd_re * c) - flush4(odd_im * s)));
  const fours imaginary = flush4(even_im + flush4(flush4(odd_re * s) + flush4(odd_im * c)));
  store4(parts[0], flush4(real * scale)), store4(parts[1], flush4(imaginary * scale));
  for (uint32_t k = 0; k < 4 && i + k <= x->half; k++) y[2 * k] = parts[0][k], y[2 * k + 1] = parts[1][k];
}

APART void tapered(float *x, const float *from, uint32_t each, const float *taper, uint32_t n) {
  uint32_t i = 0;
  for (; each == 1 && i + 4 <= n; i += 4) store4(x + i, flush4(flush4(load4(from + i)) * load4(taper + i)));
  for (; i < n; i++) x[i] = fmul(flush(from[(uint64_t)i * each]), taper[i]);
}

void ernn_stft(ernn_node *node) {
  const stft_attr *a = (const void *)node->attr;
  const uint32_t n = a->length, bins = n / 2 + 1, half = n / 2;
  const float *twiddle = node->in[2];
  float *x = node->scratch, *re = x + n, *im = re + n, *room = im + n, *y = node->out[0];
  const spectrum folded = {re, im, twiddle, twiddle + n, half, a->scale};
  for (uint32_t j = 0; j < a->count; j++) {
    for (uint32_t b = 0; b < a->batch; b++, y += 2 * bins) {
      uint32_t i = 0;
      tapered(x, (const float *)node->in[0] + ((uint64_t)a->first + (uint64_t)j * a->stride) * a->batch + b, a->batch,
              node->in[1], n);
      if (n % 2) {
        transform(x, (const float *)0, 1, n, re, im, room, twiddle + 2 * (uint64_t)n);
        for (; i < bins; i++) y[2 * i] = fmul(re[i], a->scale), y[2 * i + 1] = fmul(im[i], a->scale);
        continue;
      }
      transform(x, x + 1, 2, half, re, im, room, twiddle + 2 * (uint64_t)n);
      for (; i < bins; i += 4) unfolded(&folded, i, y + 2 * i);
    }
  }
}

/* The way of ernn_stft backwards: an inverse transform is a transform with both parts exchanged. */
void ernn_irfft(ernn_node *node) {
  const irfft_attr *a = (const void *)node->attr;
  uint32_t n = a->length, bins = n / 2 + 1, half = n / 2;
  const float *taper = node->in[1], *twiddle = node->in[2], *c = twiddle, *s = twiddle + n;
  float *from_re = node->scratch, *from_im = from_re + n, *re = from_im + n, *im = re + n, *room = im + n, *y = node->out[0];
  const float *x = node->in[0];
  for (uint32_t r = 0; r < a->rows; r++, x += 2 * bins, y += n) {
    if (n % 2) {
      for (uint32_t i = 0; i < n; i++) {
        uint32_t k = i < bins ? i : n - i;
        float imaginary = k ? flush(x[2 * k + 1]) : 0.0f;
        from_re[i] = flush(x[2 * k]);
        from_im[i] = i < bins ? imaginary : -imaginary;
      }
      transform(from_im, from_re, 1, n, re, im, room, twiddle + 2 * (uint64_t)n);
    } else {
      for (uint32_t i = 0; i < half; i++) {
        uint32_t k = half - i;
        float p = flush(x[2 * i]), q = i ? flush(x[2 * i + 1]) : 0.0f;
        float v = flush(x[2 * k]), w = k < half ? flush(x[2 * k + 1]) : 0.0f;
        float down = fsub(p, v), up = fadd(q, w); /* times cos and sin; the twiddles hold the sine negated */
        float odd_re = fsub(fmul(down, c[i]), fmul(up, -s[i])), odd_im = fadd(fmul(down, -s[i]), fmul(up, c[i]));
        from_re[i] = fsub(fadd(p, v), odd_im);
        from_im[i] = fadd(fsub(q, w), odd_re);
      }
      transform(from_im, from_re, 1, half, re, im, room, twiddle + 2 * (uint64_t)n);
    }
    for (uint32_t i = 0; i < n; i++) {
      float sample = n % 2 ? im[i] : i % 2 ? re[i / 2] : im[i / 2];
      y[i] = fmul(fmul(sample, a->scale), taper[i]);
    }
  }
}
