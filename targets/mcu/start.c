/* From reset to main on a Cortex-M, and how deep the stack was. */
#include "start.h"
#include <stdint.h>

extern uint32_t stack_top[], stack_end[], data_start[], data_end[], data_load[], bss_start[], bss_end[];
enum { PAINT = 0x5a5a5a5a };

uint32_t stack_used(void) {
  const uint32_t *at = stack_end;
  while (at < stack_top && *at == PAINT) at++;
  return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

static void fault(void) { leave(99); }

__attribute__((weak)) void on_tick(void) {}

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
    (const void *)fault, (const void *)fault, (const void *)fault, [15] = (const void *)on_tick};
