/* ernn_run: stream a recording through a model; what `edgernn run` prints, line for line.
 *
 *     ernn_run MODEL --input FILE.wav|FILE|- [--format s16le|f32le|raw] [--rate HZ] [--chunk N] [--hash] [--isa NAME]
 *
 * Of `raw`, elements have the input's own dtype; a model of several inputs takes `--input` for each, in the contract's
 * order. */
#include "runner.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 16, S16 = 1, F32 = 2, RAW = 3, U8 = 4, S32 = 5 };

typedef struct {
  FILE *file;
  const char *path;
  int kind;       /* of its samples */
  uint64_t bytes; /* still to be read; UINT64_MAX: to the end */
} source;

typedef struct {
  const char *model, *isa, *path[MOST_INPUTS];
  uint32_t paths;
  size_t chunk; /* frames at a time; 0: the hop */
  double rate;  /* of the frames that come; 0: not known */
  int kind, hash;
} request;

static request parse(int count, char **words) {
  request r = {.kind = S16};
  for (int i = 1; i < count; i++) {
    const char *word = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
    if (word[0] != '-') {
      if (r.model) fail_usage("one model at a time");
      r.model = word;
      continue;
    }
    if (!strcmp(word, "--hash")) {
      r.hash = 1;
      continue;
    }
    if (!value) fail_usage("an option misses its value, or is not known");
    i++;
    if (!strcmp(word, "--input") || !strcmp(word, "-i")) {
      if (r.paths == MOST_INPUTS) fail_usage("too many inputs");
      r.path[r.paths++] = value;
    } else if (!strcmp(word, "--format")) {
      r.kind = !strcmp(value, "s16le") ? S16 : !strcmp(value, "f32le") ? F32 : !strcmp(value, "raw") ? RAW : 0;
      if (!r.kind) fail_usage("--format is s16le, f32le or raw");
    } else if (!strcmp(word, "--rate")) {
      r.rate = strtod(value, NULL);
    } else if (!strcmp(word, "--chunk")) {
      r.chunk = strtoul(value, NULL, 10);
      if (!r.chunk) fail_usage("--chunk is a number of frames");
    } else if (!strcmp(word, "--isa")) {
      r.isa = value;
    } else {
      fail_usage("an option is not known");
    }
  }
  if (!r.model || !r.paths) fail_usage("usage: ernn_run MODEL --input FILE|- [--format s16le|f32le|raw] [--hash]");
  return r;
}

static uint32_t little(const uint8_t *at, int bytes) {
  uint32_t value = 0;
  while (bytes--) value = value << 8 | at[bytes];
  return value;
}

/* Read a wav's chunks up to its samples. */
static void open_wav(source *s, const port_info *input) {
  uint8_t head[12], chunk[8], format[16] = {0};
  if (fread(head, 1, 12, s->file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    fail(s->path, "is no PCM wav file");
  while (fread(chunk, 1, 8, s->file) == 8) {
    const uint32_t size = little(chunk + 4, 4);
    if (!memcmp(chunk, "data", 4)) {
      const uint32_t kind = little(format, 2), channels = little(format + 2, 2), bits = little(format + 14, 2);
      if ((kind != 1 && kind != 0xfffe) || (bits != 8 && bits != 16 && bits != 32))
        fail(s->path, "is no PCM wav file of 8, 16 or 32 bits");
      if (input->rate > 0 && (double)little(format + 4, 4) != input->rate) fail(s->path, "has another rate than the model's");
      if (channels != input->elements) fail(s->path, "has another number of channels than the model's");
      s->kind = bits == 8 ? U8 : bits == 16 ? S16 : S32, s->bytes = size;
      return;
    }
    size_t known = memcmp(chunk, "fmt ", 4) ? 0 : size < 16 ? size : 16, rest = size + (size & 1) - known;
    if (fread(format, 1, known, s->file) != known) break;
    for (; rest && fgetc(s->file) != EOF; rest--) {}
  }
  fail(s->path, "is no PCM wav file");
}

static source open_source(const char *path, int kind, const port_info *input) {
  source s = {.file = stdin, .path = path, .kind = kind, .bytes = UINT64_MAX};
  const size_t length = strlen(path);
  if (strcmp(path, "-")) s.file = fopen(path, "rb");
  if (!s.file) fail(path, "cannot be read");
  if (kind != RAW && input->port.dtype != ERNN_FLOAT32) fail(path, "samples go to a float32 input; others take --format raw");
  if (length > 4 && !strcmp(path + length - 4, ".wav")) open_wav(&s, input);
  return s;
}

/* Up to `frames` whole frames into `to`; how many came. */
static size_t read_frames(source *s, const port_info *input, void *to, size_t frames) {
  static const size_t widths[] = {0, 2, 4, 0, 1, 4};
  const size_t width = s->kind == RAW ? element_size(input->port.dtype) : widths[s->kind], each = width * input->elements;
  uint64_t most = s->bytes / each;
  if (frames > most) frames = (size_t)most;
  uint8_t *bytes = allocate(frames * each + 1);
  frames = fread(bytes, each, frames, s->file);
  if (s->bytes != UINT64_MAX) s->bytes -= frames * each;
  float *y = to;
  for (size_t i = 0; i < frames * input->elements; i++) {
    const uint32_t word = little(bytes + i * width, width == 8 ? 4 : (int)width);
    if (s->kind == U8) y[i] = (float)word / 128.0f - 1.0f;
    if (s->kind == S16) y[i] = (float)(int16_t)word / 32768.0f;
    if (s->kind == S32) y[i] = (float)(int32_t)word / 2147483648.0f;
  }
  if (s->kind == F32 || s->kind == RAW) memcpy(to, bytes, frames * each);
  free(bytes);
  return frames;
}

static double element(const port_info *p, const uint8_t *at) {
  union { float f; uint32_t u; } word = {.u = little(at, 4)};
  switch (p->port.dtype) {
  case ERNN_FLOAT32: return (double)word.f;
  case ERNN_INT32: return (double)(int32_t)word.u;
  case ERNN_INT16: return (double)(int16_t)little(at, 2);
  case ERNN_INT8: return (double)(int8_t)*at;
  default: return (double)*at;
  }
}

static void print_element(const port_info *p, const uint8_t *at) {
  if (p->port.dtype == ERNN_FLOAT32)
    print_double(element(p, at));
  else if (p->port.dtype == ERNN_BOOL)
    fputs(*at ? "true" : "false", stdout);
  else if (p->port.dtype == ERNN_INT64)
    printf("%lld", (long long)((uint64_t)little(at + 4, 4) << 32 | little(at, 4)));
  else
    printf("%ld", (long)element(p, at));
}

/* A frame as nested lists. */
static const uint8_t *print_frame(const port_info *p, uint32_t axis, const uint8_t *at) {
  if (axis == p->rank) {
    print_element(p, at);
    return at + element_size(p->port.dtype);
  }
  putchar('[');
  for (uint32_t i = 0; i < p->frame[axis]; i++) {
    if (i) fputs(", ", stdout);
    at = print_frame(p, axis + 1, at);
  }
  putchar(']');
  return at;
}

/* The first NaN, or the first of the largest. */
static uint32_t largest(const port_info *p, const uint8_t *frame) {
  const size_t width = element_size(p->port.dtype);
  uint32_t best = 0;
  for (uint32_t i = 0; i < p->elements; i++) {
    const double x = element(p, frame + i * width), y = element(p, frame + best * width);
    if (x > y || (x != x && y == y)) best = i;
  }
  return best;
}

static void print_frames(const loaded *l, uint32_t output, const uint8_t *at, size_t count, uint64_t *next) {
  const port_info *p = l->output + output;
  const char *labels = json_member(l->spec, "labels");
  uint32_t known = 0;
  while (labels && json_item(labels, known)) known++;
  for (; count; count--, at += p->bytes, (*next)++) {
    printf("{\"frame\": %llu", (unsigned long long)*next);
    if (p->rate > 0) fputs(", \"time_s\": ", stdout), print_double(rounded((double)*next / p->rate, 6));
    printf(", %.*s: ", (int)p->name_size, p->name);
    print_frame(p, 0, at);
    if (known && p->rank == 1 && p->frame[0] == known) {
      const char *label = json_item(labels, largest(p, at));
      printf(", \"label\": %.*s", (int)(json_skip(label) - label), label);
    }
    puts("}");
  }
}

/* Room for the outputs of one call, the frames of all outputs behind one another in the hash and in print. */
typedef struct {
  uint8_t **room;
  size_t *size, *got;
  uint64_t *next;
} results;

static void make_room(const loaded *l, results *r, uint32_t output, size_t frames) {
  const size_t bytes = frames * l->output[output].bytes;
  if (bytes <= r->size[output]) return;
  r->room[output] = realloc(r->room[output], bytes);
  if (!r->room[output]) fail("memory", "there is not enough of it");
  r->size[output] = bytes;
}

static void show(const loaded *l, results *r, sha256 *hash) {
  for (uint32_t o = 0; o < l->outputs; o++) sha256_add(hash, r->room[o], r->got[o] * l->output[o].bytes);
  for (uint32_t o = 0; o < l->outputs; o++) print_frames(l, o, r->room[o], r->got[o], r->next + o);
}

static void push(const loaded *l, results *r, const void *const *frames, size_t count) {
  for (uint32_t o = 0; o < l->outputs; o++) make_room(l, r, o, (count / l->hop + 1) * l->output[o].port.dims[0]);
  ernn_status status = ernn_push(l->stream, frames, count, (void *const *)r->room, r->got);
  if (status) fail("push", ernn_status_text(status));
}

/* All frames that are missing, step by step into the places behind one another. */
static void flush(const loaded *l, results *r) {
  size_t *total = allocate(l->outputs * sizeof *total);
  void **at = allocate(l->outputs * sizeof *at);
  for (;;) {
    for (uint32_t o = 0; o < l->outputs; o++) {
      make_room(l, r, o, total[o] + l->output[o].port.dims[0]);
      at[o] = r->room[o] + total[o] * l->output[o].bytes;
    }
    ernn_status status = ernn_flush(l->stream, at, r->got);
    if (status == ERNN_FLUSHED) break;
    if (status) fail("flush", ernn_status_text(status));
    for (uint32_t o = 0; o < l->outputs; o++) total[o] += r->got[o];
  }
  for (uint32_t o = 0; o < l->outputs; o++) r->got[o] = total[o];
}

int main(int count, char **words) {
  request r = parse(count, words);
  loaded l;
  load(&l, r.model, r.isa);
  if (r.paths != l.inputs) fail(r.model, "has another number of inputs: give --input for each");
  if (r.rate > 0 && l.input->rate > 0 && r.rate != l.input->rate) fail(r.model, "takes frames of another rate");
  source *sources = allocate(l.inputs * sizeof *sources);
  void **frames = allocate(l.inputs * sizeof *frames);
  if (!r.chunk) r.chunk = l.hop;
  for (uint32_t i = 0; i < l.inputs; i++) {
    sources[i] = open_source(r.path[i], r.kind, l.input + i);
    frames[i] = allocate(r.chunk * l.input[i].bytes);
  }
  results out = {allocate(l.outputs * sizeof *out.room), allocate(l.outputs * sizeof *out.size),
                 allocate(l.outputs * sizeof *out.got), allocate(l.outputs * sizeof *out.next)};
  sha256 hash;
  sha256_start(&hash);
  for (;;) {
    const size_t came = read_frames(sources, l.input, frames[0], r.chunk);
    for (uint32_t i = 1; i < l.inputs; i++)
      if (read_frames(sources + i, l.input + i, frames[i], r.chunk) != came)
        fail(r.path[i], "has another number of frames than the first input");
    if (!came) break;
    push(&l, &out, (const void *const *)frames, came);
    show(&l, &out, &hash);
  }
  flush(&l, &out);
  show(&l, &out, &hash);
  char text[65];
  sha256_end(&hash, text);
  if (r.hash) printf("{\"sha256\": \"%s\"}\n", text);
  if (fflush(stdout)) fail("stdout", "cannot be written");
  return 0;
}
