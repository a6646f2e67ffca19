/* Files, memory, and the end when something goes wrong. */
#include "runner.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fail(const char *place, const char *cause) {
  fflush(stdout);
  fprintf(stderr, "error: %s: %s\n", place, cause);
  exit(1);
}

_Noreturn void fail_usage(const char *cause) {
  fprintf(stderr, "error: %s\n", cause);
  exit(2);
}

void *allocate(size_t size) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, size ? size : 1)) fail("memory", "there is not enough of it");
  memset(memory, 0, size);
  return memory;
}

void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, strerror(errno));
  long end = -1;
  if (!fseek(file, 0, SEEK_END)) end = ftell(file);
  if (end < 0) fail(path, "cannot be read");
  rewind(file);
  *size = (size_t)end;
  void *bytes = allocate(*size);
  if (fread(bytes, 1, *size, file) != *size) fail(path, "cannot be read");
  fclose(file);
  return bytes;
}

const char *first_line(const char *path, char *room, size_t size) {
  FILE *file = fopen(path, "r");
  room[0] = 0;
  if (!file) return room;
  if (!fgets(room, (int)size, file)) room[0] = 0;
  fclose(file);
  room[strcspn(room, "\n")] = 0;
  return room;
}
