// C = A @ B by Strassen's seven products of halves (Numerische Mathematik 13, 1969). Odd sides: the last row or column is peeled off.
#ifndef PYRUVLLM_MATMUL_STRASSEN_H
#define PYRUVLLM_MATMUL_STRASSEN_H

#include "matmul_tiled.h"

#ifndef LEAF
#define LEAF 512u  // below that on any side, additions cost more than the saved product
#endif

// Quadrants 11, 12, 21, 22: which are added (+1, -1) before a product, and what of C the product is added to.
typedef struct {
  i8 a[4], b[4], c[4];
} term;
static const term TERMS[7] = {
    {{1, 0, 0, 1}, {1, 0, 0, 1}, {1, 0, 0, 1}},   {{0, 0, 1, 1}, {1, 0, 0, 0}, {0, 0, 1, -1}}, {{1, 0, 0, 0}, {0, 1, 0, -1}, {0, 1, 0, 1}},
    {{0, 0, 0, 1}, {-1, 0, 1, 0}, {1, 0, 1, 0}},  {{1, 1, 0, 0}, {0, 0, 0, 1}, {-1, 1, 0, 0}}, {{-1, 0, 1, 0}, {1, 1, 0, 0}, {0, 0, 0, 1}},
    {{0, 1, 0, -1}, {0, 0, 1, 1}, {1, 0, 0, 0}},
};

// y = sign * x, or y += sign * x.
static void blend(matrix x, matrix y, u32 rows, u32 cols, f32 sign, u32 add) {
  for (u32 i = 0; i < rows; i++, x.at += x.step, y.at += y.step) {
    u32 j = 0;
    for (; j + 4 <= cols; j += 4) {
      v128_t v = wasm_f32x4_mul(wasm_v128_load(x.at + j), wasm_f32x4_splat(sign));
      wasm_v128_store(y.at + j, add ? wasm_f32x4_add(wasm_v128_load(y.at + j), v) : v);
    }
    for (; j < cols; j++) y.at[j] = add ? y.at[j] + sign * x.at[j] : sign * x.at[j];
  }
}

static matrix quadrant(matrix x, u32 which, u32 rows, u32 cols) { return part(x, which / 2 * rows, which % 2 * cols); }

// The sum of quadrants with these signs: a quadrant itself where it is alone, else made in room.
static matrix gathered(matrix x, const i8 *signs, u32 rows, u32 cols, f32 *room) {
  const matrix made = {room, cols};
  u32 count = 0, last = 0;
  for (u32 q = 0; q < 4; q++)
    if (signs[q]) count++, last = q;
  if (count == 1 && signs[last] > 0) return quadrant(x, last, rows, cols);
  u32 add = 0;
  for (u32 q = 0; q < 4; q++)
    if (signs[q]) blend(quadrant(x, q, rows, cols), made, rows, cols, signs[q], add), add = 1;
  return made;
}

// room: a third of the numbers in A, B and C: three quarters of a quarter of each at every level.
static void strassen(matrix A, matrix B, matrix C, u32 m, u32 k, u32 n, f32 *panel, f32 *room) {
  if (m < LEAF || k < LEAF || n < LEAF) {
    tiled(A, B, C, m, k, n, 0, panel);
    return;
  }
  const u32 hm = m / 2, hk = k / 2, hn = n / 2;
  f32 *const room_a = room, *const room_b = room_a + hm * hk, *const room_c = room_b + hk * hn, *const rest_of = room_c + hm * hn;
  const matrix P = {room_c, hn};
  u32 begun = 0;  // quadrants of C that hold something
  for (u32 t = 0; t < 7; t++) {
    const matrix x = gathered(A, TERMS[t].a, hm, hk, room_a), y = gathered(B, TERMS[t].b, hk, hn, room_b);
    strassen(x, y, P, hm, hk, hn, panel, rest_of);
    for (u32 q = 0; q < 4; q++) {
      if (!TERMS[t].c[q]) continue;
      blend(P, quadrant(C, q, hm, hn), hm, hn, TERMS[t].c[q], begun >> q & 1);
      begun |= 1u << q;
    }
  }
  const u32 em = 2 * hm, ek = 2 * hk, en = 2 * hn;
  if (k > ek) tiled(part(A, 0, ek), part(B, ek, 0), C, em, 1, en, 1, panel);
  if (n > en) tiled(A, part(B, 0, en), part(C, 0, en), m, k, 1, 0, panel);
  if (m > em) tiled(part(A, em, 0), B, part(C, em, 0), 1, k, en, 0, panel);
}

#endif
