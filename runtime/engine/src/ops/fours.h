/* Four floats at a time, in plain C: what every CPU's vectors hold. */
#ifndef ERNN_FOURS_H
#define ERNN_FOURS_H
#include "../functions.h"

typedef float fours __attribute__((vector_size(16)));
typedef int32_t masks __attribute__((vector_size(16)));
typedef fours loose_fours __attribute__((aligned(4)));

INLINE fours load4(const float *from) { return *(const loose_fours *)from; }
INLINE void store4(float *to, fours x) { *(loose_fours *)to = x; }
INLINE fours all4(float x) { return x - (fours){0}; }

/* Subnormals are zeros of their sign. */
INLINE fours flush4(fours x) {
  const masks u = (masks)x, subnormal = (u & 0x7fffffff) < 0x00800000;
  return (fours)(u & ~(subnormal & 0x7fffffff));
}
#endif
