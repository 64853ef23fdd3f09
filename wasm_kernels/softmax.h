// The online softmax: the state of one row of attention while blocks of scores arrive (Milakov and Gimelshein 2018, arXiv 1805.02867).
#ifndef PYRUVLLM_SOFTMAX_H
#define PYRUVLLM_SOFTMAX_H

#include "math.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define INFINITE __builtin_inff()

typedef struct {
  f32 max;  // of the scores so far; minus infinity where there were none
  f32 sum;  // of e^(score - max)
} softmax;

// pmax, one instruction where max takes seven, leaves NaN out where it is the second.
static inline f32 max4(v128_t v) {
  v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(v, 0);
}

// Turns n scores (a multiple of 4) into weights: e^(factor x score - max) x unit, 0 from `visible` on. Where the maximum rises, `out`
// (dim, a multiple of 4) and the sum are scaled down to it.
static inline void soften(softmax *state, f32 *scores, u32 n, u32 visible, f32 factor, f32 unit, f32 *out, u32 dim) {
  for (u32 t = visible; t < n; t++) scores[t] = -INFINITE;
  if (visible) {  // a factor that is negative must not make these the largest
    v128_t by = wasm_f32x4_splat(factor), top = wasm_f32x4_splat(-INFINITE), top2 = top;
    u32 t = 0;
    for (; t + 8 <= visible; t += 8) {
      v128_t s = wasm_f32x4_mul(wasm_v128_load(scores + t), by), s2 = wasm_f32x4_mul(wasm_v128_load(scores + t + 4), by);
      wasm_v128_store(scores + t, s);
      wasm_v128_store(scores + t + 4, s2);
      top = wasm_f32x4_pmax(top, s);
      top2 = wasm_f32x4_pmax(top2, s2);
    }
    top = wasm_f32x4_pmax(top, top2);
    for (; t < visible; t++) {
      scores[t] *= factor;
      top = wasm_f32x4_pmax(top, wasm_f32x4_splat(scores[t]));
    }
    f32 above = max4(top);
    if (above == -INFINITE && scores[0] != scores[0]) above = scores[0];  // a query that is no number must not pass for nothing attended
    if (!(above <= state->max)) {
      v128_t down = exp4_negative(wasm_f32x4_splat(state->max - above));
      for (u32 c = 0; c < dim; c += 4) wasm_v128_store(out + c, wasm_f32x4_mul(wasm_v128_load(out + c), down));
      state->sum *= wasm_f32x4_extract_lane(down, 0);
      state->max = above;
    }
  }
  if (state->max == -INFINITE) {
    for (u32 t = 0; t < n; t += 4) wasm_v128_store(scores + t, wasm_f32x4_splat(0));
    return;
  }
  v128_t max = wasm_f32x4_splat(state->max), sum = wasm_f32x4_splat(0), by = wasm_f32x4_splat(unit);
  for (u32 t = 0; t < n; t += 4) {
    v128_t weight = exp4_negative(wasm_f32x4_sub(wasm_v128_load(scores + t), max));
    sum = wasm_f32x4_add(sum, weight);
    wasm_v128_store(scores + t, wasm_f32x4_mul(weight, by));
  }
  state->sum += sum4(sum);
}

// What is left when all blocks came: `out` divided by the sum (times unit), and the logarithm of the sum of e^score.
// Zeros and minus infinity where nothing was attended.
static inline f32 settle(const softmax *state, f32 unit, f32 *out, u32 dim) {
  f32 by = state->sum == 0 ? 0 : unit / state->sum;
  for (u32 c = 0; c < dim; c += 4) wasm_v128_store(out + c, wasm_f32x4_mul(wasm_v128_load(out + c), wasm_f32x4_splat(by)));
  return state->max == -INFINITE ? -INFINITE : state->max + lane1(log4, state->sum);
}

// How many of n positions from `first` on token i attends: those up to position offset + i.
static inline u32 attended(i32 offset, u32 i, u32 first, u32 n) {
  i64 until = (i64)offset + i + 1 - first;
  return until <= 0 ? 0 : until < (i64)n ? (u32)until : n;
}

#endif
