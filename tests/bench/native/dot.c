// Inner products as wasm_kernels/distance.c takes them, compiled for this machine.
#include "distance.h"

void dots(const f32 *query, const f32 *rows, f32 *scores, u32 n, u32 dim, u32 rounds) {
  for (u32 round = 0; round < rounds; round++) {
    for (u32 i = 0; i + 4 <= n; i += 4) {
      const f32 *row = rows + i * dim;
      v128_t four = dots4_f32(query, row, row + dim, row + 2 * dim, row + 3 * dim, dim);
      memcpy(scores + i, &four, 16);
    }
    __asm__ volatile("" ::: "memory");
  }
}
