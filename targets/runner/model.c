/* A model file, its contract, and one stream of it. */
#include "runner.h"
#include <stdlib.h>
#include <string.h>

size_t element_size(ernn_dtype dtype) {
  static const size_t sizes[] = {4, 8, 4, 2, 1, 1, 1};
  return sizes[dtype];
}

static const char *terminated(const char *text, size_t size) {
  char *copy = allocate(size + 1);
  memcpy(copy, text, size);
  return copy;
}

/* Frames by the contract: axis 0 is time, and the batch axis is left out. */
static port_info *describe(const loaded *l, ernn_kind kind, const char *list, uint32_t count, const char *path) {
  port_info *infos = allocate(count * sizeof *infos);
  for (uint32_t i = 0; i < count; i++) {
    port_info *info = infos + i;
    const char *entry = json_item(list, i);
    ernn_model_port(&l->model, 0, kind, i, &info->port);
    const char *name = entry ? json_member(entry, "name") : NULL, *rate = entry ? json_member(entry, "rate_hz") : NULL;
    const char *batch = entry ? json_member(entry, "batch_axis") : NULL;
    if (!name || !rate || !batch) fail(path, "the streaming contract misses a field");
    info->name = name, info->name_size = (size_t)(json_skip(name) - name);
    info->rate = *rate == 'n' ? 0 : strtod(rate, NULL);
    const uint32_t left_out = *batch == 'n' ? 0 : (uint32_t)atoi(batch);
    info->elements = 1;
    for (uint32_t axis = 1; axis < info->port.rank; axis++) {
      if (axis == left_out) continue;
      info->frame[info->rank++] = info->port.dims[axis];
      info->elements *= info->port.dims[axis];
    }
    info->bytes = info->elements * element_size(info->port.dtype);
  }
  return infos;
}

void load(loaded *l, const char *path, const char *isa) {
  size_t size, spec_size;
  void *file = read_file(path, &size);
  ernn_status status = ernn_model_open(&l->model, file, size);
  if (status) fail(path, ernn_status_text(status));
  const char *spec = ernn_model_spec(&l->model, 0, &spec_size);
  l->spec = terminated(spec, spec_size);
  l->hop = ernn_model_hop(&l->model, 0);
  l->inputs = ernn_model_ports(&l->model, 0, ERNN_INPUT);
  l->outputs = ernn_model_ports(&l->model, 0, ERNN_OUTPUT);
  const char *inputs = json_member(l->spec, "inputs"), *outputs = json_member(l->spec, "outputs");
  if (!inputs || !outputs) fail(path, "the streaming contract misses a field");
  l->input = describe(l, ERNN_INPUT, inputs, l->inputs, path);
  l->output = describe(l, ERNN_OUTPUT, outputs, l->outputs, path);
  const char *wanted = isa ? isa : getenv("ERNN_ISA");
  const ernn_options options = {.isa = wanted && *wanted ? wanted : NULL};
  const size_t room = ernn_stream_size(&l->model, 0);
  status = ernn_stream_init(&l->stream, &l->model, 0, allocate(room), room, &options);
  if (status) fail(status == ERNN_NO_ISA ? wanted : path, ernn_status_text(status));
}
