// The operations between a language model's matrix products, except attention.
#include "model.gen.h"
#include "lanes.h"
#include "math.h"
#include "model_convolution.h"
#include "model_rotary.h"

// The sum over a row of (x - shift)^2.
static f32 squares(const f32 *x, u32 n, f32 shift) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0, less = wasm_f32x4_splat(shift);
  u32 i = 0;
  for (; i + 16 <= n; i += 16) {
    v128_t x0 = wasm_f32x4_sub(wasm_v128_load(x + i), less), x1 = wasm_f32x4_sub(wasm_v128_load(x + i + 4), less);
    v128_t x2 = wasm_f32x4_sub(wasm_v128_load(x + i + 8), less), x3 = wasm_f32x4_sub(wasm_v128_load(x + i + 12), less);
    s0 = MADD(x0, x0, s0);
    s1 = MADD(x1, x1, s1);
    s2 = MADD(x2, x2, s2);
    s3 = MADD(x3, x3, s3);
  }
  for (; i + 4 <= n; i += 4) {
    v128_t x0 = wasm_f32x4_sub(wasm_v128_load(x + i), less);
    s0 = MADD(x0, x0, s0);
  }
  f32 sum = sum4(wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3)));
  for (; i < n; i++) sum += (x[i] - shift) * (x[i] - shift);
  return sum;
}

static f32 total(const f32 *x, u32 n) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
  u32 i = 0;
  for (; i + 16 <= n; i += 16) {
    s0 = wasm_f32x4_add(s0, wasm_v128_load(x + i));
    s1 = wasm_f32x4_add(s1, wasm_v128_load(x + i + 4));
    s2 = wasm_f32x4_add(s2, wasm_v128_load(x + i + 8));
    s3 = wasm_f32x4_add(s3, wasm_v128_load(x + i + 12));
  }
  f32 sum = sum4(wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3)));
  for (; i < n; i++) sum += x[i];
  return sum;
}

KERNEL(rms_norm, rms_norm) {
  const f32 *x = DATA(const f32, a->x), *w = DATA(const f32, a->w);
  f32 *y = DATA(f32, a->y);
  const u32 n = a->dim;
  for (u32 row = 0; row < a->rows; row++, x += n, y += n) {
    v128_t factor = rsqrt4(wasm_f32x4_splat(squares(x, n, 0) / (f32)n + a->eps));
    for (u32 i = 0; i < n; i += 4) {
      v128_t scaled = wasm_f32x4_mul(load_lanes(x + i, n - i), factor);
      store_lanes(y + i, wasm_f32x4_mul(scaled, load_lanes(w + i, n - i)), n - i);
    }
  }
  return 0;
}

KERNEL(layer_norm, layer_norm) {
  const f32 *x = DATA(const f32, a->x), *w = DATA(const f32, a->w), *b = DATA(const f32, a->b);
  f32 *y = DATA(f32, a->y);
  const u32 n = a->dim;
  for (u32 row = 0; row < a->rows; row++, x += n, y += n) {
    f32 mean = total(x, n) / (f32)n;
    v128_t factor = rsqrt4(wasm_f32x4_splat(squares(x, n, mean) / (f32)n + a->eps)), less = wasm_f32x4_splat(mean);
    for (u32 i = 0; i < n; i += 4) {
      v128_t scaled = wasm_f32x4_mul(wasm_f32x4_sub(load_lanes(x + i, n - i), less), factor);
      store_lanes(y + i, MADD(scaled, load_lanes(w + i, n - i), load_lanes(b + i, n - i)), n - i);
    }
  }
  return 0;
}

KERNEL(rotary, rotary) {
  f32 *x = DATA(f32, a->x);
  const i32 *positions = DATA(const i32, a->positions);
  const f32 *frequencies = DATA(const f32, a->frequencies);
  for (u32 token = 0; token < a->tokens; token++, x += a->heads * a->dim)
    for (u32 i = 0; i < a->rot / 2; i += 4) {
      v128_t sine, cosine;
      angles(positions[token], load_lanes(frequencies + i, a->rot / 2 - i), &sine, &cosine);
      if (a->interleaved)
        turn_neighbours(x + 2 * i, a->heads, a->dim, a->rot - 2 * i, sine, cosine);
      else
        turn_halves(x + i, a->heads, a->dim, a->rot / 2, a->rot / 2 - i, sine, cosine);
    }
  return 0;
}

KERNEL(short_conv, short_conv) {
  convolution c = {
    .state = DATA(f32, a->state), .history = DATA(f32, a->history), .x = DATA(const f32, a->x), .w = DATA(const f32, a->w),
    .y = DATA(f32, a->y), .tokens = a->tokens, .channels = a->channels, .stride = a->channels,
  };
  convolve(c, a->kernel, 0);
  return 0;
}

KERNEL(lfm2_conv, lfm2_conv) {
  convolution c = {
    .state = DATA(f32, a->state), .history = DATA(f32, a->history), .x = DATA(const f32, a->bcx), .w = DATA(const f32, a->w),
    .y = DATA(f32, a->y), .tokens = a->tokens, .channels = a->channels, .stride = 3 * a->channels,
  };
  convolve(c, a->kernel, 1);
  return 0;
}
