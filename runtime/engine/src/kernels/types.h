/* 16 numbers at a time, in as many registers as an instruction set needs: it defines RW and RD, the bytes of its registers
 * of int16 and of int32 or float, before it includes this file. */
#ifndef ERNN_TYPES_H
#define ERNN_TYPES_H
#include "../functions.h"
#include "tables.h"

typedef int16_t word_register __attribute__((vector_size(RW)));
typedef int32_t double_register __attribute__((vector_size(RD)));
typedef float float_register __attribute__((vector_size(RD)));

typedef struct {
  word_register v[32 / RW];
} w16; /* int16, in the order that `word` leaves them in */
typedef struct {
  double_register v[64 / RD];
} d16; /* int32 */
typedef struct {
  float_register v[64 / RD];
} f16; /* float32 */

#if defined(__clang__) || defined(PLAIN_C)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The same number, of which the compiler knows nothing: it would write a loop's body once for each count that it can tell. */
INLINE uint32_t any(uint32_t count) {
  __asm__("" : "+r"(count));
  return count;
}

#define EACH_W(i) UNROLL for (int i = 0; i < 32 / RW; i++)
#define EACH_D(i) UNROLL for (int i = 0; i < 64 / RD; i++)
#ifndef GATE
#define GATE INLINE /* where registers are few, one copy serves as well */
#endif
#endif
