/* ernn_bench: the latency of a step, by the protocol of `edgernn bench`, whose JSON it prints.
 *
 *     ernn_bench MODEL... [--rate HZ] [--steps N] [--seconds S] [--isa NAME]
 *     ernn_bench MODEL --only-steps N
 *
 * The second form runs N steps and prints no times: an emulator counts its instructions.
 * Back-to-back runs step after step, the files in turns. Paced sleeps until the next hop is due, as a live stream does. */
#include "runner.h"
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { SCHEMA = 1, WARM_UP = 50, ROUND = 100, RING = 16, MOST_FILES = 16 };

typedef struct {
  const char *path, *name;
  loaded l;
  uint8_t **ring[RING]; /* random frames of one step, by input */
  uint32_t at;
  double period, load_ms; /* s between hops, 0: not known */
  uint64_t *ns;           /* of each step, back-to-back */
} subject;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t random_word(void) { /* xorshift: any numbers will do */
  static uint32_t x = 7;
  x ^= x << 13, x ^= x >> 17, x ^= x << 5;
  return x;
}

static void step(subject *s) {
  uint8_t **frames = s->ring[s->at++ % RING];
  for (uint32_t i = 0; i < s->l.inputs; i++) memcpy(ernn_input(s->l.stream, i), frames[i], s->l.input[i].port.bytes);
  ernn_step(s->l.stream);
}

static uint64_t timed(subject *s) {
  const uint64_t began = now();
  step(s);
  return now() - began;
}

static void open_subject(subject *s, const char *path, double rate, size_t steps, const char *isa) {
  const char *slash = strrchr(path, '/');
  const uint64_t began = now();
  s->path = path, s->name = slash ? slash + 1 : path;
  load(&s->l, path, isa);
  s->load_ms = (double)(now() - began) / 1e6;
  if (!(rate > 0)) rate = s->l.input->rate;
  s->period = rate > 0 ? s->l.hop / rate : 0;
  s->ns = allocate(steps * sizeof *s->ns);
  for (int r = 0; r < RING; r++) {
    s->ring[r] = allocate(s->l.inputs * sizeof **s->ring);
    for (uint32_t i = 0; i < s->l.inputs; i++) { /* other dtypes stay 0, an index that every table has */
      float *x = allocate(s->l.input[i].port.bytes);
      for (size_t k = 0; s->l.input[i].port.dtype == ERNN_FLOAT32 && k < s->l.input[i].port.bytes / 4; k++)
        x[k] = (float)(random_word() >> 8) * 0x1p-23f - 1.0f;
      s->ring[r][i] = (uint8_t *)x;
    }
  }
  for (int i = 0; i < WARM_UP; i++) step(s);
}

static int by_size(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* µs, interpolated between the two times next to it. */
static double percentile(const uint64_t *sorted, size_t count, double q) {
  const double place = q / 100 * (double)(count - 1);
  const size_t low = (size_t)place, high = low + 1 < count ? low + 1 : low;
  const double a = (double)sorted[low], b = (double)sorted[high];
  return rounded((a + (b - a) * (place - (double)low)) / 1000, 3);
}

static void field(const char *key, double value) {
  printf(", \"%s\": ", key);
  print_double(value);
}

static double peak_mb(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[200];
  double kb = -1;
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, "VmHWM:", 6)) kb = strtod(line + 6, NULL);
  if (file) fclose(file);
  return kb < 0 ? kb : rounded(kb / 1024, 1);
}

static void print_row(const subject *s, const char *kind, uint64_t *ns, size_t count, long misses) {
  static const struct {
    const char *key;
    double q;
  } figures[] = {{"p50_us", 50}, {"p90_us", 90}, {"p99_us", 99}, {"p999_us", 99.9}, {"max_us", 100}};
  qsort(ns, count, sizeof *ns, by_size);
  fputs("{\"file\": ", stdout), print_string(s->name);
  printf(", \"backend\": \"engine %s\", \"kind\": \"%s\", \"steps\": %lu", ernn_stream_isa(s->l.stream), kind,
         (unsigned long)count);
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
    field(figures[i].key, percentile(ns, count, figures[i].q));
  if (s->period > 0)
    field("rtf", rounded(percentile(ns, count, 50) / 1e6 / s->period, 7));
  else
    fputs(", \"rtf\": null", stdout);
  if (misses < 0)
    fputs(", \"misses\": null", stdout);
  else
    printf(", \"misses\": %ld", misses);
  field("load_ms", rounded(s->load_ms, 2));
  const double mb = peak_mb();
  if (mb < 0)
    fputs(", \"rss_mb\": null}", stdout);
  else
    field("rss_mb", mb), putchar('}');
}

static void paced(subject *s, double seconds) {
  size_t count = (size_t)(seconds / s->period);
  if (count < 10) count = 10;
  uint64_t *ns = allocate(count * sizeof *ns);
  const double period = s->period * 1e9;
  const uint64_t start = now();
  long misses = 0;
  for (size_t i = 0; i < count; i++) {
    const uint64_t due = start + (uint64_t)(period * (double)(i + 1)), at = now();
    if (due > at) {
      const struct timespec wait = {(time_t)((due - at) / 1000000000u), (long)((due - at) % 1000000000u)};
      nanosleep(&wait, NULL);
    }
    ns[i] = timed(s);
    misses += now() > due + (uint64_t)period;
  }
  print_row(s, "paced", ns, count, misses);
  free(ns);
}

static const char *cpu_name(char *room, size_t size) {
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[300], model[300] = "";
  room[0] = 0;
  while (file && fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (!colon) continue;
    line[strcspn(line, "\n")] = 0;
    const char *value = colon + 1 + strspn(colon + 1, " ");
    if (!strncmp(line, "model name", 10) && !*room) snprintf(room, size, "%s", value);
    if (!strncmp(line, "Model", 5)) snprintf(model, sizeof model, "%s", value);
  }
  if (file) fclose(file);
  if (!*room) snprintf(room, size, "%s", model);
  return room;
}

static void text_or_null(const char *key, const char *text) {
  printf(", \"%s\": ", key);
  if (*text)
    print_string(text);
  else
    fputs("null", stdout);
}

static void print_machine(const char *governor, const char *throttled) {
  struct utsname system;
  char cpu[300], line[64];
  uname(&system);
  fputs("\"machine\": {\"cpu\": ", stdout), print_string(*cpu_name(cpu, sizeof cpu) ? cpu : system.machine);
  printf(", \"cores\": %ld", sysconf(_SC_NPROCESSORS_ONLN));
  text_or_null("governor", governor);
  const char *heat = first_line("/sys/class/thermal/thermal_zone0/temp", line, sizeof line);
  if (*heat)
    field("temperature_c", rounded(strtod(heat, NULL) / 1000, 1));
  else
    fputs(", \"temperature_c\": null", stdout);
  text_or_null("throttled", throttled);
  text_or_null("system", system.sysname);
  fputs(", \"python\": null, \"threads\": 1}", stdout);
}

int main(int count, char **words) {
  const char *path[MOST_FILES], *isa = NULL;
  size_t files = 0, steps = 2000, only = 0;
  double rate = 0, seconds = 5;
  for (int i = 1; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : NULL;
    if (words[i][0] != '-') {
      if (files == MOST_FILES) fail_usage("too many files");
      path[files++] = words[i];
      continue;
    }
    if (!value) fail_usage("an option misses its value");
    if (!strcmp(words[i], "--rate"))
      rate = strtod(value, NULL);
    else if (!strcmp(words[i], "--steps"))
      steps = strtoul(value, NULL, 10);
    else if (!strcmp(words[i], "--seconds"))
      seconds = strtod(value, NULL);
    else if (!strcmp(words[i], "--isa"))
      isa = value;
    else if (!strcmp(words[i], "--only-steps"))
      only = strtoul(value, NULL, 10);
    else
      fail_usage("an option is not known");
    i++;
  }
  if (!files || steps < 100 || !(seconds > 0)) fail_usage("usage: ernn_bench MODEL... [--rate HZ] [--steps N, at least 100] [--seconds S]");
  subject *subjects = allocate(files * sizeof *subjects);
  for (size_t f = 0; f < files; f++) open_subject(subjects + f, path[f], rate, steps, isa);
  if (only) {
    for (size_t i = 0; i < only; i++) step(subjects);
    printf("{\"isa\": \"%s\"}\n", ernn_stream_isa(subjects->l.stream));
    return 0;
  }
  for (size_t start = 0; start < steps; start += ROUND)
    for (size_t f = 0; f < files; f++)
      for (size_t i = start; i < start + ROUND && i < steps; i++) subjects[f].ns[i] = timed(subjects + f);
  printf("{\"schema\": %d, \"rows\": [", SCHEMA);
  for (size_t f = 0; f < files; f++) {
    if (f) fputs(", ", stdout);
    print_row(subjects + f, "back-to-back", subjects[f].ns, steps, -1);
    if (subjects[f].period > 0) fputs(", ", stdout), paced(subjects + f, seconds);
  }
  char governor[64], throttled[64];
  first_line("/sys/devices/platform/soc/soc:firmware/get_throttled", throttled, sizeof throttled);
  first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor, sizeof governor);
  fputs("], ", stdout), print_machine(governor, throttled), fputs(", \"notes\": [", stdout);
  const char *comma = "";
  for (size_t f = 0; f < files; f++) {
    if (subjects[f].period > 0) continue;
    char note[300];
    snprintf(note, sizeof note, "%s: no paced row, the rate is not known (give --rate HZ)", subjects[f].name);
    fputs(comma, stdout), print_string(note), comma = ", ";
  }
  if (*throttled && strcmp(throttled, "0") && strcmp(throttled, "0x0"))
    printf("%s\"the board was slowed down (throttled %s)\"", comma, throttled), comma = ", ";
  if (strcmp(governor, "performance"))
    printf("%s\"the clock is not fixed (governor %s): compare only within one run\"", comma, *governor ? governor : "unknown");
  puts("]}");
  return 0;
}
