// C = A @ B, or C += A @ B, in tiles of 4 x 8 sums that stay in registers. Of B, 256 x 8 numbers at a time are packed into one piece,
// which stays in the first-level cache while all rows of A go past it; of A, 256 x 256 stay in the second.
#ifndef PYRUVLLM_MATMUL_TILED_H
#define PYRUVLLM_MATMUL_TILED_H

#include "vector.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

#define DEPTH 256u
#define WIDE 8u
#define TALL 256u
#define PANEL (DEPTH * WIDE)  // float32 in scratch memory

typedef struct {
  f32 *at;
  u32 step;  // from one row to the next, in numbers
} matrix;

INLINE matrix part(matrix x, u32 row, u32 col) { return (matrix){x.at + row * x.step + col, x.step}; }

static inline u32 least(u32 x, u32 y) { return x < y ? x : y; }

// depth rows of B from its column 0 on, `width` of them; zeros fill the rest of the panel.
static void pack(matrix B, f32 *panel, u32 depth, u32 width) {
  for (u32 p = 0; p < depth; p++, panel += WIDE, B.at += B.step) {
    if (width == WIDE) {
      wasm_v128_store(panel, wasm_v128_load(B.at));
      wasm_v128_store(panel + 4, wasm_v128_load(B.at + 4));
    } else {
      for (u32 j = 0; j < WIDE; j++) panel[j] = j < width ? B.at[j] : 0;
    }
  }
}

// R rows of A x the panel, into R x width of C.
INLINE void block(matrix A, const f32 *panel, matrix C, u32 depth, u32 width, u32 add, const u32 R) {
  v128_t sum[8];
  UNROLL for (u32 i = 0; i < 2 * R; i++) sum[i] = wasm_f32x4_splat(0);
  for (u32 p = 0; p < depth; p++, panel += WIDE) {
    const v128_t left = wasm_v128_load(panel), right = wasm_v128_load(panel + 4);
    UNROLL for (u32 r = 0; r < R; r++) {
      const v128_t x = wasm_v128_load32_splat(A.at + r * A.step + p);
      sum[2 * r] = MADD(x, left, sum[2 * r]);
      sum[2 * r + 1] = MADD(x, right, sum[2 * r + 1]);
    }
  }
  UNROLL for (u32 r = 0; r < R; r++) {
    f32 *c = C.at + r * C.step;
    if (width == WIDE) {
      if (add) sum[2 * r] = wasm_f32x4_add(sum[2 * r], wasm_v128_load(c)), sum[2 * r + 1] = wasm_f32x4_add(sum[2 * r + 1], wasm_v128_load(c + 4));
      wasm_v128_store(c, sum[2 * r]);
      wasm_v128_store(c + 4, sum[2 * r + 1]);
    } else {
      f32 lanes[WIDE];
      wasm_v128_store(lanes, sum[2 * r]);
      wasm_v128_store(lanes + 4, sum[2 * r + 1]);
      for (u32 j = 0; j < width; j++) c[j] = add ? c[j] + lanes[j] : lanes[j];
    }
  }
}

static void tiled(matrix A, matrix B, matrix C, u32 m, u32 k, u32 n, u32 add, f32 *panel) {
  if (!n) return;  // then m may be any number
  if (!k && !add)
    for (u32 i = 0; i < m; i++)
      for (u32 j = 0; j < n; j++) C.at[i * C.step + j] = 0;
  for (u32 top = 0; top < m; top += least(TALL, m - top)) {
    const u32 bottom = top + least(TALL, m - top);
    for (u32 p = 0; p < k; p += least(DEPTH, k - p)) {
      const u32 depth = least(DEPTH, k - p);
      for (u32 j = 0; j < n; j += least(WIDE, n - j)) {
        const u32 width = least(WIDE, n - j);
        pack(part(B, p, j), panel, depth, width);
        u32 i = top;
        for (; bottom - i >= 4; i += 4) block(part(A, i, p), panel, part(C, i, j), depth, width, add || p, 4);
        for (; i < bottom; i++) block(part(A, i, p), panel, part(C, i, j), depth, width, add || p, 1);
      }
    }
  }
}

#endif
