/* Check a file: after ernn_model_open gives ERNN_OK nothing in it can lead a stream outside its memory. */
#include "model.h"

static int zero(const uint8_t *at, const uint8_t *end) {
  while (at < end)
    if (*at++) return 0;
  return 1;
}

static ernn_status header(const ernn_model *m) {
  const file_header *h = (const void *)m->data;
  if ((uintptr_t)m->data % ERNN_ALIGN) return ERNN_ALIGNMENT;
  if (m->size < sizeof *h) return ERNN_TRUNCATED;
  if (h->magic[0] != 'E' || h->magic[1] != 'R' || h->magic[2] != 'N' || h->magic[3] != 'N') return ERNN_MAGIC;
  if (h->format > ERNN_FORMAT || h->generation > ERNN_GENERATION) return ERNN_NEWER;
  if (!h->format || !h->generation || !zero((const uint8_t *)h->reserved, (const uint8_t *)(h + 1))) return ERNN_HEADER;
  if (h->size != m->size) return h->size > m->size ? ERNN_TRUNCATED : ERNN_HEADER;
  return ERNN_OK;
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
  uint64_t end = 0, size = m->bytes[SECTION_DATA], count = m->bytes[SECTION_BLOBS] / sizeof *blob;
  for (uint64_t i = 0; i < count; i++) {
    if (blob[i].offset != align_up(end) || blob[i].offset > size || blob[i].size > size - blob[i].offset)
      return ERNN_BLOBS;
    if (!zero(data + end, data + blob[i].offset)) return ERNN_PADDING;
    end = blob[i].offset + blob[i].size;
  }
  if (end > size || size - end != (count ? ERNN_SLACK : 0)) return ERNN_BLOBS; /* kernels read past the last one */
  return zero(data + end, data + size) ? ERNN_OK : ERNN_PADDING;
}

/* Texts and constants lie in the order of their first mention: these are the next ones. */
typedef struct {
  uint64_t text;
  uint32_t blob;
} mentions;

static int text_fits(const ernn_model *m, file_text t, mentions *next) {
  if (t.offset != next->text || t.size > m->bytes[SECTION_TEXT] - next->text) return 0;
  next->text += t.size;
  return 1;
}

static int blob_fits(const ernn_model *m, uint32_t index, uint64_t size, mentions *next) {
  const file_blob *blob = m->section[SECTION_BLOBS];
  if (index > next->blob || index >= m->bytes[SECTION_BLOBS] / sizeof *blob) return 0;
  next->blob += index == next->blob;
  return blob[index].size == size;
}

static int value_fits(const ernn_model *m, const file_program *p, const file_value *v, mentions *next) {
  uint64_t each = dtype_size(v->dtype);
  if (!each || v->count > UINT32_MAX) return 0;
  if (v->constant != ERNN_NONE) return v->offset == 0 && blob_fits(m, v->constant, v->count * each, next);
  return v->offset % ERNN_ALIGN == 0 && v->offset <= p->arena && v->count * each <= p->arena - v->offset &&
         p->arena - v->offset - v->count * each >= ERNN_SLACK;
}

static int shape_fits(const file_port *port, uint64_t elements) {
  uint64_t count = 1;
  if (port->rank > 8) return 0;
  for (uint32_t i = 0; i < 8; i++)
    if (i >= port->rank ? port->dims[i] != 0 : (count *= port->dims[i]) > UINT32_MAX) return 0;
  return count == elements;
}

/* Words that only another kind of port has. */
static int is_plain(const file_port *port) { return port->next == ERNN_NONE && port->init == ERNN_NONE; }
static int is_untimed(const file_port *port) {
  return !port->period && !port->offset && !port->delay && !port->group && !port->extra;
}
static int is_unlimited(const file_port *port) {
  return zero((const uint8_t *)&port->low, (const uint8_t *)&port->group);
}

static int limits_fit(const file_port *port, uint32_t dtype) { /* false for NaN too */
  if (dtype == ERNN_FLOAT32) return port->low > -0x1p100f && port->low <= port->high && port->high < 0x1p100f;
  return port->low == 0 && port->high >= 0 && port->high < 0x1p30f;
}

static int port_fits(const ernn_model *m, const program_view *view, const file_port *port, uint32_t kind,
                     mentions *next) {
  const int32_t most = 1 << 30; /* frames; what is computed of them stays inside 64 bits */
  const file_program *p = view->program;
  if (port->kind != kind || port->value >= p->values) return 0;
  const file_value *v = view->values + port->value;
  if (!shape_fits(port, v->count) || (kind != ERNN_OUTPUT && v->constant != ERNN_NONE)) return 0;
  switch (kind) {
  case ERNN_INPUT:
    return port->rank && v->count && port->dims[0] == p->hop && is_plain(port) && is_untimed(port) &&
           limits_fit(port, v->dtype);
  case ERNN_OUTPUT:
    return port->rank && v->count && port->period && port->group && p->hop % port->period == 0 &&
           port->dims[0] == (uint64_t)p->hop / port->period * port->group && port->offset > -most &&
           port->offset < most && port->extra > -most && port->extra < most && port->delay < (uint32_t)most &&
           is_plain(port) && is_unlimited(port);
  default:
    if (port->next >= p->values || !is_untimed(port) || !is_unlimited(port)) return 0;
    const file_value *following = view->values + port->next;
    if (following->count != v->count || following->dtype != v->dtype) return 0;
    return port->init == ERNN_NONE || blob_fits(m, port->init, v->count * dtype_size(v->dtype), next);
  }
}

static int left_fits(const program_view *view) {
  const file_program *p = view->program;
  if (p->left == ERNN_NONE) return 1;
  if (p->left >= p->values) return 0;
  const file_value *left = view->values + p->left;
  return left->dtype == ERNN_INT64 && left->count == 1 && left->constant == ERNN_NONE;
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
  uint64_t work = 0;
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
    work += ernn_node_work(&node); /* checked at each node: a check may take as long as its node's step */
    if (work > ERNN_MOST_WORK) return ERNN_WORK;
  }
  return at == p->node_words ? ERNN_OK : ERNN_NODES;
}

static ernn_status program(const ernn_model *m, const program_view *view, mentions *next) {
  const file_program *p = view->program;
  if (p->reserved || p->exact > 1 || !p->hop || !p->inputs || !p->outputs || p->vector_steps > ERNN_MOST_STEPS)
    return ERNN_PROGRAMS;
  if (p->arena > SIZE_MAX / 4) return ERNN_ARENA;
  for (uint32_t i = 0; i < p->values; i++)
    if (!value_fits(m, p, view->values + i, next)) return ERNN_VALUES;
  for (uint32_t i = 0; i < p->ports; i++) {
    uint32_t kind = i < p->inputs ? ERNN_INPUT : i < p->inputs + p->outputs ? ERNN_OUTPUT : ERNN_STATE_PORT;
    if (!text_fits(m, view->ports[i].name, next)) return ERNN_TEXT;
    if (!port_fits(m, view, view->ports + i, kind, next)) return ERNN_PORTS;
  }
  if (!left_fits(view)) return ERNN_PORTS;
  if (!text_fits(m, p->name, next) || !text_fits(m, p->spec, next) || !text_fits(m, p->summary, next))
    return ERNN_TEXT;
  ernn_status status = nodes(view);
  if (status) return status;
  if (p->vector_steps * ernn_program_work(view) > ERNN_MOST_WORK) return ERNN_WORK;
  return ernn_stream_layout(view).total ? ERNN_OK : ERNN_ARENA;
}

/* The programs cover the tables; nothing in a table is looked at before. */
static ernn_status tables(const ernn_model *m, uint64_t count) {
  const file_program *p = m->section[SECTION_PROGRAMS];
  uint64_t ports = 0, values = 0, words = 0;
  if (!count || count > UINT32_MAX) return ERNN_PROGRAMS;
  for (uint64_t i = 0; i < count; i++) {
    if ((uint64_t)p[i].inputs + p[i].outputs + p[i].states != p[i].ports) return ERNN_PROGRAMS;
    ports += p[i].ports, values += p[i].values, words += p[i].node_words;
  }
  if (ports * sizeof(file_port) != m->bytes[SECTION_PORTS] || values * sizeof(file_value) != m->bytes[SECTION_VALUES] ||
      words * 4 != m->bytes[SECTION_NODES])
    return ERNN_PROGRAMS;
  return ERNN_OK;
}

static ernn_status validate(ernn_model *m) {
  ernn_status status = header(m);
  if (!status) status = sections(m);
  if (!status) status = blobs(m);
  if (status) return status;
  uint64_t count = m->bytes[SECTION_PROGRAMS] / sizeof(file_program);
  status = tables(m, count);
  if (status) return status;
  mentions next = {0, 0};
  program_view view;
  ernn_program_at(m, 0, &view);
  for (uint64_t i = 0; i < count; i++, ernn_next_program(&view)) {
    status = program(m, &view, &next);
    if (status) return status;
  }
  if (next.text != m->bytes[SECTION_TEXT]) return ERNN_TEXT;
  return next.blob == m->bytes[SECTION_BLOBS] / sizeof(file_blob) ? ERNN_OK : ERNN_BLOBS;
}

ernn_status ernn_model_open(ernn_model *m, const void *data, size_t size) {
  *m = (ernn_model){.data = data, .size = size};
  ernn_status status = validate(m);
  if (status) *m = (ernn_model){0}; /* a model without programs */
  return status;
}
