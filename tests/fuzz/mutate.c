/* libFuzzer's mutator that knows the file: it changes one section and lays out the others, their sizes and the counts
 * around it anew, so that most of what it makes comes past the first checks. */
#include "format.h"
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

enum { HEAD = sizeof(file_header) + SECTION_COUNT * sizeof(file_section), ROOM = 1 << 16 };

static const uint8_t record[SECTION_COUNT] = {sizeof(file_program), sizeof(file_port), sizeof(file_value), 4,
                                              sizeof(file_blob), 1, 1};

typedef struct {
  uint8_t *bytes[SECTION_COUNT];
  size_t size[SECTION_COUNT];
} parts;

static int split(parts *p, const uint8_t *data, size_t size) {
  if (size < HEAD) return 0;
  for (int i = 0; i < SECTION_COUNT; i++) {
    file_section s;
    memcpy(&s, data + sizeof(file_header) + (size_t)i * sizeof s, sizeof s);
    if (s.offset > size || s.size > size - s.offset || s.size > ROOM / 2) return 0;
    memcpy(p->bytes[i], data + s.offset, s.size);
    p->size[i] = s.size;
  }
  return 1;
}

/* One program's counts are what the tables hold. */
static void count(parts *p) {
  if (p->size[SECTION_PROGRAMS] != sizeof(file_program)) return;
  file_program *program = (void *)p->bytes[SECTION_PROGRAMS];
  program->ports = (uint32_t)(p->size[SECTION_PORTS] / sizeof(file_port));
  program->values = (uint32_t)(p->size[SECTION_VALUES] / sizeof(file_value));
  program->node_words = (uint32_t)(p->size[SECTION_NODES] / 4);
  if (program->inputs + program->outputs <= program->ports)
    program->states = program->ports - program->inputs - program->outputs;
}

/* Constants one behind the other, whatever their sizes have become. */
static void lay_out_blobs(parts *p) {
  file_blob *blob = (void *)p->bytes[SECTION_BLOBS];
  size_t n = p->size[SECTION_BLOBS] / sizeof *blob, end = 0, old_size = p->size[SECTION_DATA];
  uint8_t *data = calloc(1, ROOM), *old = p->bytes[SECTION_DATA];
  for (size_t i = 0; i < n; i++) {
    size_t start = (size_t)align_up(end);
    if (start > ROOM / 2 || blob[i].size > ROOM / 2 - start) break;
    if (blob[i].offset < old_size) {
      size_t have = old_size - (size_t)blob[i].offset;
      memcpy(data + start, old + blob[i].offset, have < blob[i].size ? have : (size_t)blob[i].size);
    }
    blob[i].offset = start;
    end = start + (size_t)blob[i].size;
  }
  p->size[SECTION_DATA] = n ? end + ERNN_SLACK : 0;
  memcpy(old, data, p->size[SECTION_DATA]);
  free(data);
}

static size_t join(const parts *p, uint8_t *data, size_t most) {
  size_t end = HEAD;
  for (int i = 0; i < SECTION_COUNT; i++) end = (size_t)align_up(end) + p->size[i];
  if (end > most) return 0;
  file_header h = {.magic = {'E', 'R', 'N', 'N'}, .format = ERNN_FORMAT, .generation = ERNN_GENERATION, .size = end,
                   .sections = SECTION_COUNT};
  memset(data, 0, end);
  memcpy(data, &h, sizeof h);
  end = HEAD;
  for (int i = 0; i < SECTION_COUNT; i++) {
    file_section s = {.kind = (uint32_t)i, .offset = align_up(end), .size = p->size[i]};
    memcpy(data + sizeof h + (size_t)i * sizeof s, &s, sizeof s);
    memcpy(data + s.offset, p->bytes[i], p->size[i]);
    end = (size_t)s.offset + p->size[i];
  }
  return end;
}

/* One word becomes a number at which something ends. */
static void change_word(uint8_t *bytes, size_t size) {
  static const uint32_t corners[] = {0, 1, 2, 3, 4, 15, 16, 17, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff, 0x40000000};
  if (size < 4) return;
  size_t at = (size_t)rand() % (size / 4) * 4;
  uint32_t word;
  memcpy(&word, bytes + at, 4);
  switch (rand() % 4) {
  case 0: word += 1; break;
  case 1: word -= 1; break;
  case 2: word ^= 1u << rand() % 32; break;
  default: word = corners[(size_t)rand() % (sizeof corners / sizeof *corners)];
  }
  memcpy(bytes + at, &word, 4);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  static const uint8_t often[] = {SECTION_PROGRAMS, SECTION_PORTS, SECTION_PORTS, SECTION_VALUES, SECTION_VALUES,
                                  SECTION_NODES, SECTION_NODES, SECTION_NODES, SECTION_NODES, SECTION_BLOBS,
                                  SECTION_BLOBS, SECTION_DATA, SECTION_TEXT};
  parts p;
  size_t made = 0;
  srand(seed);
  for (int i = 0; i < SECTION_COUNT; i++) p.bytes[i] = calloc(1, ROOM);
  if (seed % 16 && split(&p, data, size)) {
    for (int changes = 1 + rand() % 3; changes; changes--) {
      int section = often[(size_t)rand() % sizeof often];
      if (rand() % 4)
        change_word(p.bytes[section], p.size[section]);
      else
        p.size[section] = LLVMFuzzerMutate(p.bytes[section], p.size[section], ROOM / 2) / record[section] * record[section];
    }
    count(&p);
    lay_out_blobs(&p);
    made = join(&p, data, most);
  }
  for (int i = 0; i < SECTION_COUNT; i++) free(p.bytes[i]);
  return made ? made : LLVMFuzzerMutate(data, size, most);
}
