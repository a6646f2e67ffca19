/* Steps on int16 by the instructions that NEON and Helium call the same; behind the header of either. */
#define WORDS(x, i) ((int16x8_t)(x).v[i])

#define HAS_MULHRS
INLINE w16 mulhrs(w16 a, w16 b) {
  EACH_W(i) a.v[i] = (word_register)vqrdmulhq_s16(WORDS(a, i), WORDS(b, i));
  return a;
}

#define HAS_ADDS
INLINE w16 adds(w16 a, w16 b) {
  EACH_W(i) a.v[i] = (word_register)vqaddq_s16(WORDS(a, i), WORDS(b, i));
  return a;
}

#define HAS_SIZES
INLINE w16 sizes(w16 x) {
  EACH_W(i) x.v[i] = (word_register)vqabsq_s16(WORDS(x, i));
  return x;
}

#define HAS_WORD_CLAMP
INLINE w16 clamp16(w16 x, int16_t low, int16_t high) {
  EACH_W(i) x.v[i] = (word_register)vminq_s16(vmaxq_s16(WORDS(x, i), vdupq_n_s16(low)), vdupq_n_s16(high));
  return x;
}
