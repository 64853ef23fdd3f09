// Products of R vectors with the matrix of codes that kv_page.h describes: sums[r][j] += x[r][row] * matrix[row][4 j ... 4 j + 3], over all
// rows. R and V are constants where these are called, so that all sums stay in registers: R x V <= 8.
#ifndef PYRUVLLM_KV_PRODUCT_H
#define PYRUVLLM_KV_PRODUCT_H

#include "kv_page.h"

// Float16 as float32 x 2^-112 takes two instructions, being its bits in place. The other factor makes up for it: it carries 2^96, so
// that neither leaves float32's range, and the sum is then 2^-16 of what it should be.
#define LIFT 0x1p96f
#define REST 0x1p16f

INLINE v128_t small_f16x4(const u8 *p) {
  return wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4(p), 13), wasm_i32x4_const_splat((i32)0x8fffe000));
}

INLINE void product_f16(const f32 *const *x, const u8 *m, u32 width, u32 depth, v128_t sums[4][4], const u32 R, const u32 V) {
  for (u32 k = 0; k < depth; k++, m += 2 * width) {
    v128_t by[4];
    UNROLL for (u32 r = 0; r < R; r++) by[r] = wasm_v128_load32_splat(x[r] + k);
    UNROLL for (u32 j = 0; j < V; j++) {
      v128_t value = small_f16x4(m + 8 * j);
      UNROLL for (u32 r = 0; r < R; r++) sums[r][j] = MADD(value, by[r], sums[r][j]);
    }
  }
}

INLINE void product_q8(const i16 *const *x, const u8 *m, u32 width, u32 depth, v128_t sums[4][4], const u32 R, const u32 V) {
  for (u32 k = 0; k < depth; k += 2, m += 2 * width) {
    v128_t by[4];
    UNROLL for (u32 r = 0; r < R; r++) by[r] = wasm_v128_load32_splat(x[r] + k);
    UNROLL for (u32 j = 0; j < V; j++) {
      v128_t value = wasm_i16x8_load8x8(m + 8 * j);
      UNROLL for (u32 r = 0; r < R; r++) sums[r][j] = wasm_i32x4_add(sums[r][j], wasm_i32x4_dot_i16x8(value, by[r]));
    }
  }
}

INLINE void product_q4(const i16 *const *x, const u8 *m, u32 width, u32 depth, v128_t sums[4][4], const u32 R, const u32 V) {
  const v128_t low = wasm_i16x8_const_splat(15);
  for (u32 k = 0; k < depth; k += 8, m += 4 * width)
    UNROLL for (u32 j = 0; j < V; j++) {
      v128_t codes = wasm_v128_load(m + 16 * j);
      UNROLL for (u32 i = 0; i < 4; i++) {
        v128_t value = i == 3 ? wasm_u16x8_shr(codes, 12) : wasm_v128_and(i ? wasm_u16x8_shr(codes, 4 * i) : codes, low);
        UNROLL for (u32 r = 0; r < R; r++) {
          v128_t by = wasm_v128_load32_splat(x[r] + k + 2 * i);
          sums[r][j] = wasm_i32x4_add(sums[r][j], wasm_i32x4_dot_i16x8(value, by));
        }
      }
    }
}

// By the kind of codes. Vectors are float32 for F16 and int16, padded with zeros to the depth of a group of rows, for the others.
INLINE void product(const int kind, void *const *x, const u8 *m, u32 width, u32 depth, v128_t sums[4][4], const u32 R, const u32 V) {
  if (kind == F16) product_f16((const f32 *const *)x, m, width, depth, sums, R, V);
  if (kind == Q8) product_q8((const i16 *const *)x, m, width, depth, sums, R, V);
  if (kind == Q4) product_q4((const i16 *const *)x, m, width, depth, sums, R, V);
}

// The bytes from one column to the next.
INLINE u32 column_bytes(const int kind) { return kind == Q4 ? 4 : 2; }

// n numbers (a multiple of 4) as whole multiples of one step, at most `limit` of them, zeros from n to n rounded up to 8. The step:
// 0 where all are 0, or too small to matter (1e-30), NaN where one is.
static inline f32 narrow_row(const f32 *x, u32 n, f32 limit, i16 *to) {
  v128_t top = wasm_f32x4_splat(0), magic = wasm_f32x4_splat(0x1.8p23f);
  v128_t odd = top;
  for (u32 c = 0; c < n; c += 4) {
    v128_t v = wasm_v128_load(x + c);
    top = wasm_f32x4_pmax(top, wasm_f32x4_abs(v));
    odd = wasm_v128_or(odd, wasm_f32x4_ne(v, v));
  }
  f32 largest = max4(top);
  v128_t by = wasm_f32x4_splat(largest > 1e-30f ? limit / largest : 0);
  for (u32 c = 0; c < EIGHTS(n); c += 4) {
    v128_t v = c < n ? wasm_f32x4_mul(wasm_v128_load(x + c), by) : wasm_f32x4_splat(0);
    v = wasm_i32x4_sub(wasm_f32x4_add(v, magic), magic);  // to nearest, by the last bits of a number whose steps are 1
    wasm_v128_store64_lane(to + c, wasm_i16x8_narrow_i32x4(v, v), 0);
  }
  return wasm_v128_any_true(odd) ? __builtin_nanf("") : largest > 1e-30f ? largest / limit : 0;
}

// The largest whole number that `depth` codes of at most `code` can be multiplied with without leaving int32.
INLINE f32 limit_of(const int kind, u32 depth) {
  u32 most = 0x7fffffffu / ((kind == Q4 ? 15 : 127) * (depth ? depth : 1));
  return most < 32767 ? (f32)most : 32767;
}

#endif
