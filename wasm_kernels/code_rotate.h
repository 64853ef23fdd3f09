// The rotation of hnsw_pure/rotation.py, and 8-bit numbers of what it gives. Lengths are multiples of 128.
#ifndef PYRUVLLM_CODE_ROTATE_H
#define PYRUVLLM_CODE_ROTATE_H

#include "vector.h"

#define ROUNDS 4

// The Walsh-Hadamard transform of n numbers, a power of two of at least 128, without a factor. Its levels may come in any order.
static inline void hadamard(f32 *x, u32 n) {
  const v128_t odd = wasm_f32x4_make(1, -1, 1, -1), high = wasm_f32x4_make(1, 1, -1, -1);
  for (u32 i = 0; i < n; i += 16) {  // distances 1 and 2 within a vector, 4 and 8 among four
    v128_t v[4];
    for (u32 j = 0; j < 4; j++) {
      v128_t a = wasm_v128_load(x + i + 4 * j);
      a = wasm_f32x4_add(wasm_i32x4_shuffle(a, a, 0, 0, 2, 2), wasm_f32x4_mul(wasm_i32x4_shuffle(a, a, 1, 1, 3, 3), odd));
      v[j] = wasm_f32x4_add(wasm_i32x4_shuffle(a, a, 0, 1, 0, 1), wasm_f32x4_mul(wasm_i32x4_shuffle(a, a, 2, 3, 2, 3), high));
    }
    v128_t a = wasm_f32x4_add(v[0], v[1]), b = wasm_f32x4_sub(v[0], v[1]), c = wasm_f32x4_add(v[2], v[3]), d = wasm_f32x4_sub(v[2], v[3]);
    wasm_v128_store(x + i, wasm_f32x4_add(a, c));
    wasm_v128_store(x + i + 4, wasm_f32x4_add(b, d));
    wasm_v128_store(x + i + 8, wasm_f32x4_sub(a, c));
    wasm_v128_store(x + i + 12, wasm_f32x4_sub(b, d));
  }
  u32 h = 16;
  for (; 4 * h <= n; h *= 4) {  // two levels at a time
    for (u32 i = 0; i < n; i += 4 * h) {
      for (u32 j = i; j < i + h; j += 4) {
        v128_t p = wasm_v128_load(x + j), q = wasm_v128_load(x + j + h), r = wasm_v128_load(x + j + 2 * h), s = wasm_v128_load(x + j + 3 * h);
        v128_t a = wasm_f32x4_add(p, q), b = wasm_f32x4_sub(p, q), c = wasm_f32x4_add(r, s), d = wasm_f32x4_sub(r, s);
        wasm_v128_store(x + j, wasm_f32x4_add(a, c));
        wasm_v128_store(x + j + h, wasm_f32x4_add(b, d));
        wasm_v128_store(x + j + 2 * h, wasm_f32x4_sub(a, c));
        wasm_v128_store(x + j + 3 * h, wasm_f32x4_sub(b, d));
      }
    }
  }
  if (h == n) return;
  for (u32 j = 0; j < h; j += 4) {  // h is n / 2
    v128_t p = wasm_v128_load(x + j), q = wasm_v128_load(x + j + h);
    wasm_v128_store(x + j, wasm_f32x4_add(p, q));
    wasm_v128_store(x + j + h, wasm_f32x4_sub(p, q));
  }
}

// What is left of a prepared vector (dim) without the centre, rotated: left (dims).
static inline void rotate(const f32 *row, const f32 *centre, const f32 *factors, f32 *left, u32 dim, u32 dims) {
  const u32 window = 1u << (31 - __builtin_clz(dims));
  for (u32 i = 0; i < dim; i++) left[i] = row[i] - centre[i];
  for (u32 i = dim; i < dims; i++) left[i] = 0;
  for (u32 turn = 0; turn < ROUNDS; turn++, factors += dims) {
    for (u32 i = 0; i < dims; i += 4) wasm_v128_store(left + i, wasm_f32x4_mul(wasm_v128_load(left + i), wasm_v128_load(factors + i)));
    hadamard(left + (turn % 2 ? dims - window : 0), window);
  }
}

typedef struct {  // of the components of a vector
  f32 square, sum, largest;  // |x|^2, of |x_i|, greatest |x_i|
} spread;

static inline spread spread_of(const f32 *x, u32 dims) {
  v128_t squares = wasm_f32x4_const_splat(0), sums = squares, largest = squares;
  for (u32 i = 0; i < dims; i += 4) {
    v128_t v = wasm_v128_load(x + i), size = wasm_f32x4_abs(v);
    squares = MADD(v, v, squares);
    sums = wasm_f32x4_add(sums, size);
    largest = wasm_f32x4_pmax(largest, size);
  }
  largest = wasm_f32x4_pmax(largest, wasm_i32x4_shuffle(largest, largest, 2, 3, 0, 1));
  largest = wasm_f32x4_pmax(largest, wasm_i32x4_shuffle(largest, largest, 1, 0, 3, 2));
  return (spread){sum4(squares), sum4(sums), wasm_f32x4_extract_lane(largest, 0)};
}

// Sixteen components as numbers c in 0 ... 255 that stand for (c - 127.5) / per: 128 and more are those that are not negative.
static inline v128_t numbers16(const f32 *x, f32 per) {
  const v128_t p = wasm_f32x4_splat(per), middle = wasm_f32x4_const_splat(128);
  v128_t v[4];
  for (u32 j = 0; j < 4; j++) v[j] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_add(wasm_f32x4_mul(wasm_v128_load(x + 4 * j), p), middle));
  return wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(v[0], v[1]), wasm_i16x8_narrow_i32x4(v[2], v[3]));
}

#endif
