/* bare MODEL...: the test vectors of files on every instruction set, in a program without a C library: the engine needs
 * none. Prints what differs; on x86 it runs everything twice, with subnormals as the CPU has them and flushed to zero, as
 * audio hosts set it. Linux, linked with -nostdlib. */
#include "edgernn.h"

#if defined(__x86_64__)
static long call(long number, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return number;
}
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall start\n");
enum { READ = 0, WRITE = 1, OPENAT = 257, EXIT = 60 };
#elif defined(__aarch64__)
static long call(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
__asm__(".globl _start\n_start: mov x0, sp\nand sp, x0, #-16\nbl start\n");
enum { READ = 63, WRITE = 64, OPENAT = 56, EXIT = 93 };
#elif defined(__arm__)
static long call(long number, long a, long b, long c, long d) {
  register long r7 __asm__("r7") = number, r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c;
  register long r3 __asm__("r3") = d;
  __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3) : "memory");
  return r0;
}
__asm__(".globl _start\n_start: mov r0, sp\nbic sp, sp, #7\nbl start\n");
enum { READ = 3, WRITE = 4, OPENAT = 322, EXIT = 1 };
#endif

static void set_flushing(int flushed) {
#if defined(__x86_64__)
  uint32_t mode = flushed ? 0x9fc0 : 0x1f80; /* results (bit 15) and operands (bit 6) */
  __asm__ volatile("ldmxcsr %0" : : "m"(mode));
#else
  (void)flushed;
#endif
}

static void say(const char *text) {
  long length = 0;
  while (text[length]) length++;
  call(WRITE, 1, (long)(intptr_t)text, length, 0);
}

static _Alignas(64) uint8_t file[1 << 20], memory[1 << 22];

static int differs(const char *path) {
  long from = call(OPENAT, -100, (long)(intptr_t)path, 0, 0), size = 0, got; /* -100: below the current folder */
  while ((got = call(READ, from, (long)(intptr_t)(file + size), (long)sizeof file - size, 0)) > 0) size += got;
  ernn_model model;
  ernn_status status = ernn_model_open(&model, file, size > 0 ? (size_t)size : 0);
  int wrong = status != ERNN_OK;
  if (wrong) say(path), say(": "), say(ernn_status_text(status)), say("\n");
  for (uint32_t i = 0; !wrong && ernn_isa_name(i); i++) {
    const char *isa = ernn_isa_name(i);
    say(isa), say(ernn_isa_usable(isa) ? "" : " is beyond this CPU");
    for (int flushed = 0; flushed < 2 && ernn_isa_usable(isa); flushed++) {
      set_flushing(flushed);
      status = ernn_selftest(&model, 0, memory, sizeof memory, isa);
      set_flushing(0);
      say(flushed ? ", flushed: " : ": "), say(ernn_status_text(status));
      wrong |= status != ERNN_OK;
    }
    say("\n");
  }
  return wrong;
}

void start(const long *stack);
void start(const long *stack) { /* the number of words, the words */
  int wrong = stack[0] < 2;
  for (long i = 1; i < stack[0]; i++) wrong |= differs((const char *)(intptr_t)stack[1 + i]);
  for (;;) call(EXIT, wrong, 0, 0, 0);
}
