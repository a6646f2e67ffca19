/* Coefficients of the activations, 16 segments each: columns of the rows in quantize/reference/tables.py, from the
 * constant up. */
#ifndef ERNN_TABLES_H
#define ERNN_TABLES_H
#include <stdint.h>

#define SIGMOID_0(F)                                                                                           \
  F(18422), F(22255), F(25470), F(27917), F(29644), F(30799), F(31545), F(32015), F(32307), F(32487),          \
  F(32597), F(32664), F(32705), F(32729), F(32745), F(32754)
#define SIGMOID_1(F)                                                                                           \
  F(2018), F(1785), F(1418), F(1033), F(707), F(462), F(294), F(183), F(113), F(70), F(42), F(26), F(15),      \
  F(10), F(6), F(4)
#define SIGMOID_2(F)                                                                                           \
  F(-32), F(-79), F(-97), F(-91), F(-72), F(-51), F(-34), F(-22), F(-14), F(-9), F(-5), F(-3), F(-2),          \
  F(0), F(-1), F(-1)
#define SIGMOID_3(F)                                                                                           \
  F(-12), F(-6), F(-1), F(3), F(3), F(4), F(3), F(3), F(2), F(0), F(1), F(0), F(1), F(0), F(0), F(-1)
#define TANH_0(F)                                                                                              \
  F(8023), F(20811), F(27797), F(30847), F(32048), F(32501), F(32670), F(32732), F(32755), F(32763),           \
  F(32766), F(32767), F(32767), F(32767), F(32767), F(32767)
#define TANH_1(F)                                                                                              \
  F(7699), F(4888), F(2297), F(932), F(356), F(133), F(49), F(18), F(6), F(3), F(1), F(0), F(0), F(0),         \
  F(0), F(0)
#define TANH_2(F)                                                                                              \
  F(-454), F(-763), F(-489), F(-222), F(-88), F(-33), F(-13), F(-5), F(-2), F(-1), F(0), F(0), F(0), F(0),     \
  F(0), F(0)
#define TANH_3(F)                                                                                              \
  F(-127), F(19), F(55), F(33), F(14), F(5), F(2), F(1), F(1), F(-1), F(0), F(0), F(0), F(0), F(0), F(0)

/* A coefficient of all segments: as words, and as low and high bytes for byte shuffles. */
typedef struct {
  int16_t words[16];
  uint8_t low[16], high[16];
} coefficient;

#define AS_WORD(x) (int16_t)(x)
#define AS_LOW(x) (uint8_t)((x) & 255)
#define AS_HIGH(x) (uint8_t)((x) >> 8 & 255)
#define COEFFICIENT(F) {{F(AS_WORD)}, {F(AS_LOW)}, {F(AS_HIGH)}}

static const coefficient sigmoid_table[4] __attribute__((aligned(64))) = {
    COEFFICIENT(SIGMOID_0), COEFFICIENT(SIGMOID_1), COEFFICIENT(SIGMOID_2), COEFFICIENT(SIGMOID_3)};
static const coefficient tanh_table[4] __attribute__((aligned(64))) = {COEFFICIENT(TANH_0), COEFFICIENT(TANH_1),
                                                                       COEFFICIENT(TANH_2), COEFFICIENT(TANH_3)};
#endif
