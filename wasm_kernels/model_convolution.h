// Part of model.c: short causal depthwise convolutions, four channels at a time, with their taps and last columns in registers.
#ifndef PYRUVLLM_MODEL_CONVOLUTION_H
#define PYRUVLLM_MODEL_CONVOLUTION_H

#include "lanes.h"

#define TAPS 8  // at most, as model.toml has it

typedef struct {
  f32 *state;    // (kernel - 1, channels), oldest first
  f32 *history;  // (kernel - 1 + tokens, channels), or 0
  const f32 *x;  // (tokens, channels), stride apart; gated: B, C and x, channels apart
  const f32 *w;  // (channels, kernel)
  f32 *y;        // (tokens, channels)
  u32 tokens, channels, stride;
} convolution;

// m numbers (at most four), stride apart.
static inline v128_t gathered(const f32 *p, u32 stride, u32 m) {
  v128_t v = wasm_v128_load32_zero(p);
  if (m > 1) v = wasm_v128_load32_lane(p + stride, v, 1);
  if (m > 2) v = wasm_v128_load32_lane(p + 2 * stride, v, 2);
  if (m > 3) v = wasm_v128_load32_lane(p + 3 * stride, v, 3);
  return v;
}

// Channels at .. at + m, at most four, through all tokens. Inlined with the kernel's size known, so that the arrays are registers.
__attribute__((always_inline)) static inline void channels4(const convolution *c, u32 kernel, u32 gated, u32 at, u32 m) {
  v128_t tap[TAPS], column[TAPS];  // column[j]: the j-th that tap[j] multiplies, the newest last
  const u32 width = c->channels, last = kernel - 1;
  f32 *history = c->history ? c->history + at : 0;
  for (u32 j = 0; j < kernel; j++) tap[j] = gathered(c->w + at * kernel + j, kernel, m);
  for (u32 j = 0; j < last; j++) {
    column[j] = load_lanes(c->state + j * width + at, m);
    if (history) store_lanes(history + j * width, column[j], m);
  }
  if (history) history += last * width;
  const f32 *x = c->x + at;
  f32 *y = c->y + at;
  for (u32 t = 0; t < c->tokens; t++, x += c->stride, y += width) {
    column[last] = load_lanes(x, m);
    if (gated) column[last] = wasm_f32x4_mul(column[last], load_lanes(x + 2 * width, m));
    if (history) store_lanes(history + t * width, column[last], m);
    v128_t sum = wasm_f32x4_mul(tap[0], column[0]);
    for (u32 j = 1; j < kernel; j++) sum = MADD(tap[j], column[j], sum);
    if (gated) sum = wasm_f32x4_mul(sum, load_lanes(x + width, m));
    store_lanes(y, sum, m);
    for (u32 j = 0; j < last; j++) column[j] = column[j + 1];
  }
  for (u32 j = 0; j < last; j++) store_lanes(c->state + j * width + at, column[j], m);
}

// Two tokens at a time: of more, the rows that one column of registers touches would push each other out of the cache, being as many
// bytes apart as its ways are long.
__attribute__((always_inline)) static inline void convolve(convolution c, u32 kernel, u32 gated) {
  for (u32 left = c.tokens, first = 1; left || first; first = 0) {
    c.tokens = left < 2 ? left : 2;
    for (u32 at = 0; at < c.channels; at += 4) {
      u32 m = c.channels - at;
      if (kernel == 3 && m >= 4)  // LFM2's
        channels4(&c, 3, gated, at, 4);
      else
        channels4(&c, kernel, gated, at, m);
    }
    c.x += c.tokens * c.stride;
    c.y += c.tokens * c.channels;
    if (c.history) c.history += c.tokens * c.channels;  // whose first rows are the state, again
    left -= c.tokens;
  }
}

#endif
