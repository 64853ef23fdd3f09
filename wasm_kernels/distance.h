// The innermost routines of every search: one query against one row, and against four rows at once, wherever these lie.
//
// Four at once load the query once and keep eight sums going, which is what it takes to hide the latency of an addition. A row's
// result does not depend on its place among the four, nor on the other three: callers repeat a row to fill the last group.
// Integer sums are exact: at most DIM_I8 components, and no order of adding matters.
#ifndef PYRUVLLM_DISTANCE_H
#define PYRUVLLM_DISTANCE_H

#include "vector.h"

// Before a loop of a few rounds: the compiler would otherwise make it as long as the main one.
#define TAIL _Pragma("clang loop vectorize(disable) unroll(disable)")

#define DIM_I8 131071  // 131,071 x 128 x 128 < 2^31

typedef struct {  // of four rows: their products with the query, and with themselves
  v128_t dots, squares;
} products;

static inline f32 dot_f32(const f32 *x, const f32 *y, u32 dim) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
  u32 j = 0;
  for (; j + 16 <= dim; j += 16) {
    s0 = MADD(wasm_v128_load(x + j), wasm_v128_load(y + j), s0);
    s1 = MADD(wasm_v128_load(x + j + 4), wasm_v128_load(y + j + 4), s1);
    s2 = MADD(wasm_v128_load(x + j + 8), wasm_v128_load(y + j + 8), s2);
    s3 = MADD(wasm_v128_load(x + j + 12), wasm_v128_load(y + j + 12), s3);
  }
  for (; j + 4 <= dim; j += 4) s0 = MADD(wasm_v128_load(x + j), wasm_v128_load(y + j), s0);
  f32 sum = sum4(wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3)));
  TAIL
  for (; j < dim; j++) sum += x[j] * y[j];
  return sum;
}

// |x - y|^2, from differences, which keeps near ones exact.
static inline f32 l2_f32(const f32 *x, const f32 *y, u32 dim) {
  v128_t s0 = wasm_f32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
  u32 j = 0;
  for (; j + 16 <= dim; j += 16) {
    v128_t d0 = wasm_f32x4_sub(wasm_v128_load(x + j), wasm_v128_load(y + j));
    v128_t d1 = wasm_f32x4_sub(wasm_v128_load(x + j + 4), wasm_v128_load(y + j + 4));
    v128_t d2 = wasm_f32x4_sub(wasm_v128_load(x + j + 8), wasm_v128_load(y + j + 8));
    v128_t d3 = wasm_f32x4_sub(wasm_v128_load(x + j + 12), wasm_v128_load(y + j + 12));
    s0 = MADD(d0, d0, s0);
    s1 = MADD(d1, d1, s1);
    s2 = MADD(d2, d2, s2);
    s3 = MADD(d3, d3, s3);
  }
  for (; j + 4 <= dim; j += 4) {
    v128_t d = wasm_f32x4_sub(wasm_v128_load(x + j), wasm_v128_load(y + j));
    s0 = MADD(d, d, s0);
  }
  f32 sum = sum4(wasm_f32x4_add(wasm_f32x4_add(s0, s1), wasm_f32x4_add(s2, s3)));
  TAIL
  for (; j < dim; j++) sum += (x[j] - y[j]) * (x[j] - y[j]);
  return sum;
}

static inline i32 dot_i8(const i8 *x, const i8 *y, u32 dim) {
  v128_t s0 = wasm_i32x4_const_splat(0), s1 = s0;
  u32 j = 0;
  for (; j + 16 <= dim; j += 16) {
    s0 = wasm_i32x4_add(s0, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(x + j), wasm_i16x8_load8x8(y + j)));
    s1 = wasm_i32x4_add(s1, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(x + j + 8), wasm_i16x8_load8x8(y + j + 8)));
  }
  i32 sum = sum4i(wasm_i32x4_add(s0, s1));
  TAIL
  for (; j < dim; j++) sum += x[j] * y[j];
  return sum;
}

// Bits in which two codes of that many bytes differ.
static inline u32 hamming_bits(const u8 *x, const u8 *y, u32 bytes) {
  u32 sum = 0, j = 0;
#pragma clang loop vectorize(disable)
  for (; j + 8 <= bytes; j += 8) {
    u64 p, q;
    __builtin_memcpy(&p, x + j, 8);
    __builtin_memcpy(&q, y + j, 8);
    sum += (u32)__builtin_popcountll(p ^ q);
  }
  TAIL
  for (; j < bytes; j++) sum += (u32)__builtin_popcount((u32)(x[j] ^ y[j]));
  return sum;
}

// Four vectors to the four sums over their lanes.
static inline v128_t sums4(v128_t a, v128_t b, v128_t c, v128_t d) {
  v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 2, 6), wasm_i32x4_shuffle(a, b, 1, 5, 3, 7));
  v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 2, 6), wasm_i32x4_shuffle(c, d, 1, 5, 3, 7));
  return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

static inline v128_t sums4i(v128_t a, v128_t b, v128_t c, v128_t d) {
  v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 2, 6), wasm_i32x4_shuffle(a, b, 1, 5, 3, 7));
  v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 2, 6), wasm_i32x4_shuffle(c, d, 1, 5, 3, 7));
  return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

// The sums of `step` over the components of four rows. V8 puts all loads of a stretch of code before its arithmetic, and has 15
// registers: five loads and eight sums are what fits, so the loop's test stands between its two halves. (Both in one stretch, which
// spills, and four sums alone, which wait for each other, took 2 and 1.3 times as long.)
#define SUMS4_F32(step)                                                                                                \
  v128_t a0 = wasm_f32x4_const_splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0, x;             \
  u32 j = 0;                                                                                                           \
  while (j + 4 <= dim) {                                                                                               \
    x = wasm_v128_load(q + j);                                                                                         \
    a0 = step(x, wasm_v128_load(r0 + j), a0), b0 = step(x, wasm_v128_load(r1 + j), b0);                                \
    c0 = step(x, wasm_v128_load(r2 + j), c0), d0 = step(x, wasm_v128_load(r3 + j), d0);                                \
    j += 4;                                                                                                            \
    if (j + 4 > dim) break;                                                                                            \
    x = wasm_v128_load(q + j);                                                                                         \
    a1 = step(x, wasm_v128_load(r0 + j), a1), b1 = step(x, wasm_v128_load(r1 + j), b1);                                \
    c1 = step(x, wasm_v128_load(r2 + j), c1), d1 = step(x, wasm_v128_load(r3 + j), d1);                                \
    j += 4;                                                                                                            \
  }                                                                                                                    \
  v128_t sums = sums4(wasm_f32x4_add(a0, a1), wasm_f32x4_add(b0, b1), wasm_f32x4_add(c0, c1), wasm_f32x4_add(d0, d1)); \
  TAIL                                                                                                                 \
  for (; j < dim; j++) sums = step(wasm_f32x4_splat(q[j]), wasm_f32x4_make(r0[j], r1[j], r2[j], r3[j]), sums);         \
  return sums

static inline v128_t add_product(v128_t x, v128_t y, v128_t sum) { return MADD(x, y, sum); }

static inline v128_t add_square(v128_t x, v128_t y, v128_t sum) {
  v128_t away = wasm_f32x4_sub(x, y);
  return MADD(away, away, sum);
}

static inline v128_t dots4_f32(const f32 *q, const f32 *r0, const f32 *r1, const f32 *r2, const f32 *r3, u32 dim) {
  SUMS4_F32(add_product);
}

static inline v128_t l2s4_f32(const f32 *q, const f32 *r0, const f32 *r1, const f32 *r2, const f32 *r3, u32 dim) {
  SUMS4_F32(add_square);
}

static inline products products4_f32(const f32 *q, const f32 *r0, const f32 *r1, const f32 *r2, const f32 *r3, u32 dim) {
  v128_t a0 = wasm_f32x4_const_splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  u32 j = 0;
  for (; j + 4 <= dim; j += 4) {
    v128_t x = wasm_v128_load(q + j), r;
    r = wasm_v128_load(r0 + j), a0 = MADD(x, r, a0), a1 = MADD(r, r, a1);
    r = wasm_v128_load(r1 + j), b0 = MADD(x, r, b0), b1 = MADD(r, r, b1);
    r = wasm_v128_load(r2 + j), c0 = MADD(x, r, c0), c1 = MADD(r, r, c1);
    r = wasm_v128_load(r3 + j), d0 = MADD(x, r, d0), d1 = MADD(r, r, d1);
  }
  products found = {sums4(a0, b0, c0, d0), sums4(a1, b1, c1, d1)};
  TAIL
  for (; j < dim; j++) {
    v128_t r = wasm_f32x4_make(r0[j], r1[j], r2[j], r3[j]);
    found.dots = MADD(wasm_f32x4_splat(q[j]), r, found.dots);
    found.squares = MADD(r, r, found.squares);
  }
  return found;
}

static inline v128_t dots4_i8(const i8 *q, const i8 *r0, const i8 *r1, const i8 *r2, const i8 *r3, u32 dim) {
  v128_t a = wasm_i32x4_const_splat(0), b = a, c = a, d = a;
  u32 j = 0;
  for (; j + 16 <= dim; j += 16) {
    v128_t x = wasm_i16x8_load8x8(q + j), y = wasm_i16x8_load8x8(q + j + 8);
    a = wasm_i32x4_add(a, wasm_i32x4_dot_i16x8(x, wasm_i16x8_load8x8(r0 + j)));
    b = wasm_i32x4_add(b, wasm_i32x4_dot_i16x8(x, wasm_i16x8_load8x8(r1 + j)));
    c = wasm_i32x4_add(c, wasm_i32x4_dot_i16x8(x, wasm_i16x8_load8x8(r2 + j)));
    d = wasm_i32x4_add(d, wasm_i32x4_dot_i16x8(x, wasm_i16x8_load8x8(r3 + j)));
    a = wasm_i32x4_add(a, wasm_i32x4_dot_i16x8(y, wasm_i16x8_load8x8(r0 + j + 8)));
    b = wasm_i32x4_add(b, wasm_i32x4_dot_i16x8(y, wasm_i16x8_load8x8(r1 + j + 8)));
    c = wasm_i32x4_add(c, wasm_i32x4_dot_i16x8(y, wasm_i16x8_load8x8(r2 + j + 8)));
    d = wasm_i32x4_add(d, wasm_i32x4_dot_i16x8(y, wasm_i16x8_load8x8(r3 + j + 8)));
  }
  v128_t sums = sums4i(a, b, c, d);
  TAIL
  for (; j < dim; j++) sums = wasm_i32x4_add(sums, wasm_i32x4_mul(wasm_i32x4_splat(q[j]), wasm_i32x4_make(r0[j], r1[j], r2[j], r3[j])));
  return sums;
}

#ifdef __wasm_relaxed_simd__
// Whether no component is -128: then both the positive and the negative ones, taken apart, have 7 bits.
static inline int is_narrow(const i8 *x, u32 dim) {
  v128_t found = wasm_i32x4_const_splat(0);
  u32 j = 0, last = 0;
  for (; j + 16 <= dim; j += 16) found = wasm_v128_or(found, wasm_i8x16_eq(wasm_v128_load(x + j), wasm_i8x16_const_splat(-128)));
  TAIL
  for (; j < dim; j++) last |= x[j] == -128;
  return !last && !wasm_v128_any_true(found);
}

// The same sums for a narrow query. Relaxed dot products are the same in every engine while their second operand is in 0 ... 127, and
// one instruction where the engine knows the hardware's: here the query is its positive components less its negative ones.
static inline v128_t dots4_i8_narrow(const i8 *q, const i8 *r0, const i8 *r1, const i8 *r2, const i8 *r3, u32 dim) {
  v128_t a0 = wasm_i32x4_const_splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  const v128_t zero = a0;
  u32 j = 0;
  for (; j + 16 <= dim; j += 16) {
    v128_t x = wasm_v128_load(q + j), r;
    v128_t plus = wasm_i8x16_max(x, zero), minus = wasm_i8x16_sub(plus, x);
    r = wasm_v128_load(r0 + j);
    a0 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, plus, a0), a1 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, minus, a1);
    r = wasm_v128_load(r1 + j);
    b0 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, plus, b0), b1 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, minus, b1);
    r = wasm_v128_load(r2 + j);
    c0 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, plus, c0), c1 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, minus, c1);
    r = wasm_v128_load(r3 + j);
    d0 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, plus, d0), d1 = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(r, minus, d1);
  }
  v128_t sums = sums4i(wasm_i32x4_sub(a0, a1), wasm_i32x4_sub(b0, b1), wasm_i32x4_sub(c0, c1), wasm_i32x4_sub(d0, d1));
  TAIL
  for (; j < dim; j++) sums = wasm_i32x4_add(sums, wasm_i32x4_mul(wasm_i32x4_splat(q[j]), wasm_i32x4_make(r0[j], r1[j], r2[j], r3[j])));
  return sums;
}
#else
static inline int is_narrow(const i8 *x, u32 dim) { return 0; }
#define dots4_i8_narrow dots4_i8
#endif

static inline products products4_i8(const i8 *q, const i8 *r0, const i8 *r1, const i8 *r2, const i8 *r3, u32 dim) {
  v128_t a0 = wasm_i32x4_const_splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  u32 j = 0;
  for (; j + 8 <= dim; j += 8) {
    v128_t x = wasm_i16x8_load8x8(q + j), r;
    r = wasm_i16x8_load8x8(r0 + j);
    a0 = wasm_i32x4_add(a0, wasm_i32x4_dot_i16x8(x, r)), a1 = wasm_i32x4_add(a1, wasm_i32x4_dot_i16x8(r, r));
    r = wasm_i16x8_load8x8(r1 + j);
    b0 = wasm_i32x4_add(b0, wasm_i32x4_dot_i16x8(x, r)), b1 = wasm_i32x4_add(b1, wasm_i32x4_dot_i16x8(r, r));
    r = wasm_i16x8_load8x8(r2 + j);
    c0 = wasm_i32x4_add(c0, wasm_i32x4_dot_i16x8(x, r)), c1 = wasm_i32x4_add(c1, wasm_i32x4_dot_i16x8(r, r));
    r = wasm_i16x8_load8x8(r3 + j);
    d0 = wasm_i32x4_add(d0, wasm_i32x4_dot_i16x8(x, r)), d1 = wasm_i32x4_add(d1, wasm_i32x4_dot_i16x8(r, r));
  }
  products found = {sums4i(a0, b0, c0, d0), sums4i(a1, b1, c1, d1)};
  TAIL
  for (; j < dim; j++) {
    v128_t r = wasm_i32x4_make(r0[j], r1[j], r2[j], r3[j]);
    found.dots = wasm_i32x4_add(found.dots, wasm_i32x4_mul(wasm_i32x4_splat(q[j]), r));
    found.squares = wasm_i32x4_add(found.squares, wasm_i32x4_mul(r, r));
  }
  return found;
}

// The same count as hamming_bits, 16 bytes at a time: faster where the engine has the byte-wise count in hardware.
static inline u32 hamming_bytes(const u8 *x, const u8 *y, u32 bytes) {
  v128_t sum = wasm_i32x4_const_splat(0);
  u32 j = 0;
  while (j + 16 <= bytes) {
    u32 end = bytes - j > 16 * 31 ? j + 16 * 31 : bytes;  // 31 x 8 bits still fit a byte
    v128_t part = wasm_i8x16_const_splat(0);
    for (; j + 16 <= end; j += 16) {
      v128_t differ = wasm_v128_xor(wasm_v128_load(x + j), wasm_v128_load(y + j));
      part = wasm_i8x16_add(part, wasm_i8x16_popcnt(differ));
    }
    sum = wasm_i32x4_add(sum, wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(part)));
  }
  return (u32)sum4i(sum) + hamming_bits(x + j, y + j, bytes - j);
}

#endif
