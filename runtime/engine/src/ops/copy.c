/* The operation that moves elements, and the one way in which a run of bytes is moved. Both count: a convolution's
 * patches are thousands of short rows. */
#include "edgernn.h"
#include "portable.h"

typedef uint8_t block __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t word64 __attribute__((aligned(1), may_alias));
typedef uint32_t word32 __attribute__((aligned(1), may_alias));

void ernn_move(void *to, const void *from, uint64_t size) {
  uint8_t *a = to;
  const uint8_t *b = from;
  for (; size >= 16; size -= 16, a += 16, b += 16) *(block *)a = *(const block *)b;
  if (size >= 8) {
    *(word64 *)a = *(const word64 *)b;
    size -= 8, a += 8, b += 8;
  }
  if (size >= 4) {
    *(word32 *)a = *(const word32 *)b;
    size -= 4, a += 4, b += 4;
  }
  for (; size; size--) *a++ = *b++;
}

/* Rows of elements; steps are in bytes. */
typedef struct {
  uint8_t *to;
  const uint8_t *from;
  uint64_t rows, to_row, from_row, count, to_step, from_step;
} plane;

static void move_rows(plane p, uint64_t each) {
  for (; p.rows; p.rows--, p.to += p.to_row, p.from += p.from_row) ernn_move(p.to, p.from, p.count * each);
}

#define MOVE_ELEMENTS(type)                                                                    \
  static void move_##type(plane p) {                                                           \
    for (; p.rows; p.rows--, p.to += p.to_row, p.from += p.from_row) {                         \
      uint8_t *a = p.to;                                                                       \
      const uint8_t *b = p.from;                                                               \
      for (uint64_t i = p.count; i; i--, a += p.to_step, b += p.from_step)                     \
        *(type *)(void *)a = *(const type *)(const void *)b;                                   \
    }                                                                                          \
  }
MOVE_ELEMENTS(uint8_t)
MOVE_ELEMENTS(uint16_t)
MOVE_ELEMENTS(uint32_t)
MOVE_ELEMENTS(uint64_t)

static void move_plane(plane p, uint64_t each) {
  if (p.to_step == each && p.from_step == each)
    move_rows(p, each);
  else if (each == 1)
    move_uint8_t(p);
  else if (each == 2)
    move_uint16_t(p);
  else if (each == 4)
    move_uint32_t(p);
  else
    move_uint64_t(p);
}

void ernn_copy(ernn_node *node) {
  const copy_attr *a = (const void *)node->attr;
  const uint64_t each = dtype_size(*node->in_dtype[0]);
  uint64_t to = a->to_start * each, from = a->from_start * each;
  uint32_t outer = a->rank, at[MAX_RANK] = {0};
  plane p = {.rows = 1, .count = 1, .to_step = each, .from_step = each};
  if (outer) {
    outer--;
    p.count = a->dims[outer], p.to_step = a->to[outer] * each, p.from_step = a->from[outer] * each;
  }
  if (outer) {
    outer--;
    p.rows = a->dims[outer], p.to_row = a->to[outer] * each, p.from_row = a->from[outer] * each;
  }
  for (;;) {
    p.to = (uint8_t *)node->out[0] + to, p.from = (const uint8_t *)node->in[0] + from;
    move_plane(p, each);
    uint32_t i = outer;
    for (; i; at[--i] = 0) { /* the next plane: one further on an axis, and back to the start of those inside it */
      to += a->to[i - 1] * each, from += a->from[i - 1] * each;
      if (++at[i - 1] < a->dims[i - 1]) break;
      to -= a->dims[i - 1] * each * a->to[i - 1], from -= a->dims[i - 1] * each * a->from[i - 1];
    }
    if (!i) return;
  }
}
