/* SHA-256 (FIPS 180-4), without a C library. */
#ifndef ERNN_SHA256_H
#define ERNN_SHA256_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t state[8];
  uint64_t size;
  uint8_t block[64];
} sha256;
void sha256_start(sha256 *h);
void sha256_add(sha256 *h, const void *data, size_t size);
void sha256_end(sha256 *h, char text[65]); /* hexadecimal digits and a zero */
#endif
