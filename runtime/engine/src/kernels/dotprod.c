/* Arm with the dot product instruction (Cortex-A55, A75 and later). */
#define ISA dotprod
#define FLOATS neon
#define KERNEL_OFFSET 0
#include "neon.h"

NEON_PRODUCTS(vdotq_s32)

#include "kernel.h"
