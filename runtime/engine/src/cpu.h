/* What the CPU can run; one function per instruction set. */
#ifndef ERNN_CPU_H
#define ERNN_CPU_H
#include "model.h"

int ernn_cpu_has_scalar(void);
int ernn_cpu_has_sse41(void);
int ernn_cpu_has_avx2(void);
int ernn_cpu_has_avxvnni(void);
int ernn_cpu_has_avx512vnni(void);
int ernn_cpu_has_neon(void);
int ernn_cpu_has_dotprod(void);
int ernn_cpu_has_dsp(void);
int ernn_cpu_has_mve(void);
int ernn_cpu_has_wasm128(void);
#endif
