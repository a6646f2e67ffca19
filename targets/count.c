/* A plugin of QEMU: how many instructions ran, written as decimal digits into the file that `to=PATH` names.
 *
 * The prototypes are those of QEMU's plugin interface, of which no header is installed. A block of translated code is
 * counted each time it runs, by the instructions in it: a callback that every version of the interface has. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifndef PLUGIN_VERSION
#error "PLUGIN_VERSION is that of the interface: 1 before QEMU 9, 2 from there on"
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { NO_REGISTERS = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*made)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*runs)(unsigned, void *), int flags,
                                                 void *data);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*ends)(plugin_id, void *), void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;
static uint64_t count;
static char path[4096];

static void runs(unsigned cpu, void *instructions) {
  (void)cpu;
  count += (uintptr_t)instructions;
}

static void made(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  const uintptr_t instructions = qemu_plugin_tb_n_insns(block);
  qemu_plugin_register_vcpu_tb_exec_cb(block, runs, NO_REGISTERS, (void *)instructions);
}

static void ends(plugin_id id, void *data) {
  (void)id, (void)data;
  FILE *file = fopen(path, "w");
  if (!file) return; /* who asked sees that it is missing */
  fprintf(file, "%" PRIu64 "\n", count);
  fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int words, char **word) {
  (void)info;
  if (words != 1 || strncmp(word[0], "to=", 3) || strlen(word[0] + 3) >= sizeof path) return 1;
  strcpy(path, word[0] + 3);
  qemu_plugin_register_vcpu_tb_trans_cb(id, made);
  qemu_plugin_register_atexit_cb(id, ends, NULL);
  return 0;
}
