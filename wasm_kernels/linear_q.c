#include "linear_q.gen.h"
#include "linear_q_layout.h"

#define LINEAR(op, name, type, wide, levels)                                                                             \
  KERNEL(op, name) {                                                                                                     \
    const product p = {DATA(const f32, a->x), DATA(const u8, a->w), DATA(f32, a->y), DATA(record, a->room), levels,      \
                       a->batch, a->rows, a->cols, a->first, a->count};                                                  \
    return multiply(&p, type, wide);                                                                                     \
  }

// The three operations of one type.
#define QUANTISED(name, type, levels)                                                                                            \
  KERNEL(repack_##name, repack_##name) {                                                                                 \
    u32 refused = repack(DATA(const u8, a->blocks), DATA(u8, a->w), a->rows, a->cols, type);                             \
    return refused ? FAIL(VALUE, ARG_repack_##name##_blocks) : 0;                                                        \
  }                                                                                                                      \
  KERNEL(rows_##name, rows_##name) {                                                                                     \
    u32 refused = widen_rows(DATA(const u8, a->w), DATA(const u32, a->index), DATA(f32, a->y), a->n, a->rows, a->cols, type); \
    return refused ? FAIL(INDEX, ARG_rows_##name##_index) : 0;                                                           \
  }                                                                                                                      \
  LINEAR(linear_##name, linear_##name, type, 0, levels)

QUANTISED(q4_0, Q4_0, 0)
QUANTISED(q4_k, Q4_K, 0)
QUANTISED(q8_0, Q8_0, 0)
QUANTISED(q6_k, Q6_K, DATA(u8, a->levels))
LINEAR(linear_q4_0, linear_q4_0_wide, Q4_0, 1, 0)
LINEAR(linear_q4_k, linear_q4_k_wide, Q4_K, 1, 0)
