/* steps MODEL INPUT OUTPUT ISA: run a stream over INPUT, the raw inputs of one step after the other, and write the outputs
 * of each step to OUTPUT. ISA may be `-` for the best. Exit 3: this CPU or build does not have it. */
#include "edgernn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *aligned(size_t size) {
  void *room = malloc(size + 64);
  return (void *)(((uintptr_t)room + 63) & ~(uintptr_t)63);
}

static uint8_t *whole_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) exit(1);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = aligned(*size);
  if (fread(bytes, 1, *size, file) != *size) exit(1);
  fclose(file);
  return bytes;
}

int main(int count, char **words) {
  if (count != 5) return 2;
  size_t size, length;
  uint8_t *file = whole_file(words[1], &size), *frames = whole_file(words[2], &length);
  ernn_model model;
  ernn_status status = ernn_model_open(&model, file, size);
  ernn_stream *stream;
  const ernn_options options = {strcmp(words[4], "-") ? words[4] : NULL, 1};
  const size_t bytes = ernn_stream_size(&model, 0);
  if (!status) status = ernn_stream_init(&stream, &model, 0, aligned(bytes), bytes, &options);
  if (status) {
    fprintf(stderr, "%s\n", ernn_status_text(status));
    return status == ERNN_NO_ISA ? 3 : 1;
  }
  FILE *out = fopen(words[3], "wb");
  const uint32_t inputs = ernn_model_ports(&model, 0, ERNN_INPUT), outputs = ernn_model_ports(&model, 0, ERNN_OUTPUT);
  for (size_t at = 0; at < length;) {
    for (uint32_t i = 0; i < inputs; i++) {
      ernn_port port;
      ernn_model_port(&model, 0, ERNN_INPUT, i, &port);
      if (at + port.bytes > length) return 1;
      memcpy(ernn_input(stream, i), frames + at, port.bytes);
      at += port.bytes;
    }
    if (ernn_step(stream)) return 1;
    for (uint32_t i = 0; i < outputs; i++) {
      ernn_port port;
      ernn_model_port(&model, 0, ERNN_OUTPUT, i, &port);
      fwrite(ernn_output(stream, i), 1, port.bytes, out);
    }
  }
  return fclose(out) != 0;
}
