/* A stream, and its ports' memory as Python sees it. */
#include "extension.h"

static int buffer_get(Buffer *self, Py_buffer *view, int flags) {
  view->obj = NULL;
  if (self->constant && (flags & PyBUF_WRITABLE)) {
    PyErr_SetString(PyExc_BufferError, "an output is not to be written");
    return -1;
  }
  if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && self->layout.rank > 1) {
    PyErr_SetString(PyExc_BufferError, "time is the first axis");
    return -1;
  }
  *view = (Py_buffer){.obj = keep(self),
                      .buf = self->layout.at,
                      .len = self->layout.bytes,
                      .itemsize = self->layout.each,
                      .readonly = self->constant,
                      .ndim = self->layout.rank,
                      .format = flags & PyBUF_FORMAT ? (char *)(uintptr_t)self->format : NULL,
                      .shape = flags & PyBUF_ND ? self->layout.shape : NULL,
                      .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? self->strides : NULL};
  return 0;
}

static void buffer_free(Buffer *self) {
  drop(self->stream);
  free_object(self);
}

PyType_Slot buffer_slots[] = {{Py_tp_doc, "An input, output or state of a stream where it lies."},
                              {Py_tp_dealloc, buffer_free},
                              {Py_bf_getbuffer, buffer_get},
                              {0}};

static Buffer *new_buffer(Stream *stream, void *at, ernn_dtype dtype, uint32_t rank, const uint32_t *dims) {
  static const uint8_t sizes[] = {[ERNN_FLOAT32] = 4, [ERNN_INT64] = 8, [ERNN_INT32] = 4, [ERNN_INT16] = 2,
                                  [ERNN_INT8] = 1,    [ERNN_UINT8] = 1, [ERNN_BOOL] = 1};
  Buffer *self = new_object((PyTypeObject *)state_of(stream)->buffer);
  if (!self) return NULL;
  self->stream = keep(stream);
  self->format = format_of(dtype);
  layout *l = &self->layout;
  *l = (layout){.at = at, .each = sizes[dtype], .bytes = sizes[dtype], .rank = (int)rank, .kind = kind_of(self->format)};
  for (uint32_t i = rank; i--;) {
    l->shape[i] = (Py_ssize_t)dims[i];
    self->strides[i] = l->bytes;
    l->bytes *= l->shape[i];
  }
  return self;
}

static void stream_free(Stream *self) {
  PyMem_Free(self->memory);
  PyMem_Free(self->before);
  drop(self->model);
  free_object(self);
}

size_t walk_states(const Stream *self, uint8_t *save, const uint8_t *restore) {
  const ernn_model *model = &self->model->model;
  size_t at = 0;
  for (uint32_t i = 0; i < ernn_model_ports(model, self->program, ERNN_STATE_PORT); i++) {
    ernn_port port;
    ernn_model_port(model, self->program, ERNN_STATE_PORT, i, &port);
    if (save) memcpy(save + at, ernn_state(self->stream, i), port.bytes);
    if (restore) memcpy(ernn_state(self->stream, i), restore + at, port.bytes);
    at += port.bytes;
  }
  return at;
}

static int takes_integers(const Stream *self) {
  const ernn_model *model = &self->model->model;
  for (uint32_t i = 0; i < ernn_model_ports(model, self->program, ERNN_INPUT); i++) {
    ernn_port port;
    ernn_model_port(model, self->program, ERNN_INPUT, i, &port);
    if (port.dtype != ERNN_FLOAT32) return 1;
  }
  return 0;
}

static PyObject *stream_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  static char *names[] = {"model", "program", "isa", "long_steps", NULL};
  const module_state *state = PyType_GetModuleState(type);
  Model *model;
  PyObject *number;
  ernn_options options = {NULL, 0};
  int long_steps = 0;
  uint32_t program;
  if (!PyArg_ParseTupleAndKeywords(args, named, "O!Oz|p:Stream", names, state->model, &model, &number, &options.isa,
                                   &long_steps) ||
      program_of(model, number, &program))
    return NULL;
  Stream *self = new_object(type);
  if (!self) return NULL;
  self->model = keep(model);
  self->program = program;
  self->long_steps = long_steps;
  size_t size = ernn_stream_size(&model->model, program);
  void *aligned = allocate(size, &self->memory);
  ernn_status status = aligned ? ernn_stream_init(&self->stream, &model->model, program, aligned, size, &options) : ERNN_OK;
  if (status) fail(state, status, model->place);
  if (aligned && !status && takes_integers(self) &&
      !(self->before = PyMem_Malloc(walk_states(self, NULL, NULL) + 1)))
    PyErr_NoMemory();
  return whole(self);
}

int run(Stream *self) {
  if (refuse_busy(self)) return -1;
  if (self->before) walk_states(self, self->before, NULL);
  ernn_status status;
  if (self->long_steps) {
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    status = ernn_step(self->stream);
    Py_END_ALLOW_THREADS
    self->busy = 0;
  } else {
    status = ernn_step(self->stream);
  }
  if (!status) return self->steps++, 0;
  if (self->before) walk_states(self, NULL, self->before);
  fail(state_of(self), status, self->model->place);
  return -1;
}

static PyObject *stream_run(Stream *self, PyObject *none) {
  (void)none;
  if (run(self)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *stream_prefetch(Stream *self, PyObject *none) {
  (void)none;
  ernn_prefetch(self->stream);
  Py_RETURN_NONE;
}

static PyObject *port_buffer(Stream *self, PyObject *number, ernn_kind kind) {
  unsigned long index = PyLong_AsUnsignedLong(number);
  if (index == (unsigned long)-1 && PyErr_Occurred()) return NULL;
  ernn_port port;
  if (index > UINT32_MAX || ernn_model_port(&self->model->model, self->program, kind, (uint32_t)index, &port)) {
    PyErr_SetString(PyExc_IndexError, "no port of that number");
    return NULL;
  }
  uint32_t i = (uint32_t)index;
  void *at = kind == ERNN_INPUT ? ernn_input(self->stream, i)
             : kind == ERNN_OUTPUT ? (void *)(uintptr_t)ernn_output(self->stream, i)
                                   : ernn_state(self->stream, i);
  Buffer *buffer = new_buffer(self, at, port.dtype, port.rank, port.dims);
  if (buffer) buffer->constant = kind == ERNN_OUTPUT;
  return (PyObject *)buffer;
}

static PyObject *stream_input(Stream *self, PyObject *number) { return port_buffer(self, number, ERNN_INPUT); }
static PyObject *stream_output(Stream *self, PyObject *number) { return port_buffer(self, number, ERNN_OUTPUT); }
static PyObject *stream_state(Stream *self, PyObject *number) { return port_buffer(self, number, ERNN_STATE_PORT); }

static PyObject *stream_frames_left(Stream *self, PyObject *none) {
  (void)none;
  int64_t *left = ernn_frames_left(self->stream);
  if (!left) Py_RETURN_NONE;
  return (PyObject *)new_buffer(self, left, ERNN_INT64, 0, NULL);
}

static PyObject *stream_isa(Stream *self, void *none) {
  (void)none;
  return PyUnicode_FromString(ernn_stream_isa(self->stream));
}

static PyMethodDef stream_methods[] = {
    {"run", (PyCFunction)stream_run, METH_NOARGS,
     "run()\n--\n\nOne hop, from the inputs to the outputs. A step that is refused leaves the states as they were."},
    {"prefetch", (PyCFunction)stream_prefetch, METH_NOARGS, "prefetch()\n--\n\nAsk the caches for the weights."},
    {"input", (PyCFunction)stream_input, METH_O, "input(index)\n--\n\nAn input's memory."},
    {"output", (PyCFunction)stream_output, METH_O, "output(index)\n--\n\nAn output's memory, to be read."},
    {"state", (PyCFunction)stream_state, METH_O, "state(index)\n--\n\nA state's memory."},
    {"frames_left", (PyCFunction)stream_frames_left, METH_NOARGS,
     "frames_left()\n--\n\nThe memory of the frames to the end, int64, or None."},
    {0}};

static PyGetSetDef stream_getset[] = {{"isa", (getter)stream_isa, NULL, "Instruction set in use.", NULL}, {0}};

static PyMemberDef stream_members[] = {
    {"steps", T_LONGLONG, offsetof(Stream, steps), 0, "Steps since this was last set."}, {0}};

PyType_Slot stream_slots[] = {
    {Py_tp_doc, "Stream(model, program, isa, long_steps=False)\n--\n\nOne stream in its initial state."},
    {Py_tp_new, stream_new},
    {Py_tp_dealloc, stream_free},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getset},
    {Py_tp_members, stream_members},
    {0}};
