/* The module edgernn.runtime._engine: the engine for Python, in CPython's limited API. */
#include "extension.h"

#define STATE(X) X(model) X(stream) X(buffer) X(step) X(model_file_error) X(input_error) X(state_error)

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
