#include "gate.gen.h"
#include "math.h"
#include "rows.h"

// out = the transpose of weights (n, rank), times x.
static void times_transpose(const f32 *weights, u32 n, u32 rank, const f32 *x, f32 *out) {
  for (u32 j = 0; j < rank; j += 4) {
    v128_t even = wasm_f32x4_const_splat(0), odd = even;
    const f32 *column = weights + j;
    u32 i = 0;
    for (; i + 2 <= n; i += 2, column += 2 * rank) {
      even = MADD(load_lanes(column, rank - j), wasm_v128_load32_splat(x + i), even);
      odd = MADD(load_lanes(column + rank, rank - j), wasm_v128_load32_splat(x + i + 1), odd);
    }
    if (i < n) even = MADD(load_lanes(column, rank - j), wasm_v128_load32_splat(x + i), even);
    store_lanes(out + j, wasm_f32x4_add(even, odd), rank - j);
  }
}

KERNEL(gate_step, gate_step) {
  const f32 *w2 = DATA(const f32, a->w2), *u2 = DATA(const f32, a->u2), *x = DATA(const f32, a->x);
  if (!w2 && a->w_rank != a->inputs) return FAIL(VALUE, ARG_gate_step_w_rank);
  if (!u2 && a->u_rank != a->hidden) return FAIL(VALUE, ARG_gate_step_u_rank);
  f32 *inner = DATA(f32, a->middle), *past = inner + a->w_rank, *sum = past + a->u_rank, *h = DATA(f32, a->h);
  const v128_t one = wasm_f32x4_const_splat(1), zeta = wasm_f32x4_splat(a->zeta), nu = wasm_f32x4_splat(a->nu);
  for (u32 sequence = 0; sequence < a->batch; sequence++, h += a->hidden)
    for (u32 step = 0; step < a->steps; step++, x += a->inputs) {
      if (w2) times_transpose(w2, a->inputs, a->w_rank, x, inner);
      if (u2) times_transpose(u2, a->hidden, a->u_rank, h, past);
      times_rows(DATA(const f32, a->w1), 0, a->hidden, a->w_rank, w2 ? inner : x, sum, 1, 0);
      times_rows(DATA(const f32, a->u1), 0, a->hidden, a->u_rank, u2 ? past : h, sum, 1, 1);
      for (u32 i = 0; i < a->hidden; i += 4) {
        const u32 m = a->hidden - i;
        v128_t pre = load_lanes(sum + i, m), before = load_lanes(h + i, m);
        v128_t z = sigmoid4(wasm_f32x4_add(pre, load_lanes(DATA(const f32, a->b_z) + i, m)));
        v128_t g = tanh4(wasm_f32x4_add(pre, load_lanes(DATA(const f32, a->b_h) + i, m)));
        v128_t fresh = MADD(zeta, wasm_f32x4_sub(one, z), nu);
        store_lanes(h + i, MADD(z, before, wasm_f32x4_mul(fresh, g)), m);
      }
    }
  return 0;
}
