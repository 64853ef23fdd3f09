// The numbers at the end of a row, where fewer than four are left.
#ifndef PYRUVLLM_LANES_H
#define PYRUVLLM_LANES_H

#include "vector.h"

// The first m of four numbers (m >= 4: all), the others 0.
static inline v128_t load_lanes(const f32 *p, u32 m) {
  if (m >= 4) return wasm_v128_load(p);
  v128_t v = wasm_f32x4_const_splat(0);
  if (m > 0) v = wasm_v128_load32_zero(p);
  if (m > 1) v = wasm_v128_load32_lane(p + 1, v, 1);
  if (m > 2) v = wasm_v128_load32_lane(p + 2, v, 2);
  return v;
}

static inline void store_lanes(f32 *p, v128_t v, u32 m) {
  if (m >= 4) {
    wasm_v128_store(p, v);
    return;
  }
  if (m > 0) wasm_v128_store32_lane(p, v, 0);
  if (m > 1) wasm_v128_store32_lane(p + 1, v, 1);
  if (m > 2) wasm_v128_store32_lane(p + 2, v, 2);
}

#endif
