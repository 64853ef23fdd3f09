// Part of model.c: turning pairs of elements, four pairs at a time, in all heads of a token.
#ifndef PYRUVLLM_MODEL_ROTARY_H
#define PYRUVLLM_MODEL_ROTARY_H

#include "lanes.h"
#include "math.h"

// Sines and cosines of position * frequency. The products are exact in float64; in float32 they would be off by 0.006 at position 100,000.
static inline void angles(i32 position, v128_t frequency, v128_t *sine, v128_t *cosine) {
  v128_t at = wasm_f64x2_splat(position);
  v128_t low = wasm_f64x2_promote_low_f32x4(frequency);
  v128_t high = wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle(frequency, frequency, 1, 0));
  sincos4(wasm_f64x2_mul(low, at), wasm_f64x2_mul(high, at), sine, cosine);
}

// Pairs (x[i], x[i + half]) for i < m, at most four.
static inline void turn_halves(f32 *x, u32 heads, u32 dim, u32 half, u32 m, v128_t sine, v128_t cosine) {
  for (; heads; heads--, x += dim) {
    v128_t first = load_lanes(x, m), second = load_lanes(x + half, m);
    store_lanes(x, wasm_f32x4_sub(wasm_f32x4_mul(first, cosine), wasm_f32x4_mul(second, sine)), m);
    store_lanes(x + half, wasm_f32x4_add(wasm_f32x4_mul(second, cosine), wasm_f32x4_mul(first, sine)), m);
  }
}

static inline v128_t turned(v128_t pairs, v128_t sine, v128_t cosine) {
  v128_t swapped = wasm_i32x4_shuffle(pairs, pairs, 1, 0, 3, 2);
  return wasm_f32x4_add(wasm_f32x4_mul(pairs, cosine), wasm_f32x4_mul(swapped, sine));
}

// Pairs (x[2 i], x[2 i + 1]) of the first m elements, at most eight.
static inline void turn_neighbours(f32 *x, u32 heads, u32 dim, u32 m, v128_t sine, v128_t cosine) {
  v128_t minus = wasm_f32x4_neg(sine);
  v128_t s0 = wasm_i32x4_shuffle(minus, sine, 0, 4, 1, 5), s1 = wasm_i32x4_shuffle(minus, sine, 2, 6, 3, 7);
  v128_t c0 = wasm_i32x4_shuffle(cosine, cosine, 0, 0, 1, 1), c1 = wasm_i32x4_shuffle(cosine, cosine, 2, 2, 3, 3);
  for (; heads; heads--, x += dim) {
    store_lanes(x, turned(load_lanes(x, m), s0, c0), m);
    if (m > 4) store_lanes(x + 4, turned(load_lanes(x + 4, m - 4), s1, c1), m - 4);
  }
}

#endif
