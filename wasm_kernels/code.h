// Codes of vectors (hnsw_pure/codec.py) and what they say about products.
//
// A query becomes numbers u in 0 ... 255, as the components of a code are. What u stands for, u - 127.5, is half the sum of its bits as
// signs, each times its worth: so the product with the signs of a code is a matter of exclusive or and counting, bit by bit of u. The four
// upper bits of u are enough for an estimate; all eight, and the tails with the query in whole steps, give the product itself.
#ifndef PYRUVLLM_CODE_H
#define PYRUVLLM_CODE_H

#include "code_rotate.h"

typedef struct {
  u64 *high, *low;  // (dims / 64, 4) each: bits 4 ... 7 and 0 ... 3 of u
  i8 *steps;        // (dims) the same components in whole steps
  const u8 *signs;  // of a 1-bit code that is held against others
  f32 step;         // what one stands for
  f32 length;       // of the query
  i32 sum;          // of steps
} question;

typedef struct {  // the last 16 bytes of a row of codes
  f32 scale, error, offset, fourth;
} factors;

static inline u64 word_at(const u8 *p) {
  u64 word;
  __builtin_memcpy(&word, p, 8);
  return word;
}

static inline factors factors_at(const u8 *p) {
  factors f;
  __builtin_memcpy(&f, p, 16);
  return f;
}

// The bits of sixteen numbers, highest first, each as 16 bits, to planes[7] ... planes[0] of their word of 64.
static inline void put_planes(v128_t u, u64 *high, u64 *low, u32 shift) {
  for (u32 bit = 4; bit--; u = wasm_i8x16_add(u, u)) high[bit] |= (u64)wasm_i8x16_bitmask(u) << shift;
  for (u32 bit = 4; bit--; u = wasm_i8x16_add(u, u)) low[bit] |= (u64)wasm_i8x16_bitmask(u) << shift;
}

// The question that a rotated query (dims) is.
static inline void ask(question *q, const f32 *left, u32 dims) {
  const spread s = spread_of(left, dims);
  const f32 per = s.largest > 0 ? 127.5f / s.largest : 0;
  v128_t sums = wasm_i32x4_const_splat(0);
  q->step = s.largest / 127.5f;
  q->length = __builtin_sqrtf(s.square);
  for (u32 i = 0; i < dims / 16; i++) {
    u64 *high = q->high + i / 4 * 4, *low = q->low + i / 4 * 4;
    if (i % 4 == 0) {
      for (u32 bit = 0; bit < 4; bit++) high[bit] = low[bit] = 0;
    }
    put_planes(numbers16(left + 16 * i, per), high, low, i % 4 * 16);
    v128_t v[4];
    for (u32 j = 0; j < 4; j++)
      v[j] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(left + 16 * i + 4 * j), wasm_f32x4_splat(per))));
    v128_t steps = wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(v[0], v[1]), wasm_i16x8_narrow_i32x4(v[2], v[3]));
    wasm_v128_store(q->steps + 16 * i, steps);
    sums = wasm_i32x4_add(sums, wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extadd_pairwise_i8x16(steps)));
  }
  q->sum = sum4i(sums);
}

// Sixteen of 128 components of a code, numbered g among the eight groups, less 128.
static inline v128_t group16(const u8 *signs, const u8 *tails, v128_t last, u32 g) {
  const v128_t each = wasm_i8x16_const(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  v128_t bits = wasm_v128_load16_splat(signs + 2 * g);
  bits = wasm_i8x16_shuffle(bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const v128_t below = wasm_i8x16_ne(wasm_v128_and(bits, each), each);
  const v128_t tail = g < 7 ? wasm_v128_and(wasm_v128_load(tails + 16 * g), wasm_i8x16_const_splat(0x7f)) : last;
  return wasm_v128_or(tail, wasm_v128_and(below, wasm_i8x16_const_splat(-128)));
}

// The tails of the last sixteen of 128 components: bit g of each is the highest of word g.
static inline v128_t last16(const u8 *tails) {
  v128_t last = wasm_i32x4_const_splat(0);
  for (u32 g = 0; g < 7; g++)
    last = wasm_v128_or(wasm_u16x8_shr(last, 1), wasm_v128_andnot(wasm_v128_load(tails + 16 * g), wasm_i8x16_const_splat(0x7f)));
  return wasm_u16x8_shr(last, 1);
}

// An int8 code as (dims) numbers less 128. Their sum.
static inline i32 unpack(const u8 *signs, const u8 *tails, i8 *numbers, u32 dims) {
  v128_t sums = wasm_i32x4_const_splat(0);
  for (u32 i = 0; i < dims / 128; i++, signs += 16, tails += 112, numbers += 128) {
    const v128_t last = last16(tails);
    for (u32 g = 0; g < 8; g++) {
      const v128_t v = group16(signs, tails, last, g);
      wasm_v128_store(numbers + 16 * g, v);
      sums = wasm_i32x4_add(sums, wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extadd_pairwise_i8x16(v)));
    }
  }
  return sum4i(sums);
}

// The question that the vector of an int8 code is.
static inline void ask_code(question *q, const u8 *code, const u8 *tails, u32 dims) {
  const factors f = factors_at(code + dims / 8);
  const f32 square = f.scale * f.scale * (f32)dims - f.error * f.error * (f32)(dims - 1);
  q->sum = unpack(code, tails, q->steps, dims);
  q->step = f.fourth;
  q->length = square > 0 ? __builtin_sqrtf(square) : 0;
  for (u32 i = 0; i < dims / 16; i++) {
    u64 *high = q->high + i / 4 * 4, *low = q->low + i / 4 * 4;
    if (i % 4 == 0) {
      for (u32 bit = 0; bit < 4; bit++) high[bit] = low[bit] = 0;
    }
    put_planes(wasm_v128_xor(wasm_v128_load(q->steps + 16 * i), wasm_i8x16_const_splat(-128)), high, low, i % 4 * 16);
  }
}

// Signs in which a code differs from four bits of u, each bit by its worth within the four.
static inline u32 differing(const u8 *code, const u64 *planes, u32 dims) {
  u32 n0 = 0, n1 = 0, n2 = 0, n3 = 0;
  for (u32 i = 0; i < dims / 64; i++, planes += 4) {
    const u64 word = word_at(code + 8 * i);
    n0 += (u32)__builtin_popcountll(word ^ planes[0]);
    n1 += (u32)__builtin_popcountll(word ^ planes[1]);
    n2 += (u32)__builtin_popcountll(word ^ planes[2]);
    n3 += (u32)__builtin_popcountll(word ^ planes[3]);
  }
  return n0 + 2 * n1 + 4 * n2 + 8 * n3;
}

#ifdef __wasm_relaxed_simd__
#define ADD_PRODUCTS(x, tail, sum) wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, tail, sum)
#else
static inline v128_t ADD_PRODUCTS(v128_t x, v128_t tail, v128_t sum) {
  v128_t low = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(x), wasm_i16x8_extend_low_i8x16(tail));
  return wasm_i32x4_add(sum, wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(x), wasm_i16x8_extend_high_i8x16(tail))));
}
#endif

// The sum of steps times tails, which have seven bits: exact in both ways of adding.
static inline i32 along_tails(const i8 *steps, const u8 *tails, u32 dims) {
  const v128_t seven = wasm_i8x16_const_splat(0x7f);
  v128_t s0 = wasm_i32x4_const_splat(0), s1 = s0;
  for (u32 i = 0; i < dims / 128; i++, steps += 128, tails += 112) {
    v128_t last = wasm_i32x4_const_splat(0);
    for (u32 g = 0; g < 7; g++) {
      const v128_t word = wasm_v128_load(tails + 16 * g);
      last = wasm_v128_or(wasm_u16x8_shr(last, 1), wasm_v128_andnot(word, seven));
      if (g % 2) s1 = ADD_PRODUCTS(wasm_v128_load(steps + 16 * g), wasm_v128_and(word, seven), s1);
      else s0 = ADD_PRODUCTS(wasm_v128_load(steps + 16 * g), wasm_v128_and(word, seven), s0);
    }
    s1 = ADD_PRODUCTS(wasm_v128_load(steps + 112), wasm_u16x8_shr(last, 1), s1);
  }
  return sum4i(wasm_i32x4_add(s0, s1));
}

// The sum of numbers, each half a step higher than it says, times x.
static inline f32 along_numbers(const i8 *numbers, const f32 *x, u32 dims) {
  const v128_t half = wasm_f32x4_const_splat(0.5f);
  v128_t sums[4] = {wasm_f32x4_const_splat(0), wasm_f32x4_const_splat(0), wasm_f32x4_const_splat(0), wasm_f32x4_const_splat(0)};
  for (u32 i = 0; i < dims; i += 16) {
    const v128_t eight = wasm_v128_load(numbers + i);
    const v128_t low = wasm_i16x8_extend_low_i8x16(eight), high = wasm_i16x8_extend_high_i8x16(eight);
    const v128_t four[4] = {wasm_i32x4_extend_low_i16x8(low), wasm_i32x4_extend_high_i16x8(low), wasm_i32x4_extend_low_i16x8(high),
                            wasm_i32x4_extend_high_i16x8(high)};
    for (u32 j = 0; j < 4; j++)
      sums[j] = MADD(wasm_f32x4_add(wasm_f32x4_convert_i32x4(four[j]), half), wasm_v128_load(x + i + 4 * j), sums[j]);
  }
  return sum4(wasm_f32x4_add(wasm_f32x4_add(sums[0], sums[1]), wasm_f32x4_add(sums[2], sums[3])));
}

// Signs in which two codes differ.
static inline u32 hamming(const u8 *x, const u8 *y, u32 dims) {
  u32 n = 0;
  for (u32 i = 0; i < dims / 8; i += 8) n += (u32)__builtin_popcountll(word_at(x + i) ^ word_at(y + i));
  return n;
}

// sin(pi / 2 x) for -1 <= x <= 1, to 4e-6.
static inline f32 sine(f32 x) {
  const f32 y = x * 1.57079633f, z = y * y;
  return y * (1 + z * (-1.66666667e-1f + z * (8.33333333e-3f + z * (-1.98412698e-4f + z * 2.75573192e-6f))));
}

#endif
