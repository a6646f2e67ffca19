/* Short-time Fourier transform and its inverse. */
#include "portable.h"
#include "walk.h"

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
  uint32_t m = n / p;
  const float *c = twiddle, *s = twiddle + n;
  float *part_re = room, *part_im = room + n;
  for (uint32_t r = 0; r < p; r++) {
    float *a = part_re + (uint64_t)r * m, *b = part_im + (uint64_t)r * m;
    /* `re` and `im` are free until the parts are joined: the next level works there */
    transform(from_re + r * step, from_im ? from_im + r * step : from_im, step * p, m, a, b, room + 2 * (uint64_t)n,
              twiddle + 2 * (uint64_t)n);
    for (uint32_t i = 0; r && i < m; i++) {
      uint64_t turn = (uint64_t)r * i % n;
      float x = a[i], y = b[i];
      a[i] = fsub(fmul(x, c[turn]), fmul(y, s[turn]));
      b[i] = fadd(fmul(x, s[turn]), fmul(y, c[turn]));
    }
  }
  for (uint32_t q = 0; q < p; q++) {
    for (uint32_t i = 0; i < m; i++) {
      float total_re = part_re[i], total_im = part_im[i];
      for (uint32_t r = 1; r < p; r++) {
        float x = part_re[r * (uint64_t)m + i], y = part_im[r * (uint64_t)m + i];
        uint64_t turn = (uint64_t)r * q * m % n;
        if (p == 2) {
          total_re = q ? fsub(total_re, x) : fadd(total_re, x);
          total_im = q ? fsub(total_im, y) : fadd(total_im, y);
        } else {
          float more_re = turn ? fsub(fmul(x, c[turn]), fmul(y, s[turn])) : x;
          float more_im = turn ? fadd(fmul(x, s[turn]), fmul(y, c[turn])) : y;
          total_re = fadd(total_re, more_re), total_im = fadd(total_im, more_im);
        }
      }
      re[q * (uint64_t)m + i] = total_re, im[q * (uint64_t)m + i] = total_im;
    }
  }
}

void ernn_stft(ernn_node *node) {
  const stft_attr *a = (const void *)node->attr;
  uint32_t n = a->length, bins = n / 2 + 1, half = n / 2;
  const float *taper = node->in[1], *twiddle = node->in[2], *c = twiddle, *s = twiddle + n;
  float *x = node->scratch, *re = x + n, *im = re + n, *room = im + n, *y = node->out[0];
  for (uint32_t j = 0; j < a->count; j++) {
    for (uint32_t b = 0; b < a->batch; b++, y += 2 * bins) {
      const float *from = (const float *)node->in[0] + ((uint64_t)a->first + (uint64_t)j * a->stride) * a->batch + b;
      for (uint32_t i = 0; i < n; i++) x[i] = fmul(flush(from[(uint64_t)i * a->batch]), taper[i]);
      if (n % 2)
        transform(x, (const float *)0, 1, n, re, im, room, twiddle + 2 * (uint64_t)n);
      else
        transform(x, x + 1, 2, half, re, im, room, twiddle + 2 * (uint64_t)n);
      for (uint32_t i = 0; i < bins; i++) {
        float real = re[i % (n % 2 ? n : half)], imaginary = im[i % (n % 2 ? n : half)];
        if (n % 2 == 0) {
          uint32_t mirror = (half - i % half) % half;
          float even_re = fmul(0.5f, fadd(real, re[mirror])), even_im = fmul(0.5f, fsub(imaginary, im[mirror]));
          float odd_re = fmul(0.5f, fadd(imaginary, im[mirror])), odd_im = fmul(0.5f, fsub(re[mirror], real));
          real = fadd(even_re, fsub(fmul(odd_re, c[i]), fmul(odd_im, s[i])));
          imaginary = fadd(even_im, fadd(fmul(odd_re, s[i]), fmul(odd_im, c[i])));
        }
        y[2 * i] = fmul(real, a->scale), y[2 * i + 1] = fmul(imaginary, a->scale);
      }
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
