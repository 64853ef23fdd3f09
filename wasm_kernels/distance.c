#include "distance.gen.h"
#include "distance_score.h"
#include "distance_topk.h"

// Scores of n rows, four at a time: those that `slots` names, or the first n. The last group is filled with its last row.
INLINE void each(scorer score, question q, const i32 *slots, u32 *to, u32 n) {
  for (u32 i = 0; i < n; i += 4) {
    four rows;
    for (u32 lane = 0; lane < 4; lane++) {
      u32 at = n - i > lane ? i + lane : n - 1;
      rows.at[lane] = slots ? (u32)slots[at] : at;
    }
    v128_t found = score(q, rows);
    if (n - i >= 4) {
      wasm_v128_store(to + i, found);
      continue;
    }
    to[i] = wasm_u32x4_extract_lane(found, 0);
    if (n - i > 1) to[i + 1] = wasm_u32x4_extract_lane(found, 1);
    if (n - i > 2) to[i + 2] = wasm_u32x4_extract_lane(found, 2);
  }
}

static int in_range(const i32 *slots, u32 n, u32 total) {
  u32 bad = 0;
  TAIL
  for (u32 i = 0; i < n; i++) bad |= (u32)slots[i] >= total;
  return !bad;
}

// One operation over consecutive rows, and over the rows that slots name. What follows `result` are the further fields of a question.
#define BOTH(op, kernel, score, result, ...)                                                                    \
  static __attribute__((noinline)) void kernel##_each(const question *q, const i32 *slots, u32 *to, u32 n) {    \
    each(score, *q, slots, to, n);                                                                              \
  }                                                                                                             \
  KERNEL(op, kernel) {                                                                                          \
    question q = {DATA(const void, a->query), DATA(const void, a->rows), __VA_ARGS__};                          \
    kernel##_each(&q, 0, DATA(u32, a->result), a->n);                                                           \
    return 0;                                                                                                   \
  }                                                                                                             \
  KERNEL(gather_##op, gather_##kernel) {                                                                        \
    const i32 *slots = DATA(const i32, a->slots);                                                               \
    if (!in_range(slots, a->n, a->total)) return FAIL(INDEX, ARG_gather_##op##_slots);                          \
    question q = {DATA(const void, a->query), DATA(const void, a->table), __VA_ARGS__};                         \
    kernel##_each(&q, slots, DATA(u32, a->result), a->n);                                                       \
    return 0;                                                                                                   \
  }

#define SCALES DATA(const f32, a->scales)
#define LENGTH length_f32(DATA(const f32, a->query), a->dim)
#define SQUARE dot_i8(DATA(const i8, a->query), DATA(const i8, a->query), a->dim)

BOTH(dot, dot, dots, scores, 0, a->dim, 0, 0, 0)
BOTH(l2, l2, l2s, distances, 0, a->dim, 0, 0, 0)
BOTH(cosine, cosine, cosines, scores, 0, a->dim, LENGTH, 0, 0)
BOTH(dot_i8, dot_i8_rows, dots_i8, scores, SCALES, a->dim, a->query_scale, 0, is_narrow(DATA(const i8, a->query), a->dim))
BOTH(l2_i8, l2_i8, l2s_i8, distances, SCALES, a->dim, a->query_scale, SQUARE, 0)
BOTH(cosine_i8, cosine_i8, cosines_i8, scores, 0, a->dim, 0, SQUARE, 0)
BOTH(hamming, hamming_words, hammings_words, distances, 0, a->bytes, 0, 0, 0)
BOTH(hamming, hamming_simd, hammings_bytes, distances, 0, a->bytes, 0, 0, 0)

#define TOPK (topk){DATA(const u8, a->allowed), DATA(i32, a->slots), DATA(f32, a->scores), a->count, a->total, a->k}

INLINE question ask_f32(const void *args, u32 query) {
  const topk_scan_args *a = args;
  const f32 *x = DATA(const f32, a->queries) + query * a->dim;
  return (question){x, DATA(const void, a->rows), 0, a->dim, DATA(const f32, a->lengths)[query], 0, 0};
}

KERNEL(topk_scan, topk_scan) {
  const f32 *queries = DATA(const f32, a->queries);
  f32 *lengths = DATA(f32, a->lengths);
  for (u32 i = 0; i < a->count; i++) lengths[i] = length_f32(queries + i * a->dim, a->dim);
  if (a->metric == DOT) return topk_of(TOPK, a, ask_f32, dots, as_is);
  if (a->metric == L2) return topk_of(TOPK, a, ask_f32, l2s, negative);
  return topk_of(TOPK, a, ask_f32, cosines, as_is);
}

INLINE question ask_i8(const void *args, u32 query) {
  const topk_scan_i8_args *a = args;
  const i8 *x = DATA(const i8, a->queries) + query * a->dim;
  const f32 scale = DATA(const f32, a->query_scales)[query];
  const i32 square = DATA(const i32, a->squares)[query];
  return (question){x, DATA(const void, a->rows), SCALES, a->dim, scale, square, DATA(const u8, a->narrow)[query]};
}

KERNEL(topk_scan_i8, topk_scan_i8) {
  const i8 *queries = DATA(const i8, a->queries);
  i32 *squares = DATA(i32, a->squares);
  for (u32 i = 0; i < a->count; i++, queries += a->dim) {
    squares[i] = dot_i8(queries, queries, a->dim);
    DATA(u8, a->narrow)[i] = (u8)is_narrow(queries, a->dim);
  }
  if (a->metric == DOT) return topk_of(TOPK, a, ask_i8, dots_i8, as_is);
  if (a->metric == L2) return topk_of(TOPK, a, ask_i8, l2s_i8, negative);
  return topk_of(TOPK, a, ask_i8, cosines_i8, as_is);
}

INLINE question ask_code(const void *args, u32 query) {
  const topk_scan_hamming_args *a = args;
  return (question){DATA(const u8, a->queries) + query * a->bytes, DATA(const void, a->rows), 0, a->bytes, 0, 0, 0};
}

KERNEL(topk_scan_hamming, topk_scan_hamming_words) { return topk_of(TOPK, a, ask_code, hammings_words, negative_count); }

KERNEL(topk_scan_hamming, topk_scan_hamming_simd) { return topk_of(TOPK, a, ask_code, hammings_bytes, negative_count); }
