/* An opened file's programs, and how a stream's memory is laid out. */
#ifndef ERNN_MODEL_H
#define ERNN_MODEL_H
#include "edgernn.h"
#include "node.h"

typedef struct {
  const file_program *program;
  const file_port *ports;
  const file_value *values;
  const uint32_t *nodes;
} program_view;

/* Offsets in a stream's memory. `total` is 0 where it would be larger than the address space. */
typedef struct {
  uint64_t nodes, arena, own, scratch, total;
} memory_layout;

int ernn_program_at(const ernn_model *m, uint32_t index, program_view *view);
void ernn_next_program(program_view *view);
/* Read the node at word `*at` and move behind it. */
ernn_status ernn_next_node(const program_view *view, uint32_t *at, node_view *node);
/* At least as many elementary operations as a step takes: products, elements moved or compared. */
uint64_t ernn_node_work(const node_view *node);
uint64_t ernn_program_work(const program_view *view);
memory_layout ernn_stream_layout(const program_view *view);
const ernn_isa *ernn_find_isa(const char *name);
#endif
