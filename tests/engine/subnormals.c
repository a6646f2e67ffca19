/* subnormals MODEL: the file's own test vectors on every instruction set, with subnormal numbers as the CPU has them and
 * flushed to zero, as audio hosts set it. Prints what differs. */
#include "edgernn.h"
#include <immintrin.h>
#include <stdio.h>

enum { PLAIN = 0x1f80, FLUSHED = 0x9fc0 }; /* results (bit 15) and operands (bit 6) flushed */

int main(int count, char **words) {
  static _Alignas(64) uint8_t file[1 << 20], memory[1 << 22];
  FILE *f = count == 2 ? fopen(words[1], "rb") : NULL;
  const size_t size = f ? fread(file, 1, sizeof file, f) : 0;
  ernn_model model;
  if (ernn_model_open(&model, file, size)) return 2;
  int wrong = 0;
  for (uint32_t i = 0; ernn_isa_name(i); i++) {
    if (!ernn_isa_usable(ernn_isa_name(i))) continue;
    for (int flushed = 0; flushed < 2; flushed++) {
      _mm_setcsr(flushed ? FLUSHED : PLAIN);
      const ernn_status status = ernn_selftest(&model, 0, memory, sizeof memory, ernn_isa_name(i));
      _mm_setcsr(PLAIN);
      if (!status) continue;
      printf("%s%s: %s\n", ernn_isa_name(i), flushed ? ", flushed" : "", ernn_status_text(status));
      wrong = 1;
    }
  }
  return wrong;
}
