/* Arm with the dot product instruction (Cortex-A55, A75 and later). */
#if defined(__clang__) /* compilers do not agree on a flag for it */
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("+dotprod")
#endif
#define ISA dotprod
#define FLOATS neon
#include "neon.h"

NEON_PRODUCTS(vdotq_s32)

#define PANELS(gates) ((gates) == 1 ? 4u : 1u)
#include "kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
