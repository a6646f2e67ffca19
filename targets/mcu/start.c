/* From reset to main on a Cortex-M, and a debugger's calls (semihosting), which emulators answer: print and exit. */
#include "start.h"
#include <stdint.h>

extern uint32_t stack_top[], stack_end[], data_start[], data_end[], data_load[], bss_start[], bss_end[];
enum { WRITE0 = 4, EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, PAINT = 0x5a5a5a5a };

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

uint32_t stack_used(void) {
  const uint32_t *at = stack_end;
  while (at < stack_top && *at == PAINT) at++;
  return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

static void fault(void) { leave(99); }

static void reset(void) {
  *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* coprocessor access: the floating point unit and vectors */
  __asm__ volatile("dsb\nisb");
  for (volatile uint32_t *at = bss_start; at < bss_end; at++) *at = 0;
  const uint32_t *from = data_load;
  for (volatile uint32_t *at = data_start; at < data_end; at++) *at = *from++;
  uint32_t *here;
  __asm__ volatile("mov %0, sp" : "=r"(here));
  for (volatile uint32_t *at = stack_end; at < here; at++) *at = PAINT;
  leave(main());
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault};
