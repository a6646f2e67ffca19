/* What lies in a .ernn file; FORMAT.md draws it. All integers are little-endian; records hold no padding. */
#ifndef ERNN_FORMAT_H
#define ERNN_FORMAT_H
#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are used in place, and they are little-endian"
#endif

#define ERNN_FORMAT 1u     /* layout of the file */
#define ERNN_GENERATION 1u /* operations and their arithmetic */
#define ERNN_STATE_FORMAT 1u
#define ERNN_ALIGN 64u
#define ERNN_NONE 0xffffffffu
#define ERNN_MOST_WORK ((uint64_t)1 << 36) /* operations of a step, and of the test vectors: minutes */
#define ERNN_MOST_STEPS 65536u             /* of test vectors */
#define ERNN_SLACK 64u /* bytes behind every value that a kernel may read and write */

enum { SECTION_PROGRAMS, SECTION_PORTS, SECTION_VALUES, SECTION_NODES, SECTION_BLOBS, SECTION_DATA, SECTION_TEXT,
       SECTION_COUNT };

typedef struct {
  char magic[4];
  uint16_t format, generation; /* generation: the oldest engine that computes it */
  uint64_t size;
  uint64_t fingerprint; /* first 8 bytes of the SHA-256 of all sections but the texts */
  uint32_t sections, reserved[9];
} file_header;

typedef struct {
  uint32_t kind, reserved;
  uint64_t offset, size;
} file_section;

typedef struct {
  uint32_t offset, size;
} file_text;

typedef struct {
  file_text name, spec, summary;
  uint32_t inputs, outputs, states;
  uint32_t ports, values, node_words, nodes; /* how many of the tables' entries are this program's, in order */
  uint32_t left;                             /* value that holds the frames to the end, or ERNN_NONE */
  uint32_t hop, exact, vector_steps, reserved;
  uint64_t arena, vector_seed, vector_hash;
} file_program;

typedef struct {
  uint32_t kind, value;
  uint32_t next; /* states: the value that holds the next state */
  uint32_t init; /* states: the constant of the initial state, or ERNN_NONE for zeros */
  file_text name;
  uint32_t rank, dims[8];
  uint32_t period;
  int32_t offset;
  uint32_t delay;
  float low, high; /* inputs: range of the test vectors */
  uint32_t group;  /* T input frames have (T + offset) / period * group + extra frames */
  int32_t extra;
} file_port;

typedef struct {
  uint32_t dtype;
  uint32_t constant; /* a blob's number, or ERNN_NONE: in the arena */
  uint64_t offset;   /* in the arena */
  uint64_t count;    /* elements */
} file_value;

typedef struct {
  uint64_t offset, size;
} file_blob;

/* A saved state: this, then the values of the ports that are no constants, in order. */
typedef struct {
  char magic[4]; /* "RNES" */
  uint16_t format, flushed;
  uint32_t program, held; /* held: input frames that wait for the rest of their hop */
  uint64_t size, fingerprint;
  uint64_t steps, taken; /* taken: input frames of the sequence, once it was ended */
  uint64_t hash;         /* FNV-1a 64 of everything, itself taken as zero */
} state_header;

_Static_assert(sizeof(file_header) == 64 && sizeof(file_section) == 24 && sizeof(file_program) == 96 &&
                   sizeof(file_port) == 88 && sizeof(file_value) == 24 && sizeof(file_blob) == 16 && sizeof(state_header) == 56,
               "records are as FORMAT.md draws them");

/* A node is words: opcode | operands << 16 | results << 24, number of attributes, operands, results, attributes. */

static inline uint64_t align_up(uint64_t n) { return (n + (ERNN_ALIGN - 1)) & ~(uint64_t)(ERNN_ALIGN - 1); }

static inline uint64_t fnv1a(uint64_t hash, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
  return hash;
}
#define FNV_START 0xcbf29ce484222325u

static inline uint32_t dtype_size(uint32_t dtype) {
  static const uint8_t sizes[] = {4, 8, 4, 2, 1, 1, 1};
  return dtype < sizeof sizes ? sizes[dtype] : 0;
}
#endif
