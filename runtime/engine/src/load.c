/* Check a file: after ernn_model_open gives ERNN_OK nothing in it can lead a stream outside its memory. */
#include "model.h"

static int zero(const uint8_t *at, const uint8_t *end) {
  while (at < end)
    if (*at++) return 0;
  return 1;
}

static ernn_status sections(ernn_model *m) {
  static const uint8_t record[SECTION_COUNT] = {sizeof(file_program), sizeof(file_port), sizeof(file_value), 4,
                                                sizeof(file_blob), 1, 1};
  const file_header *h = (const void *)m->data;
  const file_section *table = (const void *)(h + 1);
  uint64_t end = sizeof *h + SECTION_COUNT * sizeof *table;
  if (h->sections != SECTION_COUNT) return ERNN_SECTIONS;
  if (m->size < end) return ERNN_TRUNCATED;
  for (uint32_t i = 0; i < SECTION_COUNT; i++) {
    const file_section *s = table + i;
    if (s->kind != i || s->reserved || s->offset != align_up(end)) return ERNN_SECTIONS;
    if (s->offset > m->size || s->size > m->size - s->offset || s->size % record[i]) return ERNN_SECTIONS;
    if (!zero(m->data + end, m->data + s->offset)) return ERNN_PADDING;
    m->section[i] = m->data + s->offset;
    m->bytes[i] = s->size;
    end = s->offset + s->size;
  }
  return end == m->size ? ERNN_OK : ERNN_SECTIONS;
}

static ernn_status blobs(const ernn_model *m) {
  const file_blob *blob = m->section[SECTION_BLOBS];
  const uint8_t *data = m->section[SECTION_DATA];
  uint64_t end = 0, size = m->bytes[SECTION_DATA];
  for (uint64_t i = 0; i < m->bytes[SECTION_BLOBS] / sizeof *blob; i++) {
    if (blob[i].offset != align_up(end) || blob[i].offset > size || blob[i].size > size - blob[i].offset)
      return ERNN_BLOBS;
    if (!zero(data + end, data + blob[i].offset)) return ERNN_PADDING;
    end = blob[i].offset + blob[i].size;
  }
  if (end > size || size - end != (size ? ERNN_SLACK : 0)) return ERNN_BLOBS; /* kernels read past the last one */
  return zero(data + end, data + size) ? ERNN_OK : ERNN_PADDING;
}

static int text_fits(const ernn_model *m, file_text t) {
  return t.offset <= m->bytes[SECTION_TEXT] && t.size <= m->bytes[SECTION_TEXT] - t.offset;
}

static int value_fits(const ernn_model *m, const file_program *p, const file_value *v) {
  uint64_t each = dtype_size(v->dtype);
  if (!each || v->count > UINT32_MAX) return 0;
  if (v->constant == ERNN_NONE)
    return v->offset % ERNN_ALIGN == 0 && v->offset <= p->arena && v->count * each <= p->arena - v->offset &&
           p->arena - v->offset - v->count * each >= ERNN_SLACK;
  const file_blob *blob = m->section[SECTION_BLOBS];
  return v->offset == 0 && v->constant < m->bytes[SECTION_BLOBS] / sizeof *blob &&
         blob[v->constant].size == v->count * each;
}

static int port_fits(const ernn_model *m, const program_view *view, const file_port *port, uint32_t kind) {
  const file_program *p = view->program;
  if (port->kind != kind || port->value >= p->values || port->rank > 8) return 0;
  if (kind != ERNN_OUTPUT && (port->group || port->extra)) return 0;
  if (!text_fits(m, port->name)) return 0;
  const file_value *v = view->values + port->value;
  uint64_t count = 1;
  for (uint32_t i = 0; i < 8; i++) {
    uint32_t dim = port->dims[i];
    if (i >= port->rank ? dim != 0 : (count *= dim) > UINT32_MAX) return 0;
  }
  if (count != v->count) return 0;
  if (kind == ERNN_OUTPUT)
    return port->rank && port->dims[0] && port->period && port->next == ERNN_NONE && port->init == ERNN_NONE &&
           (uint64_t)port->dims[0] * port->period == (uint64_t)p->hop * port->group && p->hop % port->period == 0 &&
           port->delay < (1u << 30) && port->offset > -(1 << 30) && port->offset < (1 << 30) &&
           port->extra > -(1 << 30) && port->extra < (1 << 30);
  if (v->constant != ERNN_NONE) return 0;
  if (kind == ERNN_INPUT)
    return port->rank && port->dims[0] == p->hop && port->next == ERNN_NONE && port->init == ERNN_NONE;
  if (port->next >= p->values) return 0;
  const file_value *next = view->values + port->next;
  if (next->count != v->count || next->dtype != v->dtype) return 0;
  const file_blob *blob = m->section[SECTION_BLOBS];
  return port->init == ERNN_NONE || (port->init < m->bytes[SECTION_BLOBS] / sizeof *blob &&
                                     blob[port->init].size == v->count * dtype_size(v->dtype));
}

ernn_status ernn_next_node(const program_view *view, uint32_t *at, node_view *node) {
  const file_program *p = view->program;
  uint32_t left = p->node_words - *at;
  if (left < 2) return ERNN_NODES;
  const uint32_t *word = view->nodes + *at;
  *node = (node_view){.opcode = word[0] & 0xffff, .ins = word[0] >> 16 & 255, .outs = word[0] >> 24, .attrs = word[1]};
  if (node->ins > MAX_IN || node->outs > MAX_OUT || node->attrs > left) return ERNN_NODES;
  uint32_t words = 2 + node->ins + node->outs + node->attrs;
  if (words > left) return ERNN_NODES;
  for (uint32_t i = 0; i < node->ins + node->outs; i++) {
    uint32_t index = word[2 + i];
    int result = i >= node->ins;
    if (index == ERNN_NONE && !result) continue;
    if (index >= p->values) return ERNN_NODES;
    const file_value *v = view->values + index;
    if (result && v->constant != ERNN_NONE) return ERNN_NODES;
    *(result ? &node->out[i - node->ins] : &node->in[i]) = v;
  }
  node->attr = (const int32_t *)(word + 2 + node->ins + node->outs);
  *at += words;
  return ERNN_OK;
}

static ernn_status nodes(const program_view *view) {
  const file_program *p = view->program;
  uint32_t at = 0;
  for (uint32_t i = 0; i < p->nodes; i++) {
    node_view node;
    node_need need = {0, 0};
    ernn_status status = ernn_next_node(view, &at, &node);
    if (status) return status;
    if (node.opcode >= OP_COUNT) return ERNN_OPCODE;
    const op_rule *rule = ernn_rules + node.opcode;
    if (node.ins < rule->least_in || node.ins > rule->most_in || node.outs != rule->outs || node.attrs != rule->attrs)
      return ERNN_OPERANDS;
    for (uint32_t k = 0; k < rule->least_in; k++)
      if (!node.in[k]) return ERNN_OPERANDS;
    if (!rule->check(&node, &need)) return ERNN_OPERANDS;
  }
  return at == p->node_words ? ERNN_OK : ERNN_NODES;
}

static ernn_status program(const ernn_model *m, const program_view *view) {
  const file_program *p = view->program;
  if (!text_fits(m, p->name) || !text_fits(m, p->spec) || !text_fits(m, p->summary)) return ERNN_TEXT;
  if (p->reserved || p->exact > 1 || !p->hop || !p->inputs || !p->outputs) return ERNN_PROGRAMS;
  if (p->arena > SIZE_MAX / 4) return ERNN_ARENA;
  for (uint32_t i = 0; i < p->values; i++)
    if (!value_fits(m, p, view->values + i)) return ERNN_VALUES;
  for (uint32_t i = 0; i < p->ports; i++) {
    uint32_t kind = i < p->inputs ? ERNN_INPUT : i < p->inputs + p->outputs ? ERNN_OUTPUT : ERNN_STATE_PORT;
    if (!port_fits(m, view, view->ports + i, kind)) return ERNN_PORTS;
  }
  if (p->left != ERNN_NONE) {
    if (p->left >= p->values) return ERNN_PORTS;
    const file_value *left = view->values + p->left;
    if (left->dtype != ERNN_INT64 || left->count != 1 || left->constant != ERNN_NONE) return ERNN_PORTS;
  }
  ernn_status status = nodes(view);
  if (status) return status;
  return stream_layout(view).total ? ERNN_OK : ERNN_ARENA;
}

ernn_status ernn_model_open(ernn_model *m, const void *data, size_t size) {
  const file_header *h = data;
  *m = (ernn_model){.data = data, .size = size};
  if ((uintptr_t)data % ERNN_ALIGN) return ERNN_ALIGNMENT;
  if (size < sizeof *h) return ERNN_TRUNCATED;
  if (h->magic[0] != 'E' || h->magic[1] != 'R' || h->magic[2] != 'N' || h->magic[3] != 'N') return ERNN_MAGIC;
  if (h->format > ERNN_FORMAT || h->generation > ERNN_GENERATION) return ERNN_NEWER;
  if (h->format == 0 || h->generation == 0 || !zero((const uint8_t *)h->reserved, (const uint8_t *)(h + 1)))
    return ERNN_HEADER;
  if (h->size != size) return h->size > size ? ERNN_TRUNCATED : ERNN_HEADER;
  ernn_status status = sections(m);
  if (!status) status = blobs(m);
  if (status) return status;

  const file_program *p = m->section[SECTION_PROGRAMS];
  uint64_t ports = 0, values = 0, words = 0, count = m->bytes[SECTION_PROGRAMS] / sizeof *p;
  if (!count || count > UINT32_MAX) return ERNN_PROGRAMS;
  for (uint32_t i = 0; i < count; i++) { /* the tables are covered before anything in them is looked at */
    if ((uint64_t)p[i].inputs + p[i].outputs + p[i].states != p[i].ports) return ERNN_PROGRAMS;
    ports += p[i].ports, values += p[i].values, words += p[i].node_words;
  }
  if (ports * sizeof(file_port) != m->bytes[SECTION_PORTS] || values * sizeof(file_value) != m->bytes[SECTION_VALUES] ||
      words * 4 != m->bytes[SECTION_NODES])
    return ERNN_PROGRAMS;
  for (uint32_t i = 0; i < count && !status; i++) {
    program_view view;
    if (!program_at(m, i, &view)) return ERNN_PROGRAMS;
    status = program(m, &view);
  }
  return status;
}
