// Rows of weights times one vector: small products, where packing the weights anew would cost more than it gains.
#ifndef PYRUVLLM_ROWS_H
#define PYRUVLLM_ROWS_H

#include "lanes.h"

// Weights at .. at + 3, or the first m of them and zeros; float16 where half is 1.
static inline v128_t weights4(const void *weights, u32 half, u32 at, u32 m) {
  if (!half) return load_lanes((const f32 *)weights + at, m);
  const f16 *p = (const f16 *)weights + at;
  if (m >= 4) return load_f16x4(p);
  return wide4(wasm_u32x4_make(m > 0 ? p[0] : 0, m > 1 ? p[1] : 0, m > 2 ? p[2] : 0, 0));
}

// Lane k: the sum of the lanes of the k-th.
static inline v128_t sums4(v128_t a, v128_t b, v128_t c, v128_t d) {
  v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

// y[i] = keep * y[i] + scale * (row i of weights (n, dim) . x), four rows at a time; keep is 0 or 1.
__attribute__((always_inline)) static inline void times_rows(
    const void *weights, u32 half, u32 n, u32 dim, const f32 *x, f32 *y, f32 scale, u32 keep) {
  for (u32 i = 0; i < n; i += 4) {
    const u32 m = n - i;
    // Where fewer than four rows are left, the last stands in for those that are not there.
    const u32 r0 = i * dim, r1 = r0 + (m > 1 ? dim : 0), r2 = r1 + (m > 2 ? dim : 0), r3 = r2 + (m > 3 ? dim : 0);
    v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
    u32 j = 0;
    for (; j + 4 <= dim; j += 4) {
      v128_t v = wasm_v128_load(x + j);
      s0 = MADD(weights4(weights, half, r0 + j, 4), v, s0);
      s1 = MADD(weights4(weights, half, r1 + j, 4), v, s1);
      s2 = MADD(weights4(weights, half, r2 + j, 4), v, s2);
      s3 = MADD(weights4(weights, half, r3 + j, 4), v, s3);
    }
    if (j < dim) {
      v128_t v = load_lanes(x + j, dim - j);
      s0 = MADD(weights4(weights, half, r0 + j, dim - j), v, s0);
      s1 = MADD(weights4(weights, half, r1 + j, dim - j), v, s1);
      s2 = MADD(weights4(weights, half, r2 + j, dim - j), v, s2);
      s3 = MADD(weights4(weights, half, r3 + j, dim - j), v, s3);
    }
    v128_t sums = wasm_f32x4_mul(sums4(s0, s1, s2, s3), wasm_f32x4_splat(scale));
    store_lanes(y + i, keep ? wasm_f32x4_add(load_lanes(y + i, m), sums) : sums, m);
  }
}

#endif
