// The k best rows of a table for several queries: a table is read once, four rows at a time, and each query keeps a heap of its best k
// in its own row of the results, the worst of them at the root.
#ifndef PYRUVLLM_DISTANCE_TOPK_H
#define PYRUVLLM_DISTANCE_TOPK_H

#include "distance_score.h"

enum { DOT = 0, L2 = 1, COSINE = 2 };  // pyruvllm/kernels/reference/distance.py names them too

typedef struct {  // what the three scans have in common
  const u8 *allowed;  // 0: every row
  i32 *slots;
  f32 *scores;
  u32 count, total, k;
} topk;

// What was found as a closeness: higher is nearer.
INLINE v128_t as_is(v128_t found) { return found; }
INLINE v128_t negative(v128_t found) { return wasm_f32x4_neg(found); }
INLINE v128_t negative_count(v128_t found) { return wasm_f32x4_neg(wasm_f32x4_convert_u32x4(found)); }

// Puts (score, slot) where the root of a heap of k was, and lets it sink. Of equal scores the higher slot is worse; the empty place,
// -1 as u32, is the worst of all.
static void sink(i32 *slots, f32 *scores, u32 k, f32 score, i32 slot) {
  u32 at = 0;
  for (;;) {
    u32 child = 2 * at + 1;
    if (child >= k) break;
    if (child + 1 < k && (scores[child + 1] < scores[child] ||
                          (scores[child + 1] == scores[child] && (u32)slots[child + 1] > (u32)slots[child])))
      child++;
    if (score < scores[child] || (score == scores[child] && (u32)slot >= (u32)slots[child])) break;
    scores[at] = scores[child];
    slots[at] = slots[child];
    at = child;
  }
  scores[at] = score;
  slots[at] = slot;
}

// Best first: the root, which is the worst, goes to the end, again and again.
static void sort_heap(i32 *slots, f32 *scores, u32 k) {
  for (u32 end = k; end-- > 1;) {
    f32 score = scores[end];
    i32 slot = slots[end];
    scores[end] = scores[0];
    slots[end] = slots[0];
    sink(slots, scores, end, score, slot);
  }
}

// The next rows to look at, from *at on: how many of the four, the rest repeating the last.
INLINE u32 next(const topk *t, u32 *at, four *rows) {
  u32 found = 0;
  if (!t->allowed) {
    found = t->total - *at < 4 ? t->total - *at : 4;
    for (u32 lane = 0; lane < 4; lane++) rows->at[lane] = *at + (lane < found ? lane : found - 1);
    *at += found;
    return found;
  }
  for (; *at < t->total && found < 4; ++*at) {
    if (!(*at & 7))
      while (t->total - *at > 8 && !t->allowed[*at >> 3]) *at += 8;
    if (t->allowed[*at >> 3] >> (*at & 7) & 1) rows->at[found++] = *at;
  }
  for (u32 lane = found; found && lane < 4; lane++) rows->at[lane] = rows->at[found - 1];
  return found;
}

typedef question asker(const void *args, u32 query);

INLINE i32 topk_of(topk t, const void *args, asker ask, scorer score, v128_t closeness(v128_t)) {
  if (!t.k) return 0;
  for (u32 i = 0; i < t.count * t.k; i++) t.slots[i] = -1, t.scores[i] = -__builtin_inff();
  four rows;
  u32 at = 0, found;
  while (at < t.total && (found = next(&t, &at, &rows))) {
    for (u32 query = 0; query < t.count; query++) {
      i32 *slots = t.slots + query * t.k;
      f32 *scores = t.scores + query * t.k;
      v128_t near = closeness(score(ask(args, query), rows));
      u32 better = wasm_i32x4_bitmask(wasm_f32x4_gt(near, wasm_f32x4_splat(scores[0]))) & ((1u << found) - 1);
      if (!better) continue;
      f32 four_scores[4];
      wasm_v128_store(four_scores, near);
      for (u32 lane = 0; lane < found; lane++)  // a NaN never is
        if (four_scores[lane] > scores[0]) sink(slots, scores, t.k, four_scores[lane], (i32)rows.at[lane]);
    }
  }
  for (u32 query = 0; query < t.count; query++) sort_heap(t.slots + query * t.k, t.scores + query * t.k, t.k);
  return 0;
}

#endif
