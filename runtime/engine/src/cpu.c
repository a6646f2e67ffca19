/* Which instruction sets this build has and this CPU can run. */
#include "cpu.h"
#include "ops/portable.h"

#define ERNN_ISA(name) extern const ernn_isa ernn_isa_##name;
#include "ernn_isas.h"
#undef ERNN_ISA

static const ernn_isa *const isas[] = { /* best first */
#define ERNN_ISA(name) &ernn_isa_##name,
#include "ernn_isas.h"
#undef ERNN_ISA
};

ernn_run *const ernn_common[OP_COUNT] = {
#define X(op) [OP_##op] = ernn_##op,
    ERNN_COMMON(X)
#undef X
};

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

const ernn_isa *ernn_find_isa(const char *name) {
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
    if ((!name || same(name, isas[i]->name)) && isas[i]->usable()) return isas[i];
  return NULL;
}

const char *ernn_isa_name(uint32_t index) { return index < sizeof isas / sizeof *isas ? isas[index]->name : NULL; }

int ernn_isa_usable(const char *name) { return name && ernn_find_isa(name) != NULL; }

int ernn_cpu_has_scalar(void) { return 1; }

#if defined(ERNN_PRETEND) /* instructions are emulated: every instruction set can run */
int ernn_cpu_has_sse41(void) { return 1; }
int ernn_cpu_has_avx2(void) { return 1; }
int ernn_cpu_has_avxvnni(void) { return 1; }
int ernn_cpu_has_avx512vnni(void) { return 1; }
#elif defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
#include <cpuid.h>

typedef struct {
  unsigned c1, b7, c7, a71, xcr0;
} x86_features;

static x86_features x86(void) {
  unsigned a, b, c, d, most = 0;
  x86_features f = {0};
  __cpuid(0, most, b, c, d);
  __cpuid(1, a, b, f.c1, d);
  if (f.c1 >> 27 & 1) __asm__("xgetbv" : "=a"(f.xcr0), "=d"(d) : "c"(0)); /* the system saves these registers */
  if (most >= 7) {
    unsigned sub;
    __cpuid_count(7, 0, sub, f.b7, f.c7, d);
    if (sub >= 1) __cpuid_count(7, 1, f.a71, b, c, d);
  }
  return f;
}

int ernn_cpu_has_sse41(void) { return x86().c1 >> 19 & 1; }

int ernn_cpu_has_avx2(void) { /* and FMA */
  x86_features f = x86();
  return (f.xcr0 & 6) == 6 && (f.b7 >> 5 & 1) && (f.c1 >> 12 & 1);
}

int ernn_cpu_has_avxvnni(void) { return ernn_cpu_has_avx2() && (x86().a71 >> 4 & 1); }

int ernn_cpu_has_avx512vnni(void) { /* F, BW, VL and VNNI */
  x86_features f = x86();
  return ernn_cpu_has_avx2() && (f.xcr0 & 0xe6) == 0xe6 && (f.b7 >> 16 & 1) && (f.b7 >> 30 & 1) && (f.b7 >> 31 & 1) &&
         (f.c7 >> 11 & 1);
}
#elif defined(__aarch64__)
int ernn_cpu_has_neon(void) { return 1; }
#if defined(__ARM_FEATURE_DOTPROD) || defined(__ENVIRONMENT_MAC_OS_X_VERSION_MIN_REQUIRED__)
int ernn_cpu_has_dotprod(void) { return 1; } /* compiled for CPUs that have it; every arm64 Mac */
#elif defined(__linux__)
extern unsigned long getauxval(unsigned long) __attribute__((weak));
int ernn_cpu_has_dotprod(void) { return getauxval && (getauxval(16) >> 20 & 1); }
#else
int ernn_cpu_has_dotprod(void) { return 0; }
#endif
#elif defined(__wasm__)
int ernn_cpu_has_wasm128(void) { return 1; } /* a module with such instructions does not load where they are not */
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
int ernn_cpu_has_dsp(void) { return 1; } /* microcontrollers are compiled for the one that they are */
int ernn_cpu_has_mve(void) { return 1; }
#elif defined(__arm__)
int ernn_cpu_has_dsp(void) { return 1; } /* builds have it where every CPU that they are for does: Armv6 */
#if defined(__ARM_NEON)
int ernn_cpu_has_neon(void) { return 1; } /* compiled for CPUs that have it */
#elif defined(__linux__)
extern unsigned long getauxval(unsigned long) __attribute__((weak));
int ernn_cpu_has_neon(void) { return getauxval && (getauxval(16) >> 12 & 1); }
#else
int ernn_cpu_has_neon(void) { return 0; }
#endif
#endif
