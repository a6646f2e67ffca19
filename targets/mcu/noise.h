/* Numbers that a step can be fed with where its results do not matter. */
#ifndef ERNN_NOISE_H
#define ERNN_NOISE_H
#include "edgernn.h"

static float noise(void) { /* in [-1, 1), as ernn_bench has it */
  static uint32_t x = 7;
  x ^= x << 13, x ^= x >> 17, x ^= x << 5;
  return (float)(x >> 8) * 0x1p-23f - 1.0f;
}

/* Fill all float inputs of program 0; other dtypes stay 0, an index that every table has. */
static void feed_noise(const ernn_model *model, ernn_stream *stream) {
  for (uint32_t i = 0; i < ernn_model_ports(model, 0, ERNN_INPUT); i++) {
    ernn_port port;
    ernn_model_port(model, 0, ERNN_INPUT, i, &port);
    float *x = ernn_input(stream, i);
    for (uint32_t k = 0; port.dtype == ERNN_FLOAT32 && k < port.bytes / sizeof *x; k++) x[k] = noise();
  }
}
#endif
