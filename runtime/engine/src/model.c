/* What an opened model tells about itself. */
#include "model.h"

void ernn_next_program(program_view *view) {
  view->ports += view->program->ports;
  view->values += view->program->values;
  view->nodes += view->program->node_words;
  view->program++;
}

int ernn_program_at(const ernn_model *m, uint32_t index, program_view *view) {
  if (index >= ernn_model_programs(m)) return 0;
  *view = (program_view){m->section[SECTION_PROGRAMS], m->section[SECTION_PORTS], m->section[SECTION_VALUES],
                         m->section[SECTION_NODES]};
  while (index--) ernn_next_program(view);
  return 1;
}

uint32_t ernn_model_programs(const ernn_model *m) {
  return (uint32_t)(m->bytes[SECTION_PROGRAMS] / sizeof(file_program));
}

static const char *text(const ernn_model *m, file_text t, size_t *size) {
  *size = t.size;
  return (const char *)m->section[SECTION_TEXT] + t.offset;
}

ernn_status ernn_model_find(const ernn_model *m, const char *name, size_t name_size, uint32_t *program) {
  const file_program *p = m->section[SECTION_PROGRAMS];
  for (uint32_t i = 0; i < ernn_model_programs(m); i++) {
    size_t size, same = 0;
    const char *other = text(m, p[i].name, &size);
    if (size != name_size) continue;
    while (same < size && other[same] == name[same]) same++;
    if (same == size) return *program = i, ERNN_OK;
  }
  return ERNN_NO_PROGRAM;
}

static uint32_t first_port(const file_program *p, ernn_kind kind, uint32_t *count) {
  *count = kind == ERNN_INPUT ? p->inputs : kind == ERNN_OUTPUT ? p->outputs : p->states;
  return kind == ERNN_INPUT ? 0 : kind == ERNN_OUTPUT ? p->inputs : p->inputs + p->outputs;
}

uint32_t ernn_model_ports(const ernn_model *m, uint32_t program, ernn_kind kind) {
  program_view view;
  uint32_t count = 0;
  if (ernn_program_at(m, program, &view)) first_port(view.program, kind, &count);
  return count;
}

ernn_status ernn_model_port(const ernn_model *m, uint32_t program, ernn_kind kind, uint32_t index, ernn_port *port) {
  program_view view;
  uint32_t count;
  if (!ernn_program_at(m, program, &view)) return ERNN_NO_PROGRAM;
  const file_port *p = view.ports + first_port(view.program, kind, &count) + index;
  if (index >= count) return ERNN_PORTS;
  const file_value *v = view.values + p->value;
  port->name = text(m, p->name, &port->name_size);
  port->dtype = (ernn_dtype)v->dtype;
  port->rank = p->rank;
  for (uint32_t i = 0; i < 8; i++) port->dims[i] = p->dims[i];
  port->bytes = (size_t)v->count * dtype_size(v->dtype);
  port->period = p->period;
  port->offset = p->offset;
  port->group = p->group;
  port->extra = p->extra;
  port->delay = p->delay;
  return ERNN_OK;
}

uint32_t ernn_model_hop(const ernn_model *m, uint32_t program) {
  program_view view;
  return ernn_program_at(m, program, &view) ? view.program->hop : 0;
}

uint64_t ernn_model_work(const ernn_model *m, uint32_t program) {
  program_view view;
  return ernn_program_at(m, program, &view) ? ernn_program_work(&view) : 0;
}

uint64_t ernn_model_fingerprint(const ernn_model *m) { return ((const file_header *)(const void *)m->data)->fingerprint; }

const char *ernn_model_spec(const ernn_model *m, uint32_t program, size_t *size) {
  program_view view;
  return ernn_program_at(m, program, &view) ? text(m, view.program->spec, size) : (void *)(*size = 0, NULL);
}

const char *ernn_model_summary(const ernn_model *m, uint32_t program, size_t *size) {
  program_view view;
  return ernn_program_at(m, program, &view) ? text(m, view.program->summary, size) : (void *)(*size = 0, NULL);
}

const char *ernn_status_text(ernn_status status) {
  static const char *const texts[] = {
      [ERNN_OK] = "no error",
      [ERNN_ALIGNMENT] = "memory is not 64-byte aligned",
      [ERNN_TRUNCATED] = "the file is truncated",
      [ERNN_MAGIC] = "the file is no .ernn file",
      [ERNN_NEWER] = "the file needs a newer engine",
      [ERNN_HEADER] = "the file's header is malformed",
      [ERNN_SECTIONS] = "the file's sections overlap, leave a gap or are of an unknown kind",
      [ERNN_PADDING] = "a byte between the file's parts is not zero",
      [ERNN_BLOBS] = "the file's constants do not fill its data section",
      [ERNN_PROGRAMS] = "the file's programs do not cover its tables",
      [ERNN_TEXT] = "a text lies outside the file's texts",
      [ERNN_VALUES] = "a value has an unknown dtype or lies outside its memory",
      [ERNN_PORTS] = "an input, output or state is inconsistent",
      [ERNN_NODES] = "an operation's record is malformed",
      [ERNN_OPCODE] = "an operation is of an unknown kind",
      [ERNN_OPERANDS] = "an operation's operands do not fit it",
      [ERNN_ARENA] = "the working memory would be larger than the address space",
      [ERNN_WORK] = "a step or the test vectors would take more operations than any model's",
      [ERNN_NO_PROGRAM] = "no such program",
      [ERNN_NO_ISA] = "this CPU or this build does not have that instruction set",
      [ERNN_MEMORY] = "the stream's memory is too small",
      [ERNN_INDEX] = "an index points outside its table",
      [ERNN_FLUSHED] = "the sequence was ended",
      [ERNN_WAITING] = "pushed frames wait for the rest of their hop",
      [ERNN_RATES] = "process needs one input and one output of equal rates",
      [ERNN_STATE] = "the saved state is damaged",
      [ERNN_OTHER_MODEL] = "the saved state belongs to another model",
      [ERNN_VECTORS] = "the outputs on the file's own test vectors differ from those of its maker",
  };
  return (unsigned)status < ERNN_STATUS_COUNT ? texts[status] : "unknown status";
}
