#include "matmul.gen.h"
#include "matmul_strassen.h"

KERNEL(matmul, matmul_standard) {
  const f32 *A = DATA(const f32, a->a), *B = DATA(const f32, a->b);
  f32 *C = DATA(f32, a->c);
  const u32 k = a->k, n = a->n;
  if (!n) return 0;  // then m may be any number
  for (u32 i = 0; i < a->m; i++, A += k, C += n) {
    u32 j = 0;
    for (; j + 16 <= n; j += 16) {
      v128_t sum[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
      for (u32 p = 0; p < k; p++) {
        const v128_t x = wasm_v128_load32_splat(A + p);
        UNROLL for (u32 q = 0; q < 4; q++) sum[q] = MADD(x, wasm_v128_load(B + p * n + j + 4 * q), sum[q]);
      }
      UNROLL for (u32 q = 0; q < 4; q++) wasm_v128_store(C + j + 4 * q, sum[q]);
    }
    for (; j < n; j++) {
      f32 sum = 0;
      for (u32 p = 0; p < k; p++) sum += A[p] * B[p * n + j];
      C[j] = sum;
    }
  }
  return 0;
}

KERNEL(matmul, matmul_tiled) {
  const matrix A = {DATA(f32, a->a), a->k}, B = {DATA(f32, a->b), a->n}, C = {DATA(f32, a->c), a->n};
  tiled(A, B, C, a->m, a->k, a->n, 0, DATA(f32, a->room));
  return 0;
}

KERNEL(matmul, matmul_strassen) {
  const matrix A = {DATA(f32, a->a), a->k}, B = {DATA(f32, a->b), a->n}, C = {DATA(f32, a->c), a->n};
  strassen(A, B, C, a->m, a->k, a->n, DATA(f32, a->room), DATA(f32, a->room) + PANEL);
  return 0;
}

KERNEL(matvec, matvec) {
  const f32 *w = DATA(const f32, a->w), *x = DATA(const f32, a->x);
  f32 *y = DATA(f32, a->y);
  const u32 cols = a->cols;
  u32 row = 0;
  for (; a->rows - row >= 4; row += 4, w += 4 * cols) {
    v128_t sum[8];
    UNROLL for (u32 i = 0; i < 8; i++) sum[i] = wasm_f32x4_splat(0);
    u32 c = 0;
    for (; c + 8 <= cols; c += 8) {
      const v128_t x0 = wasm_v128_load(x + c), x1 = wasm_v128_load(x + c + 4);
      UNROLL for (u32 r = 0; r < 4; r++) {
        sum[r] = MADD(wasm_v128_load(w + r * cols + c), x0, sum[r]);
        sum[4 + r] = MADD(wasm_v128_load(w + r * cols + c + 4), x1, sum[4 + r]);
      }
    }
    UNROLL for (u32 r = 0; r < 4; r++) {
      f32 total = sum4(wasm_f32x4_add(sum[r], sum[4 + r]));
      for (u32 i = c; i < cols; i++) total += w[r * cols + i] * x[i];
      y[row + r] = total;
    }
  }
  for (; row < a->rows; row++, w += cols) {
    v128_t sum = wasm_f32x4_splat(0);
    u32 c = 0;
    for (; c + 4 <= cols; c += 4) sum = MADD(wasm_v128_load(w + c), wasm_v128_load(x + c), sum);
    f32 total = sum4(sum);
    for (; c < cols; c++) total += w[c] * x[c];
    y[row] = total;
  }
  return 0;
}
