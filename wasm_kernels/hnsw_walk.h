// Walking a graph of layers: greedy descent and beam (Malkov and Yashunin 2018, algorithms 2 and 5).
//
// The arrays are hnsw_pure's (layers.py, table.py). Nothing read from them is trusted: a slot is compared with the number of slots and a
// row with the number of rows before it is used. Every walk ends: a beam meets a slot once, a descent only steps to what is nearer.
#ifndef PYRUVLLM_HNSW_WALK_H
#define PYRUVLLM_HNSW_WALK_H

#include "hnsw_heap.h"
#include "hnsw_score.h"

typedef struct {
  i32 *ground, *upper;
  const i32 *first;
  const i8 *levels;
  u32 top, width, rows, m;
} graph;

typedef struct {
  u16 *visited;
  u64 *nearest, *frontier;
  u32 *near;
  f32 *values;
} room;

// A slot's list on a layer and how long it can be; null where the slot is not on that layer.
static inline i32 *list_of(const graph *g, u32 slot, u32 level, u32 *width) {
  if (slot >= g->top || g->levels[slot] < (i32)level) return 0;
  *width = level ? g->m : g->width;
  if (!level) return g->ground + (u64)slot * g->width;
  u64 row = (u64)(u32)g->first[slot] + level - 1;
  return row < g->rows ? g->upper + row * g->m : 0;
}

// Closeness of slots to a query as far as it is above `least`: slots and values that are left, of n, and how many.
FOR_ANY_CODE u32 above(const vectors *v, const void *query, u32 *slots, u32 n, f32 *values, f32 least, const enum code code) {
  if (code != INT8) {
    score(v, query, slots, n, values, code);
    return n;
  }
  u32 left = 0;
  n = sieve(v, query, slots, n, values, least, code);
  for (u32 i = 0; i < n; i++) {
    f32 value = values[i];
    if (!settle(v, query, slots[i], &value, least)) continue;
    slots[left] = slots[i];
    values[left++] = value;
  }
  return left;
}

// Steps on one layer to the nearest neighbour while that gets nearer. 0, or -1 where a list cannot be.
FOR_ANY_CODE i32 descend(const vectors *v, const graph *g, const room *r, const void *query, u32 level, u32 *here, f32 *best, const enum code code) {
  for (;;) {
    u32 width, n = 0, step = *here;
    const i32 *list = list_of(g, *here, level, &width);
    if (!list) return -1;
    for (; n < width && list[n] >= 0; n++) {
      if ((u32)list[n] >= g->top) return -1;
      r->near[n] = (u32)list[n];
    }
    n = above(v, query, r->near, n, r->values, *best, code);
    for (u32 i = 0; i < n; i++) {
      if (r->values[i] > *best) *best = r->values[i], step = r->near[i];
    }
    if (step == *here) return 0;
    *here = step;
  }
}

// Starts a round in which every slot is met at most once; a slot is met when visited[1 + slot] has the number of the round.
static inline u16 next_visit(u16 *visited, u32 top) {
  if (visited[0] == 0xffff) __builtin_memset(visited, 0, 2 * ((u64)top + 1));
  return ++visited[0];
}

// The ef nearest that a walk on one layer finds, and which are allowed: a heap of ~keys in r->nearest. Their number, or -1 as above.
// No list is opened any more once `visits` slots were met, and `needed` of those that count. *met: slots that were.
FOR_ANY_CODE i32 beam(const vectors *v, const graph *g, const room *r, const void *query, u32 start, u32 level, u32 ef, const u8 *allowed,
                      u32 visits, u32 needed, u32 *met, const enum code code) {
  const u16 now = next_visit(r->visited, g->top);
  u16 *visited = r->visited + 1;
  u32 found = 0, waiting = 0, fresh = 1;
  *met = 0;
  r->near[0] = start;
  visited[start] = now;
  for (;;) {
    *met += fresh;
    if (code == INT8) fresh = sieve(v, query, r->near, fresh, r->values, found == ef ? closeness_of(~r->nearest[0]) : -__builtin_inff(), code);
    else score(v, query, r->near, fresh, r->values, code);
    for (u32 i = 0; i < fresh; i++) {
      if (code == INT8 && !settle(v, query, r->near[i], r->values + i, found == ef ? closeness_of(~r->nearest[0]) : -__builtin_inff()))
        continue;
      const u64 key = key_of(r->values[i], r->near[i]);
      if (found == ef && key < ~r->nearest[0]) continue;
      push(r->frontier, &waiting, key);
      if (!allowed || allowed[r->near[i]]) keep(r->nearest, &found, ef, key);
    }
    if (!waiting || (*met >= visits && found >= needed)) break;
    u64 next = pop(r->frontier, &waiting);
    if (found == ef && next < ~r->nearest[0]) break;
    u32 width;
    const i32 *list = list_of(g, slot_of(next), level, &width);
    if (!list) return -1;
    if (waiting && !level) {  // most likely the one after it, which is then on its way
      const u32 sum = touched((const u8 *)(g->ground + (u64)slot_of(r->frontier[0]) * g->width), 4 * g->width);
      __builtin_memcpy(r->values, &sum, 4);
    }
    fresh = 0;
    for (u32 j = 0; j < width && list[j] >= 0; j++) {
      u32 slot = (u32)list[j];
      if (slot >= g->top) return -1;
      r->near[fresh] = slot;
      fresh += visited[slot] != now;
      visited[slot] = now;
    }
  }
  return (i32)found;
}

#endif
