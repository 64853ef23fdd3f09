// A rotated vector as a code.
#ifndef PYRUVLLM_CODE_ENCODE_H
#define PYRUVLLM_CODE_ENCODE_H

#include "code.h"

// Four components as numbers c in 0 ... 255 that stand for (c - 127.5) / per: 128 and more are those that are not negative.
static inline v128_t numbers4(v128_t x, v128_t per) {
  const v128_t middle = wasm_i32x4_const_splat(128);
  v128_t c = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_add(wasm_f32x4_mul(x, per), wasm_f32x4_const_splat(128)));
  c = wasm_i32x4_max(wasm_i32x4_min(c, wasm_i32x4_const_splat(255)), wasm_i32x4_const_splat(0));
  const v128_t above = wasm_f32x4_ge(x, wasm_f32x4_const_splat(0));
  return wasm_v128_bitselect(wasm_i32x4_max(c, middle), wasm_i32x4_min(c, wasm_i32x4_const_splat(127)), above);
}

// The signs and tails of left (dims); the sum of its products with what the numbers stand for, times `per`. No tails where null.
static inline f32 pack(const f32 *left, f32 per, u8 *signs, u8 *tails, u32 dims) {
  v128_t along = wasm_f32x4_const_splat(0), last[8];
  for (u32 i = 0; i < dims / 16; i++, left += 16) {
    v128_t c[4];
    for (u32 j = 0; j < 4; j++) {
      const v128_t x = wasm_v128_load(left + 4 * j);
      c[j] = numbers4(x, wasm_f32x4_splat(per));
      along = MADD(x, wasm_f32x4_sub(wasm_f32x4_convert_i32x4(c[j]), wasm_f32x4_const_splat(127.5f)), along);
    }
    const v128_t numbers = wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(c[0], c[1]), wasm_i16x8_narrow_i32x4(c[2], c[3]));
    const u16 bits = (u16)wasm_i8x16_bitmask(numbers);
    __builtin_memcpy(signs + 2 * i, &bits, 2);
    if (!tails) continue;
    last[i % 8] = wasm_v128_and(numbers, wasm_i8x16_const_splat(0x7f));
    if (i % 8 < 7) continue;
    for (u32 g = 0; g < 7; g++, tails += 16) {  // bit g of the eighth goes on top of word g
      const v128_t bit = wasm_v128_and(wasm_u8x16_shr(last[7], g), wasm_i8x16_const_splat(1));
      wasm_v128_store(tails, wasm_v128_or(last[g], wasm_i8x16_shl(bit, 7)));
    }
  }
  return sum4(along);
}

#endif
