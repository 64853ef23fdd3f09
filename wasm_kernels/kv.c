// Pages of keys and values: written, quantised, attended to.
#include "kv.gen.h"
#include "kv_attend.h"
#include "kv_codes.h"

#define ATTEND(kind, K, W)                                                                                                         \
  KERNEL(paged_attention_##kind, paged_attention_##kind) {                                                                         \
    u32 used = a->context / a->page + (a->context % a->page > 0);                                                                  \
    const form f = {a->kv_heads, a->dim, a->page};                                                                                 \
    const u32 below = places(K, W, &f, a->count, a->stride, a->keys_at, a->values_at);                                             \
    if (!within(DATA(const i32, a->table), used, below)) return FAIL(INDEX, ARG_paged_attention_##kind##_table);                   \
    attend(PAGED, K, W);                                                                                                           \
    return 0;                                                                                                                      \
  }

ATTEND(f16, F16, F16)
ATTEND(q8, Q8, Q8)
ATTEND(q4, Q4, Q4)
ATTEND(q8q4, Q8, Q4)

INLINE v128_t held(const f32 *p) {
  return wasm_f32x4_pmax(wasm_f32x4_pmin(wasm_v128_load(p), wasm_f32x4_splat(65504)), wasm_f32x4_splat(-65504));
}

KERNEL(kv_write_f16, kv_write_f16) {
  const u32 dim = a->dim, page = a->page, last = a->position + a->tokens;
  const f32 *k = DATA(const f32, a->k), *v = DATA(const f32, a->v);
  const i32 *table = DATA(const i32, a->table);
  const form f = {a->kv_heads, dim, page};
  const u32 first = a->position / page, below = places(F16, F16, &f, a->count, a->stride, a->keys_at, a->values_at);
  if (!a->tokens) return 0;
  if (!within(table + first, (last - 1) / page - first + 1, below)) return FAIL(INDEX, ARG_kv_write_f16_table);
  for (u32 at = a->position; at < last; at++) {
    u8 *base = DATA(u8, a->pool) + table[at / page] * a->stride;
    f16 *keys = (f16 *)(base + a->keys_at) + at % page, *values = (f16 *)(base + a->values_at) + at % page * dim;
    for (u32 head = 0; head < a->kv_heads; head++, k += dim, v += dim, keys += dim * page, values += dim * page)
      for (u32 c = 0; c < dim; c += 4) {
        v128_t half = narrow4(held(k + c));
        keys[c * page] = (f16)wasm_i32x4_extract_lane(half, 0);
        keys[(c + 1) * page] = (f16)wasm_i32x4_extract_lane(half, 1);
        keys[(c + 2) * page] = (f16)wasm_i32x4_extract_lane(half, 2);
        keys[(c + 3) * page] = (f16)wasm_i32x4_extract_lane(half, 3);
        store_f16x4(values + c, held(v + c));
      }
  }
  return 0;
}

#define QUANTIZE(kind, K, W)                                                                                                        \
  KERNEL(kv_quantize_##kind, kv_quantize_##kind) {                                                                                 \
    const form f = {a->kv_heads, a->dim, a->page};                                                                                 \
    const i32 *from = DATA(const i32, a->source_pages), *to = DATA(const i32, a->pages);                                           \
    const u32 taken = places(F16, F16, &f, a->source_count, a->source_stride, a->source_keys_at, a->source_values_at);             \
    const u32 made = places(K, W, &f, a->count, a->stride, a->keys_at, a->values_at);                                              \
    if (!within(from, a->n, taken)) return FAIL(INDEX, ARG_kv_quantize_##kind##_source_pages);                                     \
    if (!within(to, a->n, made)) return FAIL(INDEX, ARG_kv_quantize_##kind##_pages);                                               \
    const workbench w = workbench_in(DATA(f32, a->work), &f);                                                                      \
    for (u32 i = 0; i < a->n; i++) {                                                                                               \
      const u8 *source = DATA(const u8, a->source) + from[i] * a->source_stride;                                                   \
      u8 *target = DATA(u8, a->pool) + to[i] * a->stride;                                                                          \
      for (u32 head = 0; head < a->kv_heads; head++) {                                                                             \
        quantize_keys(K, &f, source + a->source_keys_at, target + a->keys_at, head, &w);                                           \
        quantize_values(W, &f, source + a->source_values_at, target + a->values_at, head, &w);                                     \
      }                                                                                                                            \
    }                                                                                                                              \
    return 0;                                                                                                                      \
  }

QUANTIZE(q8, Q8, Q8)
QUANTIZE(q4, Q4, Q4)
QUANTIZE(q8q4, Q8, Q4)

#define DEQUANTIZE(kind, K, W)                                                                                                      \
  KERNEL(kv_dequantize_##kind, kv_dequantize_##kind) {                                                                             \
    const form f = {a->kv_heads, a->dim, a->page};                                                                                 \
    const i32 *table = DATA(const i32, a->table);                                                                                  \
    const u32 below = places(K, W, &f, a->count, a->stride, a->keys_at, a->values_at);                                             \
    if (!within(table, a->pages, below)) return FAIL(INDEX, ARG_kv_dequantize_##kind##_table);                                     \
    f32 *k = DATA(f32, a->k), *v = DATA(f32, a->v);                                                                                \
    for (u32 i = 0; i < a->pages; i++) {                                                                                           \
      const u8 *base = DATA(const u8, a->pool) + table[i] * a->stride;                                                             \
      for (u32 t = 0; t < f.page; t++)                                                                                             \
        for (u32 head = 0; head < f.kv_heads; head++, k += f.dim, v += f.dim) {                                                    \
          key_block keys = keys_of(K, &f, base + a->keys_at, head);                                                                \
          value_block values = values_of(W, &f, base + a->values_at, head);                                                        \
          for (u32 c = 0; c < f.dim; c++) {                                                                                        \
            k[c] = key_at(K, &f, &keys, t, c);                                                                                     \
            v[c] = value_at(W, &f, &values, t, c);                                                                                 \
          }                                                                                                                        \
        }                                                                                                                          \
    }                                                                                                                              \
    return 0;                                                                                                                      \
  }

DEQUANTIZE(f16, F16, F16)
DEQUANTIZE(q8, Q8, Q8)
DEQUANTIZE(q4, Q4, Q4)
DEQUANTIZE(q8q4, Q8, Q4)
