#include "adapter.gen.h"
#include "rows.h"

KERNEL(lora_apply, lora_apply) {
  const f32 *x = DATA(const f32, a->x);
  f32 *y = DATA(f32, a->y), *middle = DATA(f32, a->middle);
  for (u32 token = 0; token < a->tokens; token++, x += a->cols, y += a->rows) {
    times_rows(DATA(const f32, a->a), 0, a->rank, a->cols, x, middle, 1, 0);
    times_rows(DATA(const f32, a->b), 0, a->rows, a->rank, middle, y, a->scale, 1);
  }
  return 0;
}

KERNEL(lora_apply_f16, lora_apply_f16) {
  const f32 *x = DATA(const f32, a->x);
  f32 *y = DATA(f32, a->y), *middle = DATA(f32, a->middle);
  for (u32 token = 0; token < a->tokens; token++, x += a->cols, y += a->rows) {
    times_rows(DATA(const f16, a->a), 1, a->rank, a->cols, x, middle, 1, 0);
    times_rows(DATA(const f16, a->b), 1, a->rows, a->rank, middle, y, a->scale, 1);
  }
  return 0;
}
