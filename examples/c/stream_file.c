/* Frames from a file, in pieces of any size, through a model of one input and one output; the output's frames to stdout.
 *
 *     stream_file model.ernn frames.raw > outputs.raw
 *
 * Both are raw little-endian elements, frame by frame, of the dtypes that the model has (mostly float32). */
#include <edgernn.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 100 }; /* frames at a time: nothing depends on it */

static int fail(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  return 1;
}

/* 64-byte aligned memory, as files and streams ask for. */
static void *allocate(size_t size) { return aligned_alloc(64, (size + 63) / 64 * 64); }

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = allocate(*size);
  if (bytes && fread(bytes, 1, *size, file) != *size) {
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  return bytes;
}

int main(int count, char **arguments) {
  if (count != 3) return fail("usage", "stream_file model.ernn frames.raw > outputs.raw");

  size_t file_size;
  void *file = read_file(arguments[1], &file_size); /* must outlive the model */
  if (!file) return fail(arguments[1], "cannot be read");
  ernn_model model;
  ernn_status status = ernn_model_open(&model, file, file_size);
  if (status) return fail(arguments[1], ernn_status_text(status));
  if (ernn_model_ports(&model, 0, ERNN_INPUT) != 1 || ernn_model_ports(&model, 0, ERNN_OUTPUT) != 1)
    return fail(arguments[1], "has several inputs or outputs");
  ernn_port x, y;
  ernn_model_port(&model, 0, ERNN_INPUT, 0, &x);
  ernn_model_port(&model, 0, ERNN_OUTPUT, 0, &y);
  uint32_t hop = ernn_model_hop(&model, 0);
  size_t x_frame = x.bytes / hop, y_frame = y.bytes / y.dims[0];

  size_t stream_size = ernn_stream_size(&model, 0);
  void *memory = allocate(stream_size);
  ernn_stream *stream;
  status = memory ? ernn_stream_init(&stream, &model, 0, memory, stream_size, NULL) : ERNN_MEMORY;
  if (status) return fail("stream", ernn_status_text(status));
  fprintf(stderr, "%.*s -> %.*s, %u frames a step, %zu bytes of stream, %s\n", (int)x.name_size, x.name, (int)y.name_size,
          y.name, (unsigned)hop, stream_size, ernn_stream_isa(stream));

  FILE *frames = fopen(arguments[2], "rb");
  if (!frames) return fail(arguments[2], "cannot be read");
  void *in = malloc(PIECE * x_frame);
  void *out = malloc(((PIECE + hop - 1) / hop) * y.bytes); /* (held + frames) / hop steps, held < hop */
  if (!in || !out) return fail("frames", "no memory");
  size_t given, got, total = 0;
  while ((given = fread(in, x_frame, PIECE, frames)) > 0) {
    const void *inputs[] = {in};
    void *outputs[] = {out};
    status = ernn_push(stream, inputs, given, outputs, &got);
    if (status) return fail("push", ernn_status_text(status));
    total += fwrite(out, y_frame, got, stdout);
  }
  for (;;) { /* what a whole-sequence run would still give */
    void *outputs[] = {out};
    status = ernn_flush(stream, outputs, &got);
    if (status == ERNN_FLUSHED) break;
    if (status) return fail("flush", ernn_status_text(status));
    total += fwrite(out, y_frame, got, stdout);
  }
  fprintf(stderr, "%zu frames\n", total);
  fclose(frames);
  free(in);
  free(out);
  free(memory);
  free(file);
  return 0;
}
