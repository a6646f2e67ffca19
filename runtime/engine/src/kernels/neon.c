/* Arm with NEON. */
#define ISA neon
#define FLOATS neon
#include "neon.h"

INLINE int32x4_t add_fours(int32x4_t total, int8x16_t w, int8x16_t x) { /* pairs stay inside 16 bits */
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_s8(vget_high_s8(w), vget_high_s8(x));
#ifdef __aarch64__
  return vpadalq_s16(total, vpaddq_s16(low, high));
#else
  const int16x8_t pairs = vcombine_s16(vpadd_s16(vget_low_s16(low), vget_high_s16(low)),
                                       vpadd_s16(vget_low_s16(high), vget_high_s16(high)));
  return vpadalq_s16(total, pairs);
#endif
}
NEON_PRODUCTS(add_fours)

#define PANELS(gates) 1u /* registers are few */
#include "kernel.h"
