/* Products of 256-bit registers. `ADD_FOURS(total, w, x, size)` adds to each 32-bit lane the products of its 4 bytes;
 * `SIZE_OF(x)` is what it needs once for all weights. */
INLINE void add_products(d16 *acc, const int8_t *w, const int gates, const int panels, uint64_t panel_bytes,
                         const int8_t *x, uint32_t quads) {
  for (uint32_t q = 0; q < quads; q++, w += 64 * gates, x += 4) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    const __m256i xs = _mm256_set1_epi32(four), size = SIZE_OF(xs);
    (void)size;
    UNROLL for (int i = 0; i < panels * gates; i++) {
      const int8_t *at = w + (uint64_t)(i / gates) * panel_bytes + 64 * (i % gates);
      EACH_D(k) {
        __m256i weights = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32 * k));
        acc[i].v[k] = (double_register)ADD_FOURS((__m256i)acc[i].v[k], weights, xs, size);
      }
    }
  }
}
