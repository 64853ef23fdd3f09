// What all families do with 128-bit vectors: multiply-add, sums over lanes, float16.
#ifndef PYRUVLLM_VECTOR_H
#define PYRUVLLM_VECTOR_H

#include <wasm_simd128.h>

#include "abi.h"

// x * y + z. Relaxed SIMD may round once or twice, by engine; SIMD128 rounds twice everywhere.
#ifdef __wasm_relaxed_simd__
#define MADD(x, y, z) wasm_f32x4_relaxed_madd(x, y, z)
#else
#define MADD(x, y, z) wasm_f32x4_add(wasm_f32x4_mul(x, y), z)
#endif

static inline f32 sum4(v128_t v) {
  v = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1);
}

static inline i32 sum4i(v128_t v) {
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(v, 0) + wasm_i32x4_extract_lane(v, 1);
}

// Four float16, zero-extended to 32 bits, as float32. WASM has no such type: exponent and mantissa are moved into place and scaled,
// which is exact for every number, subnormal ones included; infinities and NaN get the exponent that the scaling missed.
static inline v128_t wide4(v128_t bits) {
  v128_t sign = wasm_i32x4_shl(wasm_v128_and(bits, wasm_i32x4_const_splat(0x8000)), 16);
  v128_t rest = wasm_v128_and(bits, wasm_i32x4_const_splat(0x7fff));
  v128_t value = wasm_f32x4_mul(wasm_i32x4_shl(rest, 13), wasm_f32x4_const_splat(0x1p112f));
  v128_t special = wasm_i32x4_gt(rest, wasm_i32x4_const_splat(0x7bff));
  value = wasm_v128_or(value, wasm_v128_and(special, wasm_i32x4_const_splat(0x7f800000)));
  return wasm_v128_or(value, sign);
}

static inline v128_t load_f16x4(const f16 *p) { return wide4(wasm_u32x4_load16x4(p)); }

static inline f32 load_f16(f16 bits) { return wasm_f32x4_extract_lane(wide4(wasm_i32x4_splat(bits)), 0); }

// Four float32 rounded to float16 (to nearest, ties to even) in the low 16 bits of each lane.
static inline v128_t narrow4(v128_t v) {
  v128_t sign = wasm_v128_and(v, wasm_i32x4_const_splat((i32)0x80000000));
  v128_t size = wasm_v128_xor(v, sign);  // |v| as bits, which order as the numbers do
  // Normal: move the exponent's bias from 127 to 15, add half a step less one, and one more where the last kept bit is odd.
  v128_t odd = wasm_v128_and(wasm_u32x4_shr(size, 13), wasm_i32x4_const_splat(1));
  v128_t normal = wasm_u32x4_shr(wasm_i32x4_add(wasm_i32x4_add(size, wasm_i32x4_const_splat((i32)0xc8000fff)), odd), 13);
  // Below 2^-14: adding 0.5 puts the float16's steps where float32 rounds.
  v128_t small = wasm_i32x4_sub(wasm_f32x4_add(size, wasm_f32x4_const_splat(0.5f)), wasm_i32x4_const_splat(0x3f000000));
  v128_t huge = wasm_v128_bitselect(wasm_i32x4_const_splat(0x7e00), wasm_i32x4_const_splat(0x7c00),
                                    wasm_i32x4_gt(size, wasm_i32x4_const_splat(0x7f800000)));
  v128_t half = wasm_v128_bitselect(small, normal, wasm_i32x4_lt(size, wasm_i32x4_const_splat(0x38800000)));
  half = wasm_v128_bitselect(half, huge, wasm_i32x4_lt(size, wasm_i32x4_const_splat(0x47800000)));
  return wasm_v128_or(half, wasm_u32x4_shr(sign, 16));
}

static inline void store_f16x4(f16 *p, v128_t v) {
  v128_t half = narrow4(v);
  wasm_v128_store64_lane(p, wasm_u16x8_narrow_i32x4(half, half), 0);
}

static inline f16 store_f16(f32 x) { return (f16)wasm_i32x4_extract_lane(narrow4(wasm_f32x4_splat(x)), 0); }

#endif
