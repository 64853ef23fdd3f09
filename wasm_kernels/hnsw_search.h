// Queries in, ids and scores out: by a walk through the graph, or by looking at every vector.
#ifndef PYRUVLLM_HNSW_SEARCH_H
#define PYRUVLLM_HNSW_SEARCH_H

#include "hnsw_walk.h"

enum metric { IP, L2, COSINE };

#define LONGEST 1e18  // of a query under ip and l2, as hnsw_pure/metric.py has it

// The query as it is compared with rows: of length one under cosine. 0, or -1 where it has no place in the metric.
static inline i32 prepare(const f32 *given, f32 *query, u32 dim, u32 metric) {
  v128_t sums = wasm_f64x2_const_splat(0);
  u32 j = 0;
  for (; j + 2 <= dim; j += 2) {
    v128_t x = wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(given + j));
    sums = wasm_f64x2_add(sums, wasm_f64x2_mul(x, x));
  }
  f64 square = wasm_f64x2_extract_lane(sums, 0) + wasm_f64x2_extract_lane(sums, 1);
  if (j < dim) square += (f64)given[j] * given[j];
  if (!(square < (metric == COSINE ? __builtin_inf() : LONGEST * LONGEST)) || (metric == COSINE && square == 0)) return -1;
  f64 length = metric == COSINE ? __builtin_sqrt(square) : 1;
  for (j = 0; j < dim; j++) query[j] = (f32)(given[j] / length);
  return 0;
}

// Puts a hit among the `at` best ones before it: best first, equal scores by id.
static inline void place(i64 id, f32 score, u32 at, i64 *found, f32 *scores) {
  for (; at && (scores[at - 1] < score || (scores[at - 1] == score && found[at - 1] > id)); at--) {
    scores[at] = scores[at - 1];
    found[at] = found[at - 1];
  }
  scores[at] = score;
  found[at] = id;
}

// -1 and -inf for hits that there are not.
static inline void fill(u32 n, u32 k, i64 *found, f32 *scores) {
  for (; n < k; n++) {
    scores[n] = -__builtin_inff();
    found[n] = -1;
  }
}

static inline f32 cosine_of(f32 s) { return s < -1 ? -1 : s > 1 ? 1 : s; }

// The first k of n sorted ~keys as ids and scores.
static inline void answer(const vectors *v, const i64 *ids, const f32 *query, const u64 *nearest, u32 n, u32 k, u32 metric, i64 *found,
                          f32 *scores) {
  n = n < k ? n : k;
  for (u32 i = 0; i < n; i++) {
    const u32 slot = slot_of(~nearest[i]);
    const f32 s = closeness_of(~nearest[i]);
    place(ids[slot], metric == COSINE ? cosine_of(s) : metric == L2 ? -l2_f32(query, row_of(v, slot), v->dim) : s, i, found, scores);
  }
  fill(n, k, found, scores);
}

// Scores the first n of sorted ~keys anew, with the query as it is, rotated: (dims). Its eight bits cost more recall than those of int8 codes.
static inline void refine(const vectors *v, question *q, const f32 *left, u64 *nearest, u32 n) {
  for (u32 i = 0; i < n; i++) {
    const u32 slot = slot_of(~nearest[i]);
    const u8 *code = code_of(v, slot);
    const factors f = factors_at(code + v->dim / 8);
    unpack(code, tails_of(v, slot), q->steps, v->dim);  // the question was answered
    nearest[i] = ~key_of(f.fourth * along_numbers(q->steps, left, v->dim) + f.offset, slot);
  }
  heapify(nearest, n);
  sort(nearest, n);
}

// The same of codes, whose closeness lacks what the query (dim) has in common with the centre.
static inline void answer_codes(const i64 *ids, const f32 *query, const f32 *centre, u32 dim, const u64 *nearest, u32 n, u32 k, u32 metric,
                                i64 *found, f32 *scores) {
  const f32 base = dot_f32(query, centre, dim) - dot_f32(centre, centre, dim);
  const f32 square = metric == L2 ? dot_f32(query, query, dim) : 0;
  n = n < k ? n : k;
  for (u32 i = 0; i < n; i++) {
    f32 s = closeness_of(~nearest[i]) + base;
    if (metric == COSINE) s = cosine_of(s);
    if (metric == L2) s = 2 * s - square < 0 ? 2 * s - square : 0;
    place(ids[slot_of(~nearest[i])], s, i, found, scores);
  }
  fill(n, k, found, scores);
}

#endif
