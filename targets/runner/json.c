/* Reading the contract, and printing as Python's json module does. */
#include "runner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_string(const char *at) {
  for (at++; *at && *at != '"'; at++)
    if (*at == '\\' && at[1]) at++;
  return *at ? at + 1 : at;
}

const char *json_skip(const char *at) {
  int depth = 0;
  while (*at) {
    if (*at == '"') {
      at = skip_string(at);
    } else if (*at == '[' || *at == '{') {
      depth++, at++;
    } else if (*at == ']' || *at == '}') {
      if (!depth) return at; /* the end of what the value stands in */
      depth--, at++;
    } else if (*at == ',' && !depth) {
      return at;
    } else {
      at++;
      continue;
    }
    if (!depth) return at;
  }
  return at;
}

const char *json_member(const char *object, const char *key) {
  const size_t size = strlen(key);
  if (*object != '{') return NULL;
  for (const char *at = object + 1; *at == '"';) {
    const char *end = skip_string(at);
    if (*end != ':') return NULL;
    if ((size_t)(end - at) == size + 2 && !memcmp(at + 1, key, size)) return end + 1;
    at = json_skip(end + 1);
    if (*at == ',') at++;
  }
  return NULL;
}

const char *json_item(const char *array, uint32_t index) {
  if (*array != '[') return NULL;
  const char *at = array + 1;
  for (; index && *at && *at != ']'; index--) {
    at = json_skip(at);
    if (*at == ',') at++;
  }
  return *at && *at != ']' ? at : NULL;
}

void print_string(const char *text) {
  putchar('"');
  for (; *text; text++) {
    const unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < 32 || c > 126)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

void print_double(double x) {
  if (!isfinite(x)) {
    fputs("null", stdout);
    return;
  }
  char text[40];
  int digits = 1;
  do snprintf(text, sizeof text, "%.*e", digits - 1, x);
  while (strtod(text, NULL) != x && ++digits <= 17);
  const int exponent = atoi(strchr(text, 'e') + 1);
  if (exponent < -4 || exponent >= 16) { /* 1e-05, as it is */
    fputs(text, stdout);
    return;
  }
  printf("%.*f", digits - 1 > exponent ? digits - 1 - exponent : 0, x);
  if (digits - 1 <= exponent) fputs(".0", stdout);
}

double rounded(double x, int decimals) {
  char text[400];
  snprintf(text, sizeof text, "%.*f", decimals, x);
  return strtod(text, NULL);
}
