/* What the parts of edgernn.runtime._engine share: its types, and how they raise, allocate and read arrays.
 *
 * Model   owns a file's bytes. It never changes: threads share it.
 * Stream  owns one stream's memory and keeps its model alive.
 * Buffer  exports an input, output or state of a stream where it lies, and keeps the stream alive.
 * Step    streams of one program that step together; with one input and output, a function from array to array.
 *
 * An object is whole once it is made: no type has an __init__ or can be subclassed. runtime/backends/engine.py is the
 * only caller; whatever else calls gets an exception, never a crash.
 */
#ifndef ERNN_EXTENSION_H
#define ERNN_EXTENSION_H
#include <Python.h>
#include <string.h>
#include <structmember.h>

#include "edgernn.h"

#define ALIGN 64 /* of a file and of a stream's memory */
#define MAX_RANK 8

typedef struct {
  PyObject *model, *stream, *buffer, *step; /* types */
  PyObject *model_file_error, *input_error, *state_error;
} module_state;

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

#define RESULTS 2 /* a loop still holds the last result while it asks for the next */
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

extern PyType_Slot model_slots[], stream_slots[], buffer_slots[], step_slots[];

module_state *state_of(void *object);
/* References without casts: the limited API's own take PyObject * alone. */
void *keep(void *object);
void drop(void *object);
/* Set what a status of the engine means; gives NULL. */
void *fail(const module_state *state, ernn_status status, PyObject *place);
/* Raise, and give -1, where another thread is in a step of the stream. */
int refuse_busy(Stream *self);

/* Aligned bytes in a new block that is to be freed by `*memory`. */
void *allocate(size_t size, void **memory);
void *new_object(PyTypeObject *type);
/* What a constructor gives: the object, or NULL when something was raised on the way. */
PyObject *whole(void *object);
void free_object(void *object);

const char *format_of(ernn_dtype dtype);
char kind_of(const char *format);
/* 1: `view` is an array like `wanted` and must be released; 0: it is not; -1: an error that is none of ours. */
int view_like(const layout *wanted, PyObject *object, int writable, Py_buffer *view);

/* A program by its number, or -1 with an exception. */
int program_of(Model *self, PyObject *number, uint32_t *program);
/* Bytes of the states: those that go to `save`, or come from `restore`; either may be NULL. */
size_t walk_states(const Stream *self, uint8_t *save, const uint8_t *restore);
/* One step, or -1 with an exception and the states as they were. */
int run(Stream *self);
#endif
