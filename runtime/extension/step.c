/* Streams that step together, from array to array. */
#include "extension.h"

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

PyType_Slot step_slots[] = {{Py_tp_doc, "Step(streams, x=None, y=None)\n--\n\nx and y: arrays like those that `step` takes."},
                            {Py_tp_new, step_new},
                            {Py_tp_dealloc, step_free},
                            {Py_tp_methods, step_methods},
                            {0}};
