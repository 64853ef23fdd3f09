// Replays a command buffer (pyruvllm/kernels/commands.py). It trusts none of what it is given but `kernels`' function indices, which the
// host took from the table it loaded the modules into.
#include "replay.gen.h"

#define OPERANDS 30

typedef i32 (*kernel_function)(const void *);

// Whether (at, bytes) lies in one of n areas, which ascend and do not touch.
static inline i32 inside(const span *areas, u32 n, u32 at, u32 bytes) {
  const span *last = areas;  // that begins at or before `at`, where there is one
  while (n > 1) {
    u32 half = n / 2;
    last = last[half].at <= at ? last + half : last;
    n -= half;
  }
  return n && last->at <= at && at - last->at <= last->bytes && bytes <= last->bytes - (at - last->at);
}

KERNEL(replay, replay) {
  const u32 *command = DATA(const u32, a->commands), *kernels = DATA(const u32, a->kernels);
  const span *structs = DATA(const span, a->structs), *regions = DATA(const span, a->regions);
  u32 *failed = DATA(u32, a->failed);
  *failed = ~0u;
  for (u32 i = 0; i < a->count; i++, command += 2) {
    if (command[0] >= a->kinds) return FAIL(INDEX, ARG_replay_commands);
    const u32 *kernel = kernels + command[0] * (3 + OPERANDS);
    const u32 at = command[1];
    if (kernel[2] > OPERANDS || at % 4 || !inside(structs, a->areas, at, kernel[1])) return FAIL(VALUE, ARG_replay_commands);
    for (u32 k = 0; k < kernel[2]; k++) {
      if (kernel[1] < 8 || kernel[3 + k] > kernel[1] - 8) return FAIL(VALUE, ARG_replay_kernels);
      const span *operand = (const span *)(uintptr_t)(at + kernel[3 + k]);
      if (operand->bytes && !inside(regions, a->fields, operand->at, operand->bytes)) {
        *failed = i;
        return FAIL(VALUE, ARG_replay_regions);
      }
    }
    const i32 status = ((kernel_function)(uintptr_t)kernel[0])((const void *)(uintptr_t)at);
    if (status) {
      *failed = i;
      return status;
    }
  }
  return 0;
}
