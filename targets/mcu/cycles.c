/* Counts cycles: by the debug unit's CYCCNT where there is one, else by the 24 bits of SysTick and its interrupts. */
#include "cycles.h"
#include "start.h"

#define DEMCR (*(volatile uint32_t *)0xe000edfc)
#define DWT_CTRL (*(volatile uint32_t *)0xe0001000)
#define DWT_CYCCNT (*(volatile uint32_t *)0xe0001004)
#define SYST_CSR (*(volatile uint32_t *)0xe000e010)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018)

enum { TRCENA = 1 << 24, CYCCNTENA = 1, PROCESSOR_CLOCK_WITH_INTERRUPT = 7, RELOAD = 0xffffff };

static volatile uint32_t ticks; /* times that SysTick began again */
static int has_dwt;

void on_tick(void) { ticks++; }

const char *cycles_start(void) {
  DEMCR |= TRCENA;
  DWT_CYCCNT = 0;
  DWT_CTRL |= CYCCNTENA;
  const uint32_t before = DWT_CYCCNT;
  for (volatile int i = 0; i < 100; i++) {}
  has_dwt = DWT_CYCCNT != before;
  if (has_dwt) return "DWT";
  SYST_RVR = RELOAD;
  SYST_CVR = 0;
  SYST_CSR = PROCESSOR_CLOCK_WITH_INTERRUPT;
  return "SysTick";
}

uint32_t cycles(void) {
  if (has_dwt) return DWT_CYCCNT;
  uint32_t began, left;
  do began = ticks, left = SYST_CVR;
  while (began != ticks);
  return (began << 24) + (RELOAD - left);
}
