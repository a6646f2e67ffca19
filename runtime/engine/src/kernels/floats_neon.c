/* Arm with NEON. */
#define FLOATS neon
#define RW 16
#define RD 16
#include "types.h"
#include <arm_neon.h>

#ifdef __aarch64__
#define HAS_FMA
INLINE f16 fma_floats(f16 total, float x, f16 w) {
  EACH_D(i) total.v[i] = (float_register)vfmaq_n_f32((float32x4_t)total.v[i], (float32x4_t)w.v[i], x);
  return total;
}
#endif

#include "floats.h"
