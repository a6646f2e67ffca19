/* edgernn.runtime._engine: the engine for Python, in CPython's limited API.
 *
 * Model   owns a file's bytes. It never changes: threads share it.
 * Stream  owns one stream's memory and keeps its model alive.
 * Buffer  exports an input, output or state of a stream where it lies, and keeps the stream alive.
 * Step    streams of one program that step together; with one input and output, a function from array to array.
 *
 * An object is whole once it is made: no type has an __init__ or can be subclassed. runtime/backends/engine.py is the
 * only caller; whatever else calls gets an exception, never a crash.
 */
#include <Python.h>
#include <string.h>
#include <structmember.h>

#include "edgernn.h"

_Static_assert(sizeof(void *) == SIZEOF_VOID_P && sizeof(long) == SIZEOF_LONG, "Python's headers are of another machine");

#define ALIGN 64
#define MAX_RANK 8
#define RESULTS 2 /* a loop still holds the last result while it asks for the next */

typedef struct {
  PyObject *model, *stream, *buffer, *step; /* types */
  PyObject *model_file_error, *input_error, *state_error;
} module_state;
#define STATE(X) X(model) X(stream) X(buffer) X(step) X(model_file_error) X(input_error) X(state_error)

typedef struct {
  PyObject_HEAD
  void *memory; /* as allocated; `model` borrows the aligned bytes in it */
  PyObject *place; /* str: what errors name */
  ernn_model model;
} Model;

typedef struct {
  PyObject_HEAD
  Model *model;
  void *memory;
  ernn_stream *stream;
  uint8_t *before;  /* states before the step, where an index input may be refused; else NULL */
  long long steps;
  uint32_t program;
  int long_steps;   /* a step is worth letting other threads run */
  int busy;         /* a thread is in a step without the GIL */
} Stream;

/* An array's memory: `shape` has `rank` entries, `kind` is f, i, u or ? */
typedef struct {
  void *at;
  Py_ssize_t bytes, each, shape[MAX_RANK];
  int rank;
  char kind;
} layout;

typedef struct {
  PyObject_HEAD
  Stream *stream;
  layout layout;
  Py_ssize_t strides[MAX_RANK];
  const char *format;
  int constant; /* not to be written */
} Buffer;

typedef struct {
  PyObject_HEAD
  Stream **streams;
  ernn_stream **all;
  uint32_t count;
  int long_steps;            /* of any */
  layout x, y;               /* of all streams' frames, one stream's behind the other's; `bytes` is -1 for no array */
  PyObject *copy;            /* makes a new array like the output */
  PyObject *result[RESULTS]; /* given before, to be given again once the caller has dropped them; NULL at first */
  unsigned turn;
} Step;

/* --- errors -------------------------------------------------------------------------------------------------------- */

static module_state *state_of(void *object) { return PyType_GetModuleState(Py_TYPE((PyObject *)object)); }

/* References without casts: the limited API's own take PyObject * alone. */
static void *keep(void *object) {
  Py_INCREF((PyObject *)object);
  return object;
}

static void drop(void *object) { Py_XDECREF((PyObject *)object); }

/* Set an exception of edgernn.errors; takes `cause`. */
static void set_error(PyObject *type, PyObject *cause, PyObject *place, const char *hint) {
  PyObject *arguments = cause ? PyTuple_Pack(1, cause) : NULL;
  PyObject *more = Py_BuildValue("{s:O,s:s}", "place", place, "hint", hint);
  PyObject *error = arguments && more ? PyObject_Call(type, arguments, more) : NULL;
  if (error) PyErr_SetObject(type, error);
  Py_XDECREF(error);
  Py_XDECREF(more);
  Py_XDECREF(arguments);
  Py_XDECREF(cause);
}

static void *fail(const module_state *state, ernn_status status, PyObject *place) {
  if (status == ERNN_INDEX)
    set_error(state->input_error, PyUnicode_FromString("an index lies outside its table"), place, "");
  else
    set_error(state->model_file_error,
              PyUnicode_FromFormat("%s (engine status %d)", ernn_status_text(status), (int)status), place,
              status == ERNN_NEWER ? "update edgernn" : "");
  return NULL;
}

static int refuse_busy(Stream *self) {
  if (!self->busy) return 0;
  set_error(state_of(self)->state_error, PyUnicode_FromString("another thread is in a step of this stream"),
            self->model->place, "give each thread a stream of its own: model.stream()");
  return -1;
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

/* Aligned bytes in a new block that is to be freed by `*memory`. */
static void *allocate(size_t size, void **memory) {
  if (size > (size_t)PY_SSIZE_T_MAX - ALIGN || !(*memory = PyMem_Malloc(size + ALIGN))) return PyErr_NoMemory();
  uintptr_t start = (uintptr_t)*memory;
  return (char *)*memory + (ALIGN - start % ALIGN) % ALIGN;
}

static void *new_object(PyTypeObject *type) {
  allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  return alloc(type, 0);
}

/* What a constructor gives: the object, or NULL when something was raised on the way. */
static PyObject *whole(void *object) {
  if (!PyErr_Occurred()) return object;
  drop(object);
  return NULL;
}

static void free_object(void *object) {
  PyTypeObject *type = Py_TYPE((PyObject *)object);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(object);
  drop(type);
}

static const char *format_of(ernn_dtype dtype) {
  static const char *const formats[] = {
      [ERNN_FLOAT32] = "f", [ERNN_INT64] = sizeof(long) == 8 ? "l" : "q", [ERNN_INT32] = "i", [ERNN_INT16] = "h",
      [ERNN_INT8] = "b",    [ERNN_UINT8] = "B",                           [ERNN_BOOL] = "?"};
  return formats[dtype];
}

static char kind_of(const char *format) {
  if (!format || !format[0] || format[1]) return format ? 0 : 'u'; /* NULL is bytes; two letters are another order */
  return strchr("fd", *format) ? 'f' : strchr("bhilqn", *format) ? 'i' : strchr("BHILQN", *format) ? 'u' : *format;
}

static int fits(const layout *wanted, const Py_buffer *view) {
  if (view->len != wanted->bytes || view->itemsize != wanted->each || view->ndim != wanted->rank) return 0;
  for (int i = 0; i < wanted->rank; i++)
    if (view->shape[i] != wanted->shape[i]) return 0;
  return kind_of(view->format) == wanted->kind;
}

/* 1: `view` is an array like `wanted` and must be released; 0: it is not; -1: an error that is none of ours. */
static int view_like(const layout *wanted, PyObject *object, int writable, Py_buffer *view) {
  if (PyObject_GetBuffer(object, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0))) {
    int usual = PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_TypeError) ||
                PyErr_ExceptionMatches(PyExc_ValueError);
    if (usual) PyErr_Clear();
    return usual ? 0 : -1;
  }
  if (fits(wanted, view)) return 1;
  PyBuffer_Release(view);
  return 0;
}

/* --- Model --------------------------------------------------------------------------------------------------------- */

static void model_free(Model *self) {
  PyMem_Free(self->memory);
  drop(self->place);
  free_object(self);
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  static char *names[] = {"data", "place", NULL};
  Py_buffer data;
  PyObject *place;
  if (!PyArg_ParseTupleAndKeywords(args, named, "y*U:Model", names, &data, &place)) return NULL;
  Model *self = new_object(type);
  if (!self) goto done;
  self->place = keep(place);
  void *bytes = allocate((size_t)data.len, &self->memory);
  if (bytes) {
    memcpy(bytes, data.buf, (size_t)data.len);
    ernn_status status = ernn_model_open(&self->model, bytes, (size_t)data.len);
    if (status) fail(state_of(self), status, place);
  }
done:
  PyBuffer_Release(&data);
  return whole(self);
}

static PyObject *text(const char *at, size_t size) { return PyUnicode_DecodeUTF8(at, (Py_ssize_t)size, "replace"); }

static int program_of(Model *self, PyObject *number, uint32_t *program) {
  unsigned long given = PyLong_AsUnsignedLong(number);
  if (given == (unsigned long)-1 && PyErr_Occurred()) return -1;
  if (given < ernn_model_programs(&self->model)) return *program = (uint32_t)given, 0;
  fail(state_of(self), ERNN_NO_PROGRAM, self->place);
  return -1;
}

static PyObject *model_programs(Model *self, PyObject *nothing) {
  (void)nothing;
  return PyLong_FromUnsignedLong(ernn_model_programs(&self->model));
}

static PyObject *model_spec(Model *self, PyObject *number) {
  uint32_t program;
  size_t size;
  if (program_of(self, number, &program)) return NULL;
  const char *at = ernn_model_spec(&self->model, program, &size);
  return text(at, size);
}

static PyObject *model_summary(Model *self, PyObject *number) {
  uint32_t program;
  size_t size;
  if (program_of(self, number, &program)) return NULL;
  const char *at = ernn_model_summary(&self->model, program, &size);
  return text(at, size);
}

static PyObject *port_row(const ernn_port *port) {
  static const char *const dtypes[] = {
      [ERNN_FLOAT32] = "float32", [ERNN_INT64] = "int64", [ERNN_INT32] = "int32", [ERNN_INT16] = "int16",
      [ERNN_INT8] = "int8",       [ERNN_UINT8] = "uint8", [ERNN_BOOL] = "bool"};
  PyObject *shape = PyTuple_New((Py_ssize_t)port->rank);
  for (uint32_t i = 0; shape && i < port->rank; i++) {
    PyObject *dim = PyLong_FromUnsignedLong(port->dims[i]);
    if (!dim) Py_CLEAR(shape);
    else PyTuple_SetItem(shape, (Py_ssize_t)i, dim);
  }
  if (!shape) return NULL;
  return Py_BuildValue("(NsN)", text(port->name, port->name_size), dtypes[port->dtype], shape);
}

static PyObject *port_rows(const ernn_model *model, uint32_t program, ernn_kind kind) {
  PyObject *rows = PyList_New(0);
  for (uint32_t i = 0; rows && i < ernn_model_ports(model, program, kind); i++) {
    ernn_port port;
    ernn_model_port(model, program, kind, i, &port);
    PyObject *row = port_row(&port);
    if (!row || PyList_Append(rows, row)) Py_CLEAR(rows);
    Py_XDECREF(row);
  }
  return rows;
}

static PyObject *model_ports(Model *self, PyObject *number) {
  uint32_t program;
  if (program_of(self, number, &program)) return NULL;
  PyObject *inputs = port_rows(&self->model, program, ERNN_INPUT);
  PyObject *outputs = inputs ? port_rows(&self->model, program, ERNN_OUTPUT) : NULL;
  PyObject *states = outputs ? port_rows(&self->model, program, ERNN_STATE_PORT) : NULL;
  PyObject *all = states ? PyTuple_Pack(3, inputs, outputs, states) : NULL;
  drop(inputs), drop(outputs), drop(states);
  return all;
}

static PyObject *model_stream_bytes(Model *self, PyObject *number) {
  uint32_t program;
  if (program_of(self, number, &program)) return NULL;
  return PyLong_FromSize_t(ernn_stream_size(&self->model, program));
}

static PyObject *model_selftest(Model *self, PyObject *args) {
  PyObject *number;
  const char *isa;
  uint32_t program;
  if (!PyArg_ParseTuple(args, "Os:selftest", &number, &isa) || program_of(self, number, &program)) return NULL;
  void *memory;
  size_t size = ernn_stream_size(&self->model, program);
  void *aligned = allocate(size, &memory);
  if (!aligned) return NULL;
  ernn_status status;
  Py_BEGIN_ALLOW_THREADS
  status = ernn_selftest(&self->model, program, aligned, size, isa);
  Py_END_ALLOW_THREADS
  PyMem_Free(memory);
  if (status && status != ERNN_VECTORS) return fail(state_of(self), status, self->place);
  return PyBool_FromLong(status == ERNN_OK);
}

static PyMethodDef model_methods[] = {
    {"programs", (PyCFunction)model_programs, METH_NOARGS, "programs()\n--\n\nHow many programs the file holds."},
    {"spec", (PyCFunction)model_spec, METH_O, "spec(program)\n--\n\nThe program's streaming contract, JSON."},
    {"summary", (PyCFunction)model_summary, METH_O, "summary(program)\n--\n\nIts table of operations, JSON."},
    {"ports", (PyCFunction)model_ports, METH_O,
     "ports(program)\n--\n\nInputs, outputs and states, (name, dtype, shape) each."},
    {"stream_bytes", (PyCFunction)model_stream_bytes, METH_O, "stream_bytes(program)\n--\n\nMemory of one stream."},
    {"selftest", (PyCFunction)model_selftest, METH_VARARGS,
     "selftest(program, isa)\n--\n\nWhether the file's test vectors give its maker's outputs on an instruction set."},
    {0}};

static PyType_Slot model_slots[] = {{Py_tp_doc, "Model(data, place)\n--\n\nA .ernn file's bytes, checked and copied."},
                                    {Py_tp_new, model_new},
                                    {Py_tp_dealloc, model_free},
                                    {Py_tp_methods, model_methods},
                                    {0}};

/* --- Buffer -------------------------------------------------------------------------------------------------------- */

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

static PyType_Slot buffer_slots[] = {{Py_tp_doc, "An input, output or state of a stream where it lies."},
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

/* --- Stream -------------------------------------------------------------------------------------------------------- */

static void stream_free(Stream *self) {
  PyMem_Free(self->memory);
  PyMem_Free(self->before);
  drop(self->model);
  free_object(self);
}

static size_t walk_states(const Stream *self, uint8_t *save, const uint8_t *restore) {
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

static int run(Stream *self) {
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

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "Stream(model, program, isa, long_steps=False)\n--\n\nOne stream in its initial state."},
    {Py_tp_new, stream_new},
    {Py_tp_dealloc, stream_free},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getset},
    {Py_tp_members, stream_members},
    {0}};

/* --- Step ---------------------------------------------------------------------------------------------------------- */

static void step_free(Step *self) {
  for (uint32_t i = 0; i < self->count; i++) drop(self->streams[i]);
  PyMem_Free(self->streams);
  PyMem_Free(self->all);
  drop(self->copy);
  for (int i = 0; i < RESULTS; i++) drop(self->result[i]);
  free_object(self);
}

/* What a step's arrays must be like: `array`, which has all streams' frames of the only port of a kind. */
static int layout_of(layout *l, const Step *self, PyObject *array, ernn_kind kind) {
  const Stream *first = self->streams[0];
  ernn_port port;
  Py_buffer view;
  ernn_model_port(&first->model->model, first->program, kind, 0, &port);
  if (PyObject_GetBuffer(array, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)) return -1;
  int right = ernn_model_ports(&first->model->model, first->program, kind) == 1 && view.ndim <= MAX_RANK &&
              (size_t)view.len == self->count * port.bytes;
  if (right) {
    *l = (layout){.bytes = view.len, .each = view.itemsize, .rank = view.ndim, .kind = kind_of(view.format)};
    for (int i = 0; i < view.ndim; i++) l->shape[i] = view.shape[i];
  } else {
    PyErr_SetString(PyExc_ValueError, "the array is not of the streams' only port");
  }
  PyBuffer_Release(&view);
  return right ? 0 : -1;
}

/* Whether a stream may step beside those that are there. */
static int belongs(const Step *self, const module_state *state, PyObject *object) {
  Stream *one = (Stream *)object;
  if ((PyObject *)Py_TYPE(object) != state->stream) {
    PyErr_SetString(PyExc_TypeError, "a Step takes a tuple of streams");
    return 0;
  }
  const Stream *first = self->count ? self->streams[0] : one;
  int right = one->model == first->model && one->program == first->program;
  for (uint32_t i = 0; i < self->count; i++) right &= self->streams[i] != one;
  if (!right) PyErr_SetString(PyExc_ValueError, "a Step takes different streams of one program");
  return right;
}

static PyObject *step_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  static char *names[] = {"streams", "x", "y", NULL};
  const module_state *state = PyType_GetModuleState(type);
  PyObject *streams, *x = Py_None, *y = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, named, "O!|OO:Step", names, &PyTuple_Type, &streams, &x, &y)) return NULL;
  const uint64_t given = (uint64_t)PyTuple_Size(streams);
  if (given < 1 || given > UINT32_MAX) {
    PyErr_SetString(PyExc_ValueError, "a Step takes one stream or more");
    return NULL;
  }
  const uint32_t count = (uint32_t)given;
  Step *self = new_object(type);
  if (!self) return NULL;
  self->streams = PyMem_Malloc(count * sizeof *self->streams);
  self->all = PyMem_Malloc(count * sizeof *self->all);
  if (!self->streams || !self->all) PyErr_NoMemory();
  while (!PyErr_Occurred() && self->count < count) {
    PyObject *object = PyTuple_GetItem(streams, (Py_ssize_t)self->count);
    if (!belongs(self, state, object)) break;
    Stream *one = self->streams[self->count] = keep(object);
    self->all[self->count++] = one->stream;
    self->long_steps |= one->long_steps;
  }
  self->x.bytes = self->y.bytes = -1;
  if (!PyErr_Occurred() && (x != Py_None || y != Py_None) && !layout_of(&self->x, self, x, ERNN_INPUT) &&
      !layout_of(&self->y, self, y, ERNN_OUTPUT))
    self->copy = PyObject_GetAttrString(y, "copy");
  return whole(self);
}

/* One step of each. A refusal leaves the states of all as they were. */
static int run_all(Step *self) {
  if (self->count == 1) return run(self->streams[0]);
  for (uint32_t i = 0; i < self->count; i++)
    if (refuse_busy(self->streams[i])) return -1;
  for (uint32_t i = 0; i < self->count; i++) {
    Stream *one = self->streams[i];
    if (one->before) walk_states(one, one->before, NULL);
    one->busy = 1;
  }
  PyThreadState *thread = self->long_steps ? PyEval_SaveThread() : NULL;
  ernn_status status = ernn_step_all(self->all, self->count);
  if (thread) PyEval_RestoreThread(thread);
  for (uint32_t i = 0; i < self->count; i++) {
    Stream *one = self->streams[i];
    one->busy = 0;
    one->steps += !status;
    if (status && one->before) walk_states(one, NULL, one->before);
  }
  if (status) fail(state_of(self), status, self->streams[0]->model->place);
  return status ? -1 : 0;
}

static PyObject *step_run(Step *self, PyObject *none) {
  (void)none;
  if (run_all(self)) return NULL;
  Py_RETURN_NONE;
}

static void put_frames(const Step *self, const void *from) {
  const size_t each = (size_t)self->x.bytes / self->count;
  for (uint32_t i = 0; i < self->count; i++) memmove(ernn_input(self->all[i], 0), (const char *)from + i * each, each);
}

static void take_frames(const Step *self, void *to) {
  const size_t each = (size_t)self->y.bytes / self->count;
  for (uint32_t i = 0; i < self->count; i++) memmove((char *)to + i * each, ernn_output(self->all[i], 0), each);
}

/* The outputs as an array that nobody else has: one of those given before, or a new one. */
static PyObject *give(Step *self) {
  for (unsigned i = 0; i < RESULTS; i++) {
    PyObject *old = self->result[i];
    Py_buffer view;
    if (!old || Py_REFCNT(old) != 1) continue;
    int like = view_like(&self->y, old, 1, &view); /* the caller may have given it another shape */
    if (like < 0) return NULL;
    if (!like) continue;
    take_frames(self, view.buf);
    PyBuffer_Release(&view);
    return keep(old);
  }
  PyObject *made = PyObject_CallNoArgs(self->copy);
  Py_buffer view;
  if (!made) return NULL;
  if (view_like(&self->y, made, 1, &view) <= 0) {
    drop(made);
    return whole(NULL);
  }
  take_frames(self, view.buf);
  PyBuffer_Release(&view);
  PyObject **slot = self->result + self->turn++ % RESULTS, *old = *slot;
  *slot = keep(made);
  drop(old);
  return made;
}

static PyObject *step_step(Step *self, PyObject *const *args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "step takes x and out");
    return NULL;
  }
  PyObject *out = args[1];
  Py_buffer x, y;
  int like = view_like(&self->x, args[0], 0, &x);
  if (like <= 0) goto unusual;
  if (out != Py_None && (like = view_like(&self->y, out, 1, &y)) <= 0) {
    PyBuffer_Release(&x);
    goto unusual;
  }
  PyObject *result = NULL;
  int busy = 0;
  for (uint32_t i = 0; i < self->count && !busy; i++) busy = refuse_busy(self->streams[i]);
  if (!busy) put_frames(self, x.buf);
  if (!busy && !run_all(self)) {
    if (out == Py_None) result = give(self);
    else take_frames(self, y.buf), result = keep(out);
  }
  if (out != Py_None) PyBuffer_Release(&y);
  PyBuffer_Release(&x);
  return result;
unusual:
  if (like < 0) return NULL;
  Py_RETURN_NONE;
}

static PyMethodDef step_methods[] = {
    {"step", (PyCFunction)(void (*)(void))step_step, METH_FASTCALL,
     "step(x, out)\n--\n\nOne hop from an array like the input, C-contiguous, into `out`, or where that is None into an\n"
     "array of the caller's own. Gives None, and has done nothing, for arrays that are not exactly like these."},
    {"run", (PyCFunction)step_run, METH_NOARGS,
     "run()\n--\n\nOne hop of each stream in place. A step that is refused leaves the states of all as they were."},
    {0}};

static PyType_Slot step_slots[] = {{Py_tp_doc, "Step(streams, x=None, y=None)\n--\n\nx and y: arrays like those that `step` takes."},
                                   {Py_tp_new, step_new},
                                   {Py_tp_dealloc, step_free},
                                   {Py_tp_methods, step_methods},
                                   {0}};

/* --- the module ---------------------------------------------------------------------------------------------------- */

static PyObject *isas(PyObject *module, PyObject *none) {
  (void)module, (void)none;
  PyObject *list = PyList_New(0);
  const char *name;
  for (uint32_t i = 0; list && (name = ernn_isa_name(i)); i++) {
    PyObject *row = Py_BuildValue("(sN)", name, PyBool_FromLong(ernn_isa_usable(name)));
    if (!row || PyList_Append(list, row)) Py_CLEAR(list);
    Py_XDECREF(row);
  }
  return list;
}

static PyMethodDef module_methods[] = {
    {"isas", isas, METH_NOARGS, "isas()\n--\n\nThis build's instruction sets, best first, and whether this CPU can run each."},
    {0}};

static PyObject *add_type(PyObject *module, const char *name, size_t size, PyType_Slot *slots, unsigned flags) {
  PyType_Spec spec = {name, (int)size, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | flags, slots};
  PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
  if (type && PyModule_AddType(module, (PyTypeObject *)type)) Py_CLEAR(type);
  return type;
}

static int module_exec(PyObject *module) {
  module_state *state = PyModule_GetState(module);
  PyObject *errors = PyImport_ImportModule("edgernn.errors");
  if (!errors) return -1;
  state->model_file_error = PyObject_GetAttrString(errors, "ModelFileError");
  state->input_error = PyObject_GetAttrString(errors, "InputError");
  state->state_error = PyObject_GetAttrString(errors, "StateError");
  Py_DECREF(errors);
  if (!state->model_file_error || !state->input_error || !state->state_error) return -1;
#define ADD(name, type, flags) add_type(module, "edgernn.runtime._engine." #type, sizeof(type), name##_slots, flags)
  state->model = ADD(model, Model, 0);
  state->stream = state->model ? ADD(stream, Stream, 0) : NULL;
  state->buffer = state->stream ? ADD(buffer, Buffer, Py_TPFLAGS_DISALLOW_INSTANTIATION) : NULL;
  state->step = state->buffer ? ADD(step, Step, 0) : NULL;
#undef ADD
  return state->step ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
  module_state *state = PyModule_GetState(module);
#define X(member) Py_VISIT(state->member);
  STATE(X)
#undef X
  return 0;
}

static int module_clear(PyObject *module) {
  module_state *state = PyModule_GetState(module);
#define X(member) Py_CLEAR(state->member);
  STATE(X)
#undef X
  return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                        .m_name = "edgernn.runtime._engine",
                                        .m_doc = "The engine in C.",
                                        .m_size = sizeof(module_state),
                                        .m_methods = module_methods,
                                        .m_slots = module_slots,
                                        .m_traverse = module_traverse,
                                        .m_clear = module_clear};

PyMODINIT_FUNC PyInit__engine(void);
PyMODINIT_FUNC PyInit__engine(void) { return PyModuleDef_Init(&definition); }
