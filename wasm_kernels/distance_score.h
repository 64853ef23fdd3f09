// Scores of four rows of a table, wherever they lie, against one query: one function for each way of keeping vectors and each metric.
// A scan, a gather and a top-k scan are the same loops around one of these, which the compiler puts in place.
#ifndef PYRUVLLM_DISTANCE_SCORE_H
#define PYRUVLLM_DISTANCE_SCORE_H

#include "distance.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {  // a query, and the table it is held against
  const void *query, *table;
  const f32 *scales;
  u32 dim;      // components of a row, or bytes of a code
  f32 length;   // of a float32 query; with int8 its scale
  i32 square;   // of an int8 query: the sum of its squares
  int narrow;   // whether an int8 query is (distance.h)
} question;

typedef struct {  // numbers of four rows
  u32 at[4];
} four;

typedef v128_t scorer(question q, four slots);

#define ROW(type, lane) ((const type *)q.table + slots.at[lane] * q.dim)
#define ROWS(type) (const type *)q.query, ROW(type, 0), ROW(type, 1), ROW(type, 2), ROW(type, 3), q.dim

// The length of a float32 query, for `cosines`.
INLINE f32 length_f32(const f32 *x, u32 dim) { return __builtin_sqrtf(dot_f32(x, x, dim)); }

INLINE v128_t dots(question q, four slots) { return dots4_f32(ROWS(f32)); }

INLINE v128_t l2s(question q, four slots) { return l2s4_f32(ROWS(f32)); }

// dot / (|query| |row|), in -1 ... 1; 0 where one of the lengths, or their product, is 0, whatever the other is. Else a NaN stays one.
INLINE v128_t cosines(question q, four slots) {
  products found = products4_f32(ROWS(f32));
  v128_t lengths = wasm_f32x4_mul(wasm_f32x4_splat(q.length), wasm_f32x4_sqrt(found.squares));
  v128_t ratio = wasm_f32x4_div(found.dots, lengths);
  ratio = wasm_f32x4_max(wasm_f32x4_min(ratio, wasm_f32x4_const_splat(1)), wasm_f32x4_const_splat(-1));
  const v128_t zero = wasm_f32x4_const_splat(0);
  v128_t none = wasm_v128_or(wasm_f32x4_eq(found.squares, zero), wasm_f32x4_eq(wasm_f32x4_splat(q.length), zero));
  return wasm_v128_andnot(ratio, wasm_v128_or(none, wasm_f32x4_eq(lengths, zero)));
}

INLINE v128_t dots_i8(question q, four slots) {
  v128_t sums = q.narrow ? dots4_i8_narrow(ROWS(i8)) : dots4_i8(ROWS(i8));
  v128_t scales = wasm_f32x4_make(q.scales[slots.at[0]], q.scales[slots.at[1]], q.scales[slots.at[2]], q.scales[slots.at[3]]);
  return wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums), wasm_f32x4_mul(wasm_f32x4_splat(q.length), scales));
}

// |t x - s y|^2 of whole numbers x and y times their scales, from the sums xx, xy, yy. Rounding may leave it below 0.
INLINE f32 apart_i8(double t, double s, i32 xx, i32 xy, i32 yy) {
  double d = (t * t * xx + s * s * yy) - 2 * t * s * xy;
  return (f32)(d < 0 ? 0 : d);
}

INLINE v128_t l2s_i8(question q, four slots) {
  products found = products4_i8(ROWS(i8));
#define APART(lane)                                                                                  \
  apart_i8(q.length, q.scales[slots.at[lane]], q.square, wasm_i32x4_extract_lane(found.dots, lane), \
           wasm_i32x4_extract_lane(found.squares, lane))
  return wasm_f32x4_make(APART(0), APART(1), APART(2), APART(3));
}

INLINE f32 cosine_of_i8(i32 xx, i32 xy, i32 yy) { return xx && yy ? (f32)(xy / __builtin_sqrt((double)xx * yy)) : 0; }

INLINE v128_t cosines_i8(question q, four slots) {
  products found = products4_i8(ROWS(i8));
#define COSINE(lane) cosine_of_i8(q.square, wasm_i32x4_extract_lane(found.dots, lane), wasm_i32x4_extract_lane(found.squares, lane))
  return wasm_f32x4_make(COSINE(0), COSINE(1), COSINE(2), COSINE(3));
}

// Codes: the number of bits that differ, as u32.
#define DIFFERING(count, lane) count((const u8 *)q.query, ROW(u8, lane), q.dim)

INLINE v128_t hammings_words(question q, four slots) {
  return wasm_u32x4_make(DIFFERING(hamming_bits, 0), DIFFERING(hamming_bits, 1),
                         DIFFERING(hamming_bits, 2), DIFFERING(hamming_bits, 3));
}

INLINE v128_t hammings_bytes(question q, four slots) {
  return wasm_u32x4_make(DIFFERING(hamming_bytes, 0), DIFFERING(hamming_bytes, 1),
                         DIFFERING(hamming_bytes, 2), DIFFERING(hamming_bytes, 3));
}

#endif
