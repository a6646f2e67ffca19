/* A debugger's calls (semihosting), which emulators answer: print and exit. */
#include "start.h"

enum { WRITE0 = 4, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

static void call(uint32_t number, const void *argument) {
  register uint32_t r0 __asm__("r0") = number;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void say(const char *text) { call(WRITE0, text); }

void leave(int status) {
  const uint32_t block[] = {APPLICATION_EXIT, (uint32_t)status};
  call(EXIT_EXTENDED, block);
  for (;;) {}
}
