/* What the CPU can run; one function per instruction set. */
#ifndef ERNN_CPU_H
#define ERNN_CPU_H
#include "model.h"

int cpu_has_scalar(void);
int cpu_has_sse41(void);
int cpu_has_avx2(void);
int cpu_has_avxvnni(void);
int cpu_has_avx512vnni(void);
int cpu_has_neon(void);
int cpu_has_dotprod(void);
#endif
