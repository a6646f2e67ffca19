/* The UART of Arm's CMSDK, as MPS2 and MPS3 boards have it: 8 bits, no parity, 115200 baud. */
#include "firmware.h"
#include "start.h"
#include "uart.h"

typedef struct {
  volatile uint32_t data, state, control, interrupts, divisor;
} registers;

enum { BAUD = 115200, SENDING = 1, RECEIVED = 2, SEND_AND_RECEIVE = 3 };

static registers *uart(void) { return (registers *)(uintptr_t)UART_AT; }

void uart_start(void) {
  uart()->divisor = (UART_HZ + BAUD / 2) / BAUD;
  uart()->control = SEND_AND_RECEIVE;
}

void uart_send(char byte) {
  while (uart()->state & SENDING) {}
  uart()->data = (uint8_t)byte;
}

char uart_receive(void) {
  while (!(uart()->state & RECEIVED)) {}
  return (char)uart()->data;
}
