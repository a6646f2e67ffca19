/* Registers of 128 bits as the compiler has them. */
#define FLOATS plain
#define FUNCTION APART
#define RW 16
#define RD 16
#include "floats.h"
