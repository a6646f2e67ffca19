/* What a driver of a board's serial line has: uart_NAME.c, which [firmware] of the board's file names. firmware.h says
 * where its registers are (UART_AT) and which clock it divides (UART_HZ). */
#ifndef ERNN_UART_H
#define ERNN_UART_H

void uart_start(void); /* 115200 baud, 8 bits, no parity, one stop bit */
void uart_send(char byte);
char uart_receive(void); /* waits */
#endif
