/* Errors, objects and arrays. */
#include "extension.h"

_Static_assert(sizeof(void *) == SIZEOF_VOID_P && sizeof(long) == SIZEOF_LONG, "Python's headers are of another machine");

module_state *state_of(void *object) { return PyType_GetModuleState(Py_TYPE((PyObject *)object)); }

void *keep(void *object) {
  Py_INCREF((PyObject *)object);
  return object;
}

void drop(void *object) { Py_XDECREF((PyObject *)object); }

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

void *fail(const module_state *state, ernn_status status, PyObject *place) {
  if (status == ERNN_INDEX)
    set_error(state->input_error, PyUnicode_FromString("an index lies outside its table"), place, "");
  else
    set_error(state->model_file_error,
              PyUnicode_FromFormat("%s (engine status %d)", ernn_status_text(status), (int)status), place,
              status == ERNN_NEWER ? "update edgernn" : "");
  return NULL;
}

int refuse_busy(Stream *self) {
  if (!self->busy) return 0;
  set_error(state_of(self)->state_error, PyUnicode_FromString("another thread is in a step of this stream"),
            self->model->place, "give each thread a stream of its own: model.stream()");
  return -1;
}

void *allocate(size_t size, void **memory) {
  if (size > (size_t)PY_SSIZE_T_MAX - ALIGN || !(*memory = PyMem_Malloc(size + ALIGN))) return PyErr_NoMemory();
  uintptr_t start = (uintptr_t)*memory;
  return (char *)*memory + (ALIGN - start % ALIGN) % ALIGN;
}

void *new_object(PyTypeObject *type) {
  allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  return alloc(type, 0);
}

PyObject *whole(void *object) {
  if (!PyErr_Occurred()) return object;
  drop(object);
  return NULL;
}

void free_object(void *object) {
  PyTypeObject *type = Py_TYPE((PyObject *)object);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(object);
  drop(type);
}

const char *format_of(ernn_dtype dtype) {
  static const char *const formats[] = {
      [ERNN_FLOAT32] = "f", [ERNN_INT64] = sizeof(long) == 8 ? "l" : "q", [ERNN_INT32] = "i", [ERNN_INT16] = "h",
      [ERNN_INT8] = "b",    [ERNN_UINT8] = "B",                           [ERNN_BOOL] = "?"};
  return formats[dtype];
}

char kind_of(const char *format) {
  if (!format || !format[0] || format[1]) return format ? 0 : 'u'; /* NULL is bytes; two letters are another order */
  return strchr("fd", *format) ? 'f' : strchr("bhilqn", *format) ? 'i' : strchr("BHILQN", *format) ? 'u' : *format;
}

static int fits(const layout *wanted, const Py_buffer *view) {
  if (view->len != wanted->bytes || view->itemsize != wanted->each || view->ndim != wanted->rank) return 0;
  for (int i = 0; i < wanted->rank; i++)
    if (view->shape[i] != wanted->shape[i]) return 0;
  return kind_of(view->format) == wanted->kind;
}

int view_like(const layout *wanted, PyObject *object, int writable, Py_buffer *view) {
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
