#ifndef ERNN_START_H
#define ERNN_START_H
#include <stdint.h>

int main(void);
void say(const char *text);
void leave(int status);
uint32_t stack_used(void); /* bytes, the most since reset */
#endif
