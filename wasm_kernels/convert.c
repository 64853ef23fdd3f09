#include "convert.gen.h"
#include "vector.h"

KERNEL(widen, widen) {
  const f16 *x = DATA(const f16, a->x);
  f32 *y = DATA(f32, a->y);
  u32 i = 0;
  for (; i + 4 <= a->n; i += 4) wasm_v128_store(y + i, load_f16x4(x + i));
  for (; i < a->n; i++) y[i] = load_f16(x[i]);
  return 0;
}

KERNEL(narrow, narrow) {
  const f32 *x = DATA(const f32, a->x);
  f16 *y = DATA(f16, a->y);
  u32 i = 0;
  for (; i + 4 <= a->n; i += 4) store_f16x4(y + i, wasm_v128_load(x + i));
  for (; i < a->n; i++) y[i] = store_f16(x[i]);
  return 0;
}
