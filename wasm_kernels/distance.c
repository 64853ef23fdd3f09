#include <wasm_simd128.h>

#include "distance.gen.h"

KERNEL(dot, dot) {
  const f32 *query = DATA(const f32, a->query), *rows = DATA(const f32, a->rows);
  f32 *scores = DATA(f32, a->scores);
  const u32 dim = a->dim;
  for (u32 i = 0; i < a->n; i++, rows += dim) {
    v128_t s0 = wasm_f32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    u32 j = 0;
    for (; j + 16 <= dim; j += 16) {
      s0 = wasm_f32x4_add(s0, wasm_f32x4_mul(wasm_v128_load(rows + j), wasm_v128_load(query + j)));
      s1 = wasm_f32x4_add(s1, wasm_f32x4_mul(wasm_v128_load(rows + j + 4), wasm_v128_load(query + j + 4)));
      s2 = wasm_f32x4_add(s2, wasm_f32x4_mul(wasm_v128_load(rows + j + 8), wasm_v128_load(query + j + 8)));
      s3 = wasm_f32x4_add(s3, wasm_f32x4_mul(wasm_v128_load(rows + j + 12), wasm_v128_load(query + j + 12)));
    }
    s0 = wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3));
    f32 sum = wasm_f32x4_extract_lane(s0, 0) + wasm_f32x4_extract_lane(s0, 1) + wasm_f32x4_extract_lane(s0, 2) + wasm_f32x4_extract_lane(s0, 3);
    for (; j < dim; j++) sum += rows[j] * query[j];
    scores[i] = sum;
  }
  return 0;
}
