// From logits to probabilities, and to the few largest.
#include "sampling.gen.h"
#include "math.h"
#include "sampling_select.h"

#define BLOCK 1024  // numbers summed in float32 before the sum goes on in float64

// The largest of a row, NaN aside; -infinity where there is none.
static f32 largest(const f32 *x, u32 n) {
  v128_t m0 = wasm_f32x4_const_splat(-__builtin_inff()), m1 = m0, m2 = m0, m3 = m0;
  u32 i = 0;
  for (; i + 16 <= n; i += 16) {  // pmax(a, b) is a unless a < b
    m0 = wasm_f32x4_pmax(m0, wasm_v128_load(x + i));
    m1 = wasm_f32x4_pmax(m1, wasm_v128_load(x + i + 4));
    m2 = wasm_f32x4_pmax(m2, wasm_v128_load(x + i + 8));
    m3 = wasm_f32x4_pmax(m3, wasm_v128_load(x + i + 12));
  }
  m0 = wasm_f32x4_pmax(wasm_f32x4_pmax(m0, m1), wasm_f32x4_pmax(m2, m3));
  for (; i < n; i++) m0 = wasm_f32x4_pmax(m0, wasm_v128_load32_splat(x + i));
  m0 = wasm_f32x4_pmax(m0, wasm_i32x4_shuffle(m0, m0, 2, 3, 0, 1));
  m0 = wasm_f32x4_pmax(m0, wasm_i32x4_shuffle(m0, m0, 1, 0, 3, 2));
  return wasm_f32x4_extract_lane(m0, 0);
}

// What is subtracted from a row: its largest, or 0 where that is -infinity.
static f32 shift_of(const f32 *x, u32 n) {
  f32 top = largest(x, n);
  return top == -__builtin_inff() ? 0 : top;
}

static inline v128_t power4(v128_t x, v128_t shift, v128_t scale) {
  return exp4_negative(wasm_f32x4_mul(wasm_f32x4_sub(x, shift), scale));
}

// The sum of e^(scale (x - shift)) over a row; y gets the terms, unless it is 0.
static inline double powers(const f32 *x, f32 *y, u32 n, f32 top, f32 factor) {
  const v128_t shift = wasm_f32x4_splat(top), scale = wasm_f32x4_splat(factor);
  double sum = 0;
  u32 i = 0;
  for (u32 end; i + 8 <= n; i = end) {
    end = n - i < BLOCK ? i + (n - i) / 8 * 8 : i + BLOCK;
    v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0;
    for (u32 j = i; j < end; j += 8) {
      v128_t e0 = power4(wasm_v128_load(x + j), shift, scale), e1 = power4(wasm_v128_load(x + j + 4), shift, scale);
      s0 = wasm_f32x4_add(s0, e0);
      s1 = wasm_f32x4_add(s1, e1);
      if (!y) continue;
      wasm_v128_store(y + j, e0);
      wasm_v128_store(y + j + 4, e1);
    }
    sum += (double)sum4(wasm_f32x4_add(s0, s1));
  }
  for (; i < n; i++) {
    f32 e = wasm_f32x4_extract_lane(power4(wasm_v128_load32_splat(x + i), shift, scale), 0);
    sum += (double)e;
    if (y) y[i] = e;
  }
  return sum;
}

static inline i32 usable(f32 scale) { return scale > 0 && scale <= __FLT_MAX__; }

KERNEL(softmax, softmax) {
  if (!usable(a->scale)) return FAIL(VALUE, ARG_softmax_scale);
  const f32 *x = DATA(const f32, a->x);
  f32 *y = DATA(f32, a->y);
  const u32 n = a->n;
  for (u32 row = 0; n && row < a->rows; row++, x += n, y += n) {
    double sum = powers(x, y, n, shift_of(x, n), a->scale);
    f32 factor = sum == 0 ? 0 : (f32)(1 / sum);
    v128_t factors = wasm_f32x4_splat(factor);
    u32 i = 0;
    for (; i + 4 <= n; i += 4) wasm_v128_store(y + i, wasm_f32x4_mul(wasm_v128_load(y + i), factors));
    for (; i < n; i++) y[i] *= factor;
  }
  return 0;
}

KERNEL(log_softmax, log_softmax) {
  if (!usable(a->scale)) return FAIL(VALUE, ARG_log_softmax_scale);
  const f32 *x = DATA(const f32, a->x);
  f32 *y = DATA(f32, a->y);
  const u32 n = a->n;
  for (u32 row = 0; n && row < a->rows; row++, x += n, y += n) {
    f32 shift = shift_of(x, n);
    double sum = powers(x, 0, n, shift, a->scale);
    f32 less = sum == 0 ? 0 : lane1(log4, (f32)sum);
    v128_t shifts = wasm_f32x4_splat(shift), scale = wasm_f32x4_splat(a->scale), lesses = wasm_f32x4_splat(less);
    u32 i = 0;
    for (; i + 4 <= n; i += 4) {
      v128_t scaled = wasm_f32x4_mul(wasm_f32x4_sub(wasm_v128_load(x + i), shifts), scale);
      wasm_v128_store(y + i, wasm_f32x4_sub(scaled, lesses));
    }
    for (; i < n; i++) y[i] = (x[i] - shift) * a->scale - less;
  }
  return 0;
}

KERNEL(argmax, argmax) {
  const f32 *x = DATA(const f32, a->x);
  u32 *indices = DATA(u32, a->indices);
  const u32 n = a->n;
  for (u32 row = 0; row < a->rows; row++, x += n) {
    const f32 top = largest(x, n);
    v128_t tops = wasm_f32x4_splat(top);
    u32 i = 0;
    while (i + 4 <= n && !wasm_v128_any_true(wasm_f32x4_eq(wasm_v128_load(x + i), tops))) i += 4;
    while (i < n && x[i] != top) i++;
    indices[row] = i < n ? i : 0;  // a row of NaN has no largest
  }
  return 0;
}

// A key that orders as (number, earlier index); NaN is lowest.
static inline u64 key_of(f32 x, u32 index) {
  union {
    f32 number;
    u32 bits;
  } value = {x + 0.0f};
  u32 order = value.bits >> 31 ? ~value.bits : value.bits | 0x80000000;
  return (u64)(x == x ? order : 0) << 32 | (u32)~index;
}

static inline f32 number_of(u64 key) {
  u32 order = (u32)(key >> 32);
  union {
    u32 bits;
    f32 number;
  } value = {!order ? 0x7fc00000 : order >> 31 ? order & 0x7fffffff : ~order};
  return value.number;
}

// Collects what is above a threshold that rises: when the candidates' room is full, the k largest of them stay, and the least of these is
// the threshold. So the time is linear in n in any order of x.
KERNEL(topk, topk) {
  const f32 *x = DATA(const f32, a->x);
  u64 *candidates = DATA(u64, a->candidates);
  const u32 n = a->n, k = a->k, room = 2 * k + 1024;
  if (!k) return 0;
  u32 count = 0, i = 0;
  v128_t threshold = wasm_f32x4_const_splat(0), all = wasm_i32x4_const_splat(-1);  // all: take everything
  for (; i + 16 <= n; i += 16) {
    v128_t hits[4], any = all;
    for (u32 j = 0; j < 4; j++) {
      hits[j] = wasm_v128_or(wasm_f32x4_gt(wasm_v128_load(x + i + 4 * j), threshold), all);
      any = wasm_v128_or(any, hits[j]);
    }
    if (!wasm_v128_any_true(any)) continue;
    for (u32 j = 0; j < 4; j++)
      for (u32 mask = wasm_i32x4_bitmask(hits[j]); mask; mask &= mask - 1) {
        u32 at = i + 4 * j + (u32)__builtin_ctz(mask);
        candidates[count++] = key_of(x[at], at);
      }
    if (count + 16 <= room) continue;
    select_largest(candidates, count, k);
    count = k;
    u64 least = candidates[0];
    for (u32 j = 1; j < k; j++) least = candidates[j] < least ? candidates[j] : least;
    threshold = wasm_f32x4_splat(number_of(least));
    all = wasm_f32x4_ne(threshold, threshold);
  }
  for (; i < n; i++) candidates[count++] = key_of(x[i], i);  // fewer than 16, for which there is room
  select_largest(candidates, count, k);
  sort_falling(candidates, k);
  f32 *values = DATA(f32, a->values);
  u32 *indices = DATA(u32, a->indices);
  for (u32 j = 0; j < k; j++) {
    values[j] = number_of(candidates[j]);
    indices[j] = ~(u32)candidates[j];
  }
  return 0;
}
