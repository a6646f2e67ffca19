/* edgernn: run a streaming recurrent network one hop at a time.
 *
 * Memory      The caller owns all of it. A model borrows the file's bytes, which must be 64-byte aligned and outlive it;
 *             a stream lives in memory that the caller gives (`ernn_stream_size` bytes, 64-byte aligned). Nothing here
 *             allocates, locks, prints, reads the environment or has a global variable that changes.
 * Threads     A model is constant once opened: any number of threads and streams share it. A stream is used by one
 *             thread at a time.
 * Real time   step, step_all, process, push, flush, reset, prefetch, state_save and state_restore take bounded time and are safe
 *             in an audio callback. open, stream_init and selftest read the whole model: call them before.
 * Results     Every function that can fail gives an `ernn_status`; ERNN_OK is 0.
 */
#ifndef EDGERNN_H
#define EDGERNN_H
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(ERNN_SHARED)
#define ERNN_API __declspec(dllexport)
#elif defined(__GNUC__) && defined(ERNN_SHARED)
#define ERNN_API __attribute__((visibility("default")))
#else
#define ERNN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  ERNN_OK = 0,
  ERNN_ALIGNMENT,      /* file or stream memory is not 64-byte aligned */
  ERNN_TRUNCATED,      /* the file is shorter than it says, or than a header */
  ERNN_MAGIC,          /* no .ernn file */
  ERNN_NEWER,          /* the file needs a newer engine */
  ERNN_HEADER,         /* a reserved field of the header is not zero, or its size is wrong */
  ERNN_SECTIONS,       /* sections overlap, leave a gap, or are of an unknown kind or order */
  ERNN_PADDING,        /* a byte between sections or constants is not zero */
  ERNN_BLOBS,          /* constants do not fill the data section one after the other */
  ERNN_PROGRAMS,       /* programs do not cover the tables, or there is none */
  ERNN_TEXT,           /* a text lies outside its section */
  ERNN_VALUES,         /* a value has an unknown dtype or lies outside the arena or constants */
  ERNN_PORTS,          /* an input, output or state is inconsistent */
  ERNN_NODES,          /* an operation's record is malformed */
  ERNN_OPCODE,         /* an operation of an unknown kind */
  ERNN_OPERANDS,       /* an operation's operands do not fit it */
  ERNN_ARENA,          /* the working memory would be larger than the address space */
  ERNN_WORK,           /* a step, or the test vectors, would take more than 2^36 operations */
  ERNN_NO_PROGRAM,     /* no program of that number or name */
  ERNN_NO_ISA,         /* this CPU cannot run, or this build does not have, that instruction set */
  ERNN_MEMORY,         /* the stream's memory is smaller than ernn_stream_size */
  ERNN_INDEX,          /* an index input points outside its table; the state has advanced with row 0 in its place */
  ERNN_FLUSHED,        /* the sequence was ended; reset starts a new one */
  ERNN_WAITING,        /* pushed frames wait for the rest of their hop */
  ERNN_RATES,          /* process needs one input and one output of equal rates */
  ERNN_STATE,          /* a saved state is damaged */
  ERNN_OTHER_MODEL,    /* a saved state belongs to another model */
  ERNN_VECTORS,        /* the outputs on the file's own test vectors differ from those of its maker */
  ERNN_STATUS_COUNT
} ernn_status;

typedef enum { ERNN_FLOAT32, ERNN_INT64, ERNN_INT32, ERNN_INT16, ERNN_INT8, ERNN_UINT8, ERNN_BOOL } ernn_dtype;
typedef enum { ERNN_INPUT, ERNN_OUTPUT, ERNN_STATE_PORT } ernn_kind;

/* An opened file. Treat it as opaque. */
typedef struct {
  const uint8_t *data;
  uint64_t size;
  const void *section[7];
  uint64_t bytes[7];
} ernn_model;

typedef struct ernn_stream ernn_stream;

/* One input, output or state. A frame is one index of axis 0; `dims` includes axis 0 (the frames of one step). */
typedef struct {
  const char *name; /* not terminated */
  size_t name_size;
  ernn_dtype dtype;
  uint32_t rank;
  uint32_t dims[8];
  size_t bytes;    /* of one step's frames */
  uint32_t period; /* input frames per `group` frames (outputs) */
  int32_t offset;
  uint32_t group;
  int32_t extra;   /* T input frames have (T + offset) / period * group + extra frames (outputs) */
  uint32_t delay;  /* frames (outputs) */
} ernn_port;

/* Check a file's bytes and keep a pointer to them. */
ERNN_API ernn_status ernn_model_open(ernn_model *model, const void *data, size_t size);
ERNN_API uint32_t ernn_model_programs(const ernn_model *model);
/* The number of a program by name; ERNN_NO_PROGRAM when there is none. */
ERNN_API ernn_status ernn_model_find(const ernn_model *model, const char *name, size_t name_size, uint32_t *program);
/* How many inputs, outputs or states a program has. */
ERNN_API uint32_t ernn_model_ports(const ernn_model *model, uint32_t program, ernn_kind kind);
ERNN_API ernn_status ernn_model_port(const ernn_model *model, uint32_t program, ernn_kind kind, uint32_t index,
                                     ernn_port *port);
/* Input frames per step. */
ERNN_API uint32_t ernn_model_hop(const ernn_model *model, uint32_t program);
/* At least as many elementary operations (products, elements moved) as a step takes. A host that takes files from
 * strangers limits this and ernn_stream_size. */
ERNN_API uint64_t ernn_model_work(const ernn_model *model, uint32_t program);
/* What a state must match. */
ERNN_API uint64_t ernn_model_fingerprint(const ernn_model *model);
/* The program's streaming contract (JSON, not terminated); and its summary of operations. */
ERNN_API const char *ernn_model_spec(const ernn_model *model, uint32_t program, size_t *size);
ERNN_API const char *ernn_model_summary(const ernn_model *model, uint32_t program, size_t *size);

/* Instruction sets of this build, best first; NULL behind the last. */
ERNN_API const char *ernn_isa_name(uint32_t index);
/* Whether this CPU can run it. */
ERNN_API int ernn_isa_usable(const char *name);

/* Bytes that a stream needs; 0 when there is no such program. */
ERNN_API size_t ernn_stream_size(const ernn_model *model, uint32_t program);
typedef struct {
  const char *isa; /* NULL: the best that this CPU can run */
  int exact;       /* 1: float layers of an unquantized model are summed in the exact order too (slower) */
} ernn_options;
/* Make a stream in its initial state, and touch every page of its memory and weights. `options` may be NULL. */
ERNN_API ernn_status ernn_stream_init(ernn_stream **stream, const ernn_model *model, uint32_t program, void *memory,
                                      size_t size, const ernn_options *options);
ERNN_API const char *ernn_stream_isa(const ernn_stream *stream);

/* The stream's own buffers: write the inputs (`[hop, ...]`), step, read the outputs, valid until the next step. */
ERNN_API void *ernn_input(ernn_stream *stream, uint32_t index);
ERNN_API const void *ernn_output(const ernn_stream *stream, uint32_t index);
/* A state's memory, as its port says: to read it, or to set it between steps. */
ERNN_API void *ernn_state(ernn_stream *stream, uint32_t index);
/* Input frames from the start of the next step to the end of the sequence, 2^40 while that is not known; NULL where the
 * program does not ask. flush sets it; a caller that splits a sequence into steps itself does so here. */
ERNN_API int64_t *ernn_frames_left(ernn_stream *stream);
/* One hop, from the inputs' buffers to the outputs'. */
ERNN_API ernn_status ernn_step(ernn_stream *stream);
/* One hop of each of `count` streams, no stream twice, as `ernn_step` would do it: the same bits. Streams of one program and
 * instruction set that lie side by side read each panel of an int8 layer's weights once for up to 16 of them. When one of
 * the streams is flushed or waits for the rest of a hop, none is stepped; ERNN_INDEX says that all were, one with row 0. */
ERNN_API ernn_status ernn_step_all(ernn_stream *const *streams, uint32_t count);
/* n >= 1 frames in, n out, with a fixed lag of delay + hop - 1 frames (zeros first). One input, one output. */
ERNN_API ernn_status ernn_process(ernn_stream *stream, const void *in, void *out, size_t frames);
/* Any number of frames in; the whole-sequence frames that are due out. `in[i]` is input i, `out[o]` output o with room
 * for (held + frames) / hop steps of it; `got[o]` says how many came. */
ERNN_API ernn_status ernn_push(ernn_stream *stream, const void *const *in, size_t frames, void *const *out,
                               size_t *got);
/* End the sequence: one call gives the frames of one more step (`got` as in push) and ERNN_OK, until all have come and it
 * gives ERNN_FLUSHED. */
ERNN_API ernn_status ernn_flush(ernn_stream *stream, void *const *out, size_t *got);
/* Back to the initial state. */
ERNN_API void ernn_reset(ernn_stream *stream);
/* Ask the caches for the weights, well before the next frame is due. */
ERNN_API void ernn_prefetch(const ernn_stream *stream);

/* The whole state, frames that wait included; bound to this very model. */
ERNN_API size_t ernn_state_size(const ernn_stream *stream);
ERNN_API void ernn_state_save(const ernn_stream *stream, void *bytes);
ERNN_API ernn_status ernn_state_restore(ernn_stream *stream, const void *bytes, size_t size);

/* Run the file's own test vectors on an instruction set and compare the outputs' hash with the stored one. */
ERNN_API ernn_status ernn_selftest(const ernn_model *model, uint32_t program, void *memory, size_t size,
                                   const char *isa);
/* Outputs' hash (FNV-1a 64) after so many steps on inputs from the stated generator; advances the stream. */
ERNN_API uint64_t ernn_vectors_hash(ernn_stream *stream, uint64_t seed, uint32_t steps);
ERNN_API const char *ernn_status_text(ernn_status status);

#ifdef __cplusplus
}
#endif
#endif
