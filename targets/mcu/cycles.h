#ifndef ERNN_CYCLES_H
#define ERNN_CYCLES_H
#include <stdint.h>

const char *cycles_start(void); /* which counter counts from now on: "DWT" or "SysTick" */
uint32_t cycles(void);          /* since then, modulo 2^32 */
#endif
