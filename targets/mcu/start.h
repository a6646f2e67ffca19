#ifndef ERNN_START_H
#define ERNN_START_H
#include <stdint.h>

/* The program's. */
int main(void);
void on_tick(void); /* of SysTick; where a program has none, nothing happens */
/* semihosting.c's, or the program's. */
void say(const char *text);
void leave(int status);
/* start.c's. */
uint32_t stack_used(void); /* bytes, the most since reset */
#endif
