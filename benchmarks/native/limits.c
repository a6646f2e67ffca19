/* What a step of a given shape costs at least: products of int8 alone, and reads alone; and the engine's own step.
 * benchmarks/step.py compiles this beside the engine and calls it through ctypes, so that all share one process.
 * Every function gives nanoseconds per step, the mean over `steps` calls. */
#include "edgernn.h"
#include <immintrin.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* The engine's own layout: panels of 16 rows and `gates` gates, `quads` blocks of 64 bytes a gate. */
typedef struct {
  const int8_t *w, *x;
  const int32_t *bias;
  int32_t *acc;
  uint32_t panels, gates, quads;
} product;

#define BLOCK(n) (p.w + (((uint64_t)panel * p.quads + q) * p.gates + (uint64_t)(n)) * 64)

__attribute__((target("avx2"))) static inline __m256i fours_avx2(__m256i total, __m256i w, __m256i x, __m256i size) {
  __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(w, x));
  return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#define GEMV_AVX2(n)                                                                                                   \
  __attribute__((target("avx2"), noinline)) static void gemv_avx2_##n(product p) {                                    \
    for (uint32_t panel = 0; panel < p.panels; panel++) {                                                             \
      __m256i t[2 * n];                                                                                               \
      for (int i = 0; i < 2 * n; i++)                                                                                 \
        t[i] = _mm256_loadu_si256((const __m256i *)(const void *)(p.bias + panel * 16 * n + 8 * (uint32_t)i));        \
      _Pragma("GCC unroll 2") for (uint32_t q = 0; q < p.quads; q++) {                                                 \
        int32_t four;                                                                                                 \
        memcpy(&four, p.x + 4 * q, 4);                                                                                \
        __m256i x = _mm256_set1_epi32(four), size = _mm256_abs_epi8(x);                                               \
        for (int i = 0; i < 2 * n; i++)                                                                               \
          t[i] = fours_avx2(t[i], _mm256_loadu_si256((const __m256i *)(const void *)(BLOCK(i / 2) + i % 2 * 32)), x, size); \
      }                                                                                                               \
      for (int i = 0; i < 2 * n; i++)                                                                                 \
        _mm256_storeu_si256((__m256i *)(void *)(p.acc + panel * 16 * n + 8 * (uint32_t)i), t[i]);                     \
    }                                                                                                                 \
  }
GEMV_AVX2(1)
GEMV_AVX2(3)
GEMV_AVX2(4)

#define GEMV_VNNI(name, features, fours, n)                                                                            \
  __attribute__((target(features), noinline)) static void gemv_##name##_##n(product p) {                              \
    for (uint32_t panel = 0; panel < p.panels; panel++) {                                                             \
      __m256i t[2 * n];                                                                                               \
      for (int i = 0; i < 2 * n; i++)                                                                                 \
        t[i] = _mm256_loadu_si256((const __m256i *)(const void *)(p.bias + panel * 16 * n + 8 * (uint32_t)i));        \
      _Pragma("GCC unroll 2") for (uint32_t q = 0; q < p.quads; q++) {                                                 \
        int32_t four;                                                                                                 \
        memcpy(&four, p.x + 4 * q, 4);                                                                                \
        __m256i x = _mm256_set1_epi32(four);                                                                          \
        for (int i = 0; i < 2 * n; i++)                                                                               \
          t[i] = fours(t[i], x, _mm256_loadu_si256((const __m256i *)(const void *)(BLOCK(i / 2) + i % 2 * 32)));      \
      }                                                                                                               \
      for (int i = 0; i < 2 * n; i++)                                                                                 \
        _mm256_storeu_si256((__m256i *)(void *)(p.acc + panel * 16 * n + 8 * (uint32_t)i), t[i]);                     \
    }                                                                                                                 \
  }
GEMV_VNNI(avxvnni, "avx2,avxvnni", _mm256_dpbusd_avx_epi32, 1)
GEMV_VNNI(avxvnni, "avx2,avxvnni", _mm256_dpbusd_avx_epi32, 3)
GEMV_VNNI(avxvnni, "avx2,avxvnni", _mm256_dpbusd_avx_epi32, 4)

/* panels: two at once where one accumulator a gate would wait for its own sums */
#define GEMV_512(n)                                                                                                    \
  __attribute__((target("avx512f,avx512vnni"), noinline)) static void gemv_avx512vnni_##n(product p) {                \
    for (uint32_t panel = 0; panel < p.panels; panel++) {                                                             \
      __m512i t[n], u[n];                                                                                             \
      for (int i = 0; i < n; i++) t[i] = _mm512_loadu_si512(p.bias + panel * 16 * n + 16 * (uint32_t)i), u[i] = _mm512_setzero_si512(); \
      const int8_t *w = p.w + (uint64_t)panel * p.quads * n * 64, *x8 = p.x, *end = p.x + 4 * p.quads;                  \
      for (; x8 < end; x8 += 8, w += 128 * n) {                                                                        \
        int32_t four[2];                                                                                               \
        memcpy(four, x8, 8);                                                                                           \
        __m512i x = _mm512_set1_epi32(four[0]), y = _mm512_set1_epi32(four[1]);                                       \
        for (int i = 0; i < n; i++) t[i] = _mm512_dpbusd_epi32(t[i], x, _mm512_loadu_si512(w + 64 * i));                \
        for (int i = 0; i < n; i++) u[i] = _mm512_dpbusd_epi32(u[i], y, _mm512_loadu_si512(w + 64 * (n + i)));          \
      }                                                                                                               \
      for (int i = 0; i < n; i++) _mm512_storeu_si512(p.acc + panel * 16 * n + 16 * (uint32_t)i, _mm512_add_epi32(t[i], u[i])); \
    }                                                                                                                 \
  }
GEMV_512(1)
GEMV_512(3)
GEMV_512(4)

typedef void gemv(product);

static gemv *choose(const char *isa, uint32_t gates) {
  static gemv *const table[3][3] = {{gemv_avx2_1, gemv_avx2_3, gemv_avx2_4},
                                    {gemv_avxvnni_1, gemv_avxvnni_3, gemv_avxvnni_4},
                                    {gemv_avx512vnni_1, gemv_avx512vnni_3, gemv_avx512vnni_4}};
  int row = strcmp(isa, "avx512vnni") == 0 ? 2 : strcmp(isa, "avxvnni") == 0 ? 1 : 0;
  return table[row][gates == 1 ? 0 : gates == 3 ? 1 : 2];
}

typedef struct {
  uint32_t panels, gates, quads;
} shape;

/* All products of a network, their weights one behind the other; `acc` holds the sums of the largest. */
double time_products(const char *isa, const int8_t *w, const int32_t *bias, const int8_t *x, int32_t *acc,
                     const shape *shapes, uint32_t count, uint32_t steps) {
  double start = now();
  for (uint32_t i = 0; i < steps; i++) {
    const int8_t *at = w;
    for (uint32_t k = 0; k < count; k++) {
      const shape s = shapes[k];
      choose(isa, s.gates)((product){at, x + i % 64 * 4, bias, acc, s.panels, s.gates, s.quads});
      at += (uint64_t)s.panels * s.gates * s.quads * 64;
    }
    __asm__ volatile("" ::: "memory");
  }
  return (now() - start) / steps;
}

/* Read `bytes` once a step. */
__attribute__((target("avx2"))) double time_read(const void *from, uint64_t bytes, uint32_t steps) {
  const __m256i *at = from;
  double start = now();
  for (uint32_t i = 0; i < steps; i++) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (uint64_t k = 0; k + 128 <= bytes; k += 128) {
      const __m256i *p = at + k / 32;
      a = _mm256_or_si256(a, _mm256_load_si256(p)), b = _mm256_or_si256(b, _mm256_load_si256(p + 1));
      c = _mm256_or_si256(c, _mm256_load_si256(p + 2)), d = _mm256_or_si256(d, _mm256_load_si256(p + 3));
    }
    a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
    __asm__ volatile("" ::"x"(a) : "memory");
  }
  return (now() - start) / steps;
}

/* Steps one behind the other, with 64 frames in turn. `frames` is input 0's, `bytes` of one step's. */
double time_steps(ernn_stream *stream, const uint8_t *frames, uint64_t bytes, uint32_t steps) {
  void *input = ernn_input(stream, 0);
  double start = now();
  for (uint32_t i = 0; i < steps; i++) {
    memcpy(input, frames + i % 64 * bytes, bytes);
    ernn_step(stream);
  }
  return (now() - start) / steps;
}

enum { ISOLATED, PACED, COLD, COLD_PREFETCHED };

/* Single steps, each with its own time in `each`: nothing of one overlaps the next (isolated); one every `period` ns, asleep
 * between them (paced); behind a sweep of `sweep` (cold), after which the weights were asked for well before the frame
 * (prefetched). */
void sample_steps(ernn_stream *stream, const uint8_t *frames, uint64_t bytes, uint32_t steps, int how, double period,
                  volatile uint8_t *sweep, uint64_t sweep_bytes, double *each) {
  void *input = ernn_input(stream, 0);
  double due = now();
  for (uint32_t i = 0; i < steps; i++) {
    memcpy(input, frames + i % 64 * bytes, bytes);
    if (how == PACED) {
      due += period;
      struct timespec until = {(time_t)(due / 1e9), (long)(due - 1e9 * (double)(time_t)(due / 1e9))};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    if (how >= COLD)
      for (uint64_t k = 0; k < sweep_bytes; k += 64) sweep[k]++;
    if (how == COLD_PREFETCHED) {
      ernn_prefetch(stream);
      for (double start = now(); now() - start < 50e3;) continue;
    }
    _mm_lfence();
    double start = now();
    _mm_lfence();
    ernn_step(stream);
    _mm_lfence();
    each[i] = now() - start;
  }
}
