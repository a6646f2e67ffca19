/* Intrinsics: the compiler's, or ones emulated in C where a test asks for instructions that its CPU lacks. */
#ifndef ERNN_X86_H
#define ERNN_X86_H
#ifdef ERNN_PRETEND
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif
#endif
