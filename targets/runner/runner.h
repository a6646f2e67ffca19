/* What ernn_run and ernn_bench share: files, the model and its contract, JSON, a hash. Whatever goes wrong ends the
 * program with status 1 and a sentence on stderr. */
#ifndef ERNN_RUNNER_H
#define ERNN_RUNNER_H
#include "edgernn.h"
#include "sha256.h"
#include <stdio.h>

/* files.c */
_Noreturn void fail(const char *place, const char *cause);
_Noreturn void fail_usage(const char *cause);
/* Zeroed memory at a 64-byte boundary. */
void *allocate(size_t size);
void *read_file(const char *path, size_t *size);
/* The first line of a file without its end, "" when it can't be read. */
const char *first_line(const char *path, char *room, size_t size);

/* model.c: an opened file of one program, and a stream of it */
typedef struct {
  ernn_port port;
  const char *name; /* as it stands in JSON, with its quotes */
  size_t name_size;
  double rate;       /* frames per second; 0: not known */
  uint32_t rank;     /* of a frame */
  uint32_t frame[8]; /* its dimensions, without the batch axis */
  size_t elements, bytes; /* of a frame */
} port_info;

typedef struct {
  ernn_model model;
  ernn_stream *stream;
  const char *spec; /* the contract */
  uint32_t hop, inputs, outputs;
  port_info *input, *output;
} loaded;

/* `isa` NULL: what ERNN_ISA says, or the best. */
void load(loaded *l, const char *path, const char *isa);
size_t element_size(ernn_dtype dtype);

/* json.c: texts are those that the exporter wrote, sorted and without spaces, and end with a zero */
const char *json_member(const char *object, const char *key); /* the value; NULL: there is none */
const char *json_item(const char *array, uint32_t index);
const char *json_skip(const char *value); /* what follows it */
void print_string(const char *text);
void print_double(double x); /* as Python prints it: the fewest digits that read back as x; null when it is not finite */
double rounded(double x, int decimals);
#endif
