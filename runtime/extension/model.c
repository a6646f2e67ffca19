/* A model file. */
#include "extension.h"

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

int program_of(Model *self, PyObject *number, uint32_t *program) {
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

PyType_Slot model_slots[] = {{Py_tp_doc, "Model(data, place)\n--\n\nA .ernn file's bytes, checked and copied."},
                             {Py_tp_new, model_new},
                             {Py_tp_dealloc, model_free},
                             {Py_tp_methods, model_methods},
                             {0}};
