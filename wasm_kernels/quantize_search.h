// The search of the K formats for the scales of a sub-block. Its specification is pyruvllm/kernels/reference/blocks.py (fit_affine and
// fit_scale): the same operations in the same order, so that both find the same bits, whence no multiply-add here. Four candidates
// are tried at once: each sums its own lanes, then the four regressions are solved in the four lanes of one vector.
#ifndef PYRUVLLM_QUANTIZE_SEARCH_H
#define PYRUVLLM_QUANTIZE_SEARCH_H

#include "vector.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

#define ADD wasm_f32x4_add
#define SUB wasm_f32x4_sub
#define MUL wasm_f32x4_mul
#define SPLAT wasm_f32x4_splat

enum { TRIED = 4 };

// 1 / x, and 0 where `stored` is 0 or the inverse, in steps of a grid, would leave float32.
INLINE f32 inverse(f32 x, f32 stored) { return stored == 0 || __builtin_fabsf(x) < 1e-36f ? 0 : 1.0f / x; }

INLINE f32 least(v128_t v) {
  v = wasm_f32x4_pmin(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  f32 x = wasm_f32x4_extract_lane(v, 0), y = wasm_f32x4_extract_lane(v, 1);
  return x < y ? x : y;
}

INLINE f32 most(v128_t v) {
  v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  f32 x = wasm_f32x4_extract_lane(v, 0), y = wasm_f32x4_extract_lane(v, 1);
  return x > y ? x : y;
}

// Of n values, the first of the largest size.
INLINE f32 extreme(const f32 *x, const u32 n) {
  v128_t size = wasm_f32x4_abs(wasm_v128_load(x));
  for (u32 i = 4; i < n; i += 4) size = wasm_f32x4_pmax(size, wasm_f32x4_abs(wasm_v128_load(x + i)));
  v128_t top = SPLAT(most(size));
  for (u32 i = 0; i < n; i += 4) {
    u32 found = wasm_i32x4_bitmask(wasm_f32x4_eq(wasm_f32x4_abs(wasm_v128_load(x + i)), top));
    if (found) return x[i + (u32)__builtin_ctz(found)];
  }
  return 0;
}

// Whether n values are all numbers that float16 reaches.
INLINE i32 in_range(const f32 *x, const u32 n) {
  v128_t good = wasm_i32x4_splat(-1);
  for (u32 i = 0; i < n; i += 4) good = wasm_v128_and(good, wasm_f32x4_le(wasm_f32x4_abs(wasm_v128_load(x + i)), SPLAT(65504.0f)));
  return wasm_i32x4_all_true(good);
}

// Lane k: the sum of v[k], its lanes added as sum4 adds them.
INLINE v128_t sums(const v128_t v[TRIED]) {
  v128_t a = ADD(wasm_i32x4_shuffle(v[0], v[1], 0, 1, 4, 5), wasm_i32x4_shuffle(v[0], v[1], 2, 3, 6, 7));
  v128_t b = ADD(wasm_i32x4_shuffle(v[2], v[3], 0, 1, 4, 5), wasm_i32x4_shuffle(v[2], v[3], 2, 3, 6, 7));
  return ADD(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}

// scale and low >= 0 such that levels 0 ... 15 in `scale * level - low` come near to x[32]. w: weights, where weighted.
INLINE void fit_affine(const f32 *x, const f32 *w, const i32 weighted, f32 *scale, f32 *low) {
  const v128_t one = SPLAT(1.0f), zero = SPLAT(0.0f);
  v128_t lowest = wasm_v128_load(x), highest = lowest, weights = zero, total = zero;
  UNROLL for (u32 i = 0; i < 32; i += 4) {
    v128_t v = wasm_v128_load(x + i), u = weighted ? wasm_v128_load(w + i) : one;
    lowest = wasm_f32x4_pmin(lowest, v), highest = wasm_f32x4_pmax(highest, v);
    weights = i ? ADD(weights, u) : u, total = i ? ADD(total, MUL(u, v)) : MUL(u, v);
  }
  f32 bottom = least(lowest), best = 0;
  if (!(bottom < 0)) bottom = 0;
  const f32 spread = (most(highest) - bottom) + 0.0f, steps = inverse(spread, spread);
  const v128_t sw = SPLAT(sum4(weights)), sx = SPLAT(sum4(total)), floor = SPLAT(bottom);
  *scale = spread / 15.0f, *low = 0.0f - bottom;
  for (f32 first = 13.0f; first < 17.0f; first += 1.0f) {
    v128_t count[TRIED], square[TRIED], product[TRIED];
    UNROLL for (u32 k = 0; k < TRIED; k++) {
      const v128_t grid = SPLAT((first + 0.25f * (f32)k) * steps);
      v128_t a = zero, b = zero, c = zero;
      UNROLL for (u32 i = 0; i < 32; i += 4) {
        v128_t v = wasm_v128_load(x + i), u = weighted ? wasm_v128_load(w + i) : one;
        v128_t q = wasm_f32x4_pmin(wasm_f32x4_nearest(MUL(SUB(v, floor), grid)), SPLAT(15.0f));
        v128_t uq = weighted ? MUL(u, q) : q, uv = weighted ? MUL(u, v) : v;
        a = ADD(a, uq), b = ADD(b, MUL(uq, q)), c = ADD(c, MUL(uv, q));
      }
      count[k] = a, square[k] = b, product[k] = c;
    }
    const v128_t sq = sums(count), sqq = sums(square), sxq = sums(product);
    const v128_t both = SUB(MUL(sw, sqq), MUL(sq, sq));
    v128_t slope = wasm_f32x4_div(SUB(MUL(sw, sxq), MUL(sx, sq)), both), offset = wasm_f32x4_div(SUB(MUL(sqq, sx), MUL(sq, sxq)), both);
    const v128_t below = wasm_f32x4_le(offset, zero);  // else the scale by itself
    slope = wasm_v128_bitselect(slope, wasm_f32x4_div(sxq, sqq), below), offset = wasm_v128_and(offset, below);
    const v128_t gain = ADD(MUL(slope, sxq), MUL(offset, sx));
    f32 gains[TRIED], slopes[TRIED], offsets[TRIED];
    wasm_v128_store(gains, gain), wasm_v128_store(slopes, slope), wasm_v128_store(offsets, offset);
    for (u32 k = 0; k < TRIED; k++)
      if (gains[k] > best && slopes[k] > 0) best = gains[k], *scale = slopes[k], *low = 0.0f - offsets[k];
  }
}

// The scale such that levels -32 ... 31 times it come near to x[16].
INLINE f32 fit_scale(const f32 *x, const f32 *w, const i32 weighted) {
  const f32 top = extreme(x, 16), steps = inverse(top, top);
  const v128_t one = SPLAT(1.0f), zero = SPLAT(0.0f);
  f32 scale = top / -32.0f, best = 0;
  for (f32 first = 27.5f; first < 33.5f; first += 2.0f) {
    v128_t square[TRIED], product[TRIED];
    UNROLL for (u32 k = 0; k < TRIED; k++) {
      const v128_t grid = SPLAT(-(first + 0.5f * (f32)k) * steps);
      v128_t b = zero, c = zero;
      UNROLL for (u32 i = 0; i < 16; i += 4) {
        v128_t v = wasm_v128_load(x + i), u = weighted ? wasm_v128_load(w + i) : one;
        v128_t q = wasm_f32x4_pmax(wasm_f32x4_pmin(wasm_f32x4_nearest(MUL(v, grid)), SPLAT(31.0f)), SPLAT(-32.0f));
        v128_t uq = weighted ? MUL(u, q) : q, uv = weighted ? MUL(u, v) : v;
        b = ADD(b, MUL(uq, q)), c = ADD(c, MUL(uv, q));
      }
      square[k] = b, product[k] = c;
    }
    const v128_t sxq = sums(product), slope = wasm_f32x4_div(sxq, sums(square)), gain = MUL(slope, sxq);
    f32 gains[TRIED], slopes[TRIED];
    wasm_v128_store(gains, gain), wasm_v128_store(slopes, slope);
    for (u32 k = 0; k < TRIED; k++)
      if (gains[k] > best) best = gains[k], scale = slopes[k];
  }
  return scale;
}

#endif
