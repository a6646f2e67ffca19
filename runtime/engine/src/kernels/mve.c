/* Arm microcontrollers with Helium, the M-profile's vectors (Cortex-M55, M85). */
#define ISA mve
#define FLOATS plain
#define RW 16
#define RD 16
#define X_OFFSET 0
#include "types.h"
#include <arm_mve.h>
#include "arm_words.h"

#define HAS_WORDS
INLINE w16 load16(const int16_t *from) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)vldrhq_s16(from + 8 * i);
  return y;
}

INLINE void store16(int16_t *to, w16 x) { EACH_W(i) vstrhq_s16(to + 8 * i, WORDS(x, i)); }

INLINE w16 word(d16 x) { /* saturated; the narrow lanes go through memory, which orders them */
  int16_t to[16];
  EACH_D(i) {
    const int32x4_t v = vminq_s32(vmaxq_s32((int32x4_t)x.v[i], vdupq_n_s32(-32768)), vdupq_n_s32(32767));
    vstrhq_s32(to + 4 * i, v);
  }
  return load16(to);
}

INLINE d16 widened(w16 x) {
  int16_t from[16];
  d16 y;
  store16(from, x);
  EACH_D(i) y.v[i] = (double_register)vldrhq_s32(from + 4 * i);
  return y;
}

INLINE void store8(int8_t *to, w16 x) { EACH_W(i) vstrbq_s16(to + 8 * i, WORDS(x, i)); }

#define HAS_LOOKUP
INLINE w16 lookup(const coefficient *table, w16 index) {
  w16 y;
  EACH_W(i) y.v[i] = (word_register)vldrhq_gather_shifted_offset_s16(table->words, (uint16x8_t)index.v[i]);
  return y;
}

/* A row's weights stand in fours, `64 gates` bytes apart: 16 of them are gathered for one sum of 16 products. */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  const uint32_t apart = 64 * (uint32_t)gates;
  const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), apart);
  for (int i = 0; i < panels * gates; i++) {
    const int8_t *first = w + (uint32_t)(i / gates) * (uint32_t)panel_bytes + 64 * (i % gates);
    for (int k = 0; k < 4; k++) {
      const int8_t *row = first + 16 * k;
      int32_t a = acc[i].v[k][0], b = acc[i].v[k][1], c = acc[i].v[k][2], d = acc[i].v[k][3];
      for (uint32_t q = 0; q < quads; q += 4, row += 4 * apart) {
        const int8x16_t xs = vldrbq_s8(x + 4 * q);
#define GATHERED(n) (int8x16_t)vldrwq_gather_offset_s32((const int32_t *)(const void *)(row + 4 * (n)), offsets)
        a = vmladavaq_s8(a, GATHERED(0), xs);
        b = vmladavaq_s8(b, GATHERED(1), xs);
        c = vmladavaq_s8(c, GATHERED(2), xs);
        d = vmladavaq_s8(d, GATHERED(3), xs);
#undef GATHERED
      }
      acc[i].v[k] = (double_register){a, b, c, d};
    }
  }
}

#define PANELS(gates) 1u
#include "kernel.h"
