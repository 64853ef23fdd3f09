#include "linear.gen.h"
#include "vector.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

typedef enum { F32, F16 } kind;

typedef struct {
  const f32 *x;
  const u8 *w;
  f32 *y;
  u32 batch, rows, cols, first, count;
} product;

INLINE u32 size_of(kind type) { return type == F16 ? 2 : 4; }

// Four weights. Of float16, exponent and mantissa are moved into place and scaled: wide4 of vector.h less what infinities and NaN need.
INLINE v128_t four(const u8 *w, const kind type) {
  if (type == F32) return wasm_v128_load(w);
  const v128_t moved = wasm_i32x4_shl(wasm_i32x4_load16x4(w), 13);
  return wasm_f32x4_mul(wasm_v128_and(moved, wasm_i32x4_splat((i32)0x8fffe000)), wasm_f32x4_splat(0x1p112f));
}

INLINE f32 one(const u8 *w, const kind type) { return type == F32 ? *(const f32 *)w : load_f16(*(const f16 *)w); }

// R rows from row on x M columns from m on. S sums each, so that multiply-adds need not wait for each other.
INLINE void tile(const product *p, u32 row, u32 m, const kind type, const u32 R, const u32 M, const u32 S) {
  const u32 cols = p->cols, stride = cols * size_of(type);
  const u8 *w = p->w + row * stride;
  const f32 *x = p->x + m * cols;
  v128_t sum[16];
  UNROLL for (u32 i = 0; i < R * M * S; i++) sum[i] = wasm_f32x4_splat(0);
  u32 c = 0;
  for (; c + 4 * S <= cols; c += 4 * S) {
    UNROLL for (u32 s = 0; s < S; s++) {
      v128_t part[8];
      UNROLL for (u32 k = 0; k < M; k++) part[k] = wasm_v128_load(x + k * cols + c + 4 * s);
      UNROLL for (u32 r = 0; r < R; r++) {
        const v128_t weight = four(w + r * stride + (c + 4 * s) * size_of(type), type);
        UNROLL for (u32 k = 0; k < M; k++) sum[(r * M + k) * S + s] = MADD(weight, part[k], sum[(r * M + k) * S + s]);
      }
    }
  }
  UNROLL for (u32 r = 0; r < R; r++) {
    UNROLL for (u32 k = 0; k < M; k++) {
      v128_t all = sum[(r * M + k) * S];
      UNROLL for (u32 s = 1; s < S; s++) all = wasm_f32x4_add(all, sum[(r * M + k) * S + s]);
      f32 total = sum4(all);
      for (u32 i = c; i < cols; i++) total += x[k * cols + i] * one(w + r * stride + i * size_of(type), type);
      p->y[(m + k) * p->rows + row + r] = total;
    }
  }
}

// Rows row ... end - 1 x M columns from m on, R rows at a time.
INLINE void column_tile(const product *p, u32 row, u32 end, u32 m, const kind type, const u32 R, const u32 M, const u32 S) {
  for (; end - row >= R; row += R) tile(p, row, m, type, R, M, S);
  for (; row < end; row++) tile(p, row, m, type, 1, M, S);
}

INLINE i32 multiply(const product *p, const kind type) {
  const u32 end = p->first + p->count;
  if (!p->batch) return 0;
  // Of x, four columns stay in the first-level cache while 16 rows, which stay in the second, go past them.
  for (u32 row = p->first; row < end;) {
    const u32 bottom = end - row > 16 ? row + 16 : end;
    u32 m = 0;
    for (; p->batch - m >= 4; m += 4) column_tile(p, row, bottom, m, type, 2, 4, 1);
    if (p->batch - m >= 2) column_tile(p, row, bottom, m, type, 4, 2, 1), m += 2;
    if (p->batch > m) column_tile(p, row, bottom, m, type, 4, 1, 2);
    row = bottom;
  }
  return 0;
}

INLINE u32 widen_rows(const u8 *w, const u32 *index, f32 *y, u32 n, u32 rows, u32 cols, const kind type) {
  for (u32 i = 0; i < n; i++, y += cols) {
    if (index[i] >= rows) return 1;
    const u8 *at = w + index[i] * cols * size_of(type);
    if (type == F32) __builtin_memcpy(y, at, cols * 4);
    else
      for (u32 c = 0; c < cols; c++) y[c] = load_f16(((const f16 *)at)[c]);
  }
  return 0;
}

#define PLAIN(name, type)                                                                                                             \
  KERNEL(linear_##name, linear_##name) {                                                                                              \
    const product p = {DATA(const f32, a->x), DATA(const u8, a->w), DATA(f32, a->y), a->batch, a->rows, a->cols, a->first, a->count}; \
    return multiply(&p, type);                                                                                                        \
  }                                                                                                                                   \
  KERNEL(rows_##name, rows_##name) {                                                                                                  \
    u32 refused = widen_rows(DATA(const u8, a->w), DATA(const u32, a->index), DATA(f32, a->y), a->n, a->rows, a->cols, type);         \
    return refused ? FAIL(INDEX, ARG_rows_##name##_index) : 0;                                                                        \
  }

PLAIN(f32, F32)
PLAIN(f16, F16)
