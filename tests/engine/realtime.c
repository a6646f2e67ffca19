/* What the engine's real-time verbs ask of the system: nothing. Counts calls of the allocator and of locks over many steps,
 * then runs the same steps where the kernel ends a process at its first system call.
 *
 *     realtime model.ernn STEPS    prints the number of calls; exits 0 when it is 0 and the second run came through */
#define _GNU_SOURCE
#include "edgernn.h"
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the allocator and the lock, counted -------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
static volatile unsigned long calls;

void *malloc(size_t n) { return calls++, __libc_malloc(n); }
void *calloc(size_t n, size_t each) { return calls++, __libc_calloc(n, each); }
void *realloc(void *p, size_t n) { return calls++, __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { return calls++, __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { return calls++, __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n) {
  calls++;
  *p = __libc_memalign(align, n);
  return !*p;
}
void free(void *p) { calls++, __libc_free(p); }
int pthread_mutex_lock(pthread_mutex_t *m) {
  (void)m;
  calls++;
  return 0;
}

/* --- the verbs ---------------------------------------------------------------------------------------------------- */

typedef struct {
  ernn_stream *stream;
  void *in, *out, *state;
  size_t in_size, state_size;
  uint32_t hop;
  int plain; /* one input and one output of equal rates */
} work;

static uint32_t drawn = 1;

static void fill(void *to, size_t size) { /* small floats, and small integers too */
  float *x = to;
  for (size_t i = 0; i < size / 4; i++) drawn = drawn * 1664525u + 1013904223u, x[i] = (float)(drawn >> 8) * 0x1p-24f;
}

static void run(work *w, long steps) {
  size_t got[16];
  void *outs[16];
  const void *ins[16];
  for (int i = 0; i < 16; i++) outs[i] = w->out, ins[i] = w->in;
  ernn_prefetch(w->stream);
  for (long t = 0; t < steps; t++) {
    fill(w->in, w->in_size);
    ernn_step(w->stream);
    if (t % 16 == 5) ernn_push(w->stream, ins, w->hop, outs, got);
    if (t % 16 == 7 && w->plain) ernn_process(w->stream, w->in, w->out, w->hop);
    if (t % 64 == 9) ernn_state_save(w->stream, w->state), ernn_state_restore(w->stream, w->state, w->state_size);
    if (t % 256 == 11) ernn_flush(w->stream, outs, got), ernn_reset(w->stream);
  }
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  static _Alignas(64) uint8_t file[1 << 22], memory[1 << 22], in[1 << 16], out[1 << 18], state[1 << 20];
  long steps = strtol(arguments[2], NULL, 10);
  FILE *f = fopen(arguments[1], "rb");
  size_t size = f ? fread(file, 1, sizeof file, f) : 0;
  ernn_model model;
  work w = {.in = in, .out = out, .state = state};
  ernn_port x, y;
  if (ernn_model_open(&model, file, size) || ernn_stream_size(&model, 0) > sizeof memory ||
      ernn_stream_init(&w.stream, &model, 0, memory, sizeof memory, NULL))
    return 3;
  ernn_model_port(&model, 0, ERNN_INPUT, 0, &x);
  ernn_model_port(&model, 0, ERNN_OUTPUT, 0, &y);
  w.hop = ernn_model_hop(&model, 0), w.in_size = x.bytes, w.state_size = ernn_state_size(w.stream);
  w.plain = ernn_model_ports(&model, 0, ERNN_INPUT) == 1 && ernn_model_ports(&model, 0, ERNN_OUTPUT) == 1 && y.period == 1;
  if (w.in_size > sizeof in || w.state_size > sizeof state || 2 * y.bytes > sizeof out) return 3;

  unsigned long before = calls;
  free(malloc(1)); /* the count counts */
  if (calls != before + 2) return 4;
  before = calls;
  run(&w, steps);
  unsigned long counted = calls - before;

  pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) syscall(SYS_exit, 5);
    run(&w, steps);
    syscall(SYS_exit, 0); /* the one that strict mode allows */
  }
  int status = 0;
  waitpid(child, &status, 0);
  int confined = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  printf("%lu calls in %ld steps; without system calls: %s\n", counted, steps,
         confined                                              ? "came through"
         : WIFEXITED(status) && WEXITSTATUS(status) == 5 ? "not tried"
                                                               : "was killed");
  return counted != 0 || (!confined && !(WIFEXITED(status) && WEXITSTATUS(status) == 5));
}
