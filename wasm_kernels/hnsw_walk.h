// Walking a graph of layers: heaps, scoring of fresh nodes, greedy descent and beam (Malkov and Yashunin 2018, algorithms 2 and 5).
//
// The arrays are hnsw_pure's (layers.py, table.py). Nothing read from them is trusted: a slot is compared with the number of slots and a
// row with the number of rows before it is used. Every walk ends: a beam meets a slot once, a descent only steps to what is nearer.
#ifndef PYRUVLLM_HNSW_WALK_H
#define PYRUVLLM_HNSW_WALK_H

#include "distance.h"

#define FOR_ANY_CODE static inline __attribute__((always_inline))  // compiled anew for each constant `code`

enum code { F32 };  // how vectors are stored

typedef struct {
  const void *rows;
  const f32 *halves;  // |x|^2 / 2 of each row under l2, else null
  u32 top, dim;
} vectors;

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

// A key orders nodes: nearer first, of equally near ones the lower slot. Closeness in the high half, as an integer that orders like it.
static inline u64 key_of(f32 closeness, u32 slot) {
  u32 bits;
  closeness += 0.0f;  // -0 becomes 0
  __builtin_memcpy(&bits, &closeness, 4);
  return (u64)(bits ^ ((u32)((i32)bits >> 31) | 0x80000000u)) << 32 | (u32)~slot;
}

static inline u32 slot_of(u64 key) { return ~(u32)key; }

static inline f32 closeness_of(u64 key) {
  u32 order = (u32)(key >> 32), bits = order ^ (((order >> 31) - 1) | 0x80000000u);
  f32 closeness;
  __builtin_memcpy(&closeness, &bits, 4);
  return closeness;
}

// Binary heaps, the greatest key first. The nearest found so far are kept as ~key, so that the farthest of them is on top.
static inline void sink(u64 *heap, u32 n, u32 at, u64 key) {
  for (u32 child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && heap[child + 1] > heap[child]) child++;
    if (heap[child] <= key) break;
    heap[at] = heap[child];
  }
  heap[at] = key;
}

static inline void push(u64 *heap, u32 *n, u64 key) {
  u32 at = (*n)++;
  for (; at && heap[(at - 1) / 2] < key; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = key;
}

static inline u64 pop(u64 *heap, u32 *n) {
  u64 best = heap[0];
  --*n;
  sink(heap, *n, 0, heap[*n]);
  return best;
}

static inline void keep(u64 *nearest, u32 *n, u32 most, u64 key) {
  if (*n < most) push(nearest, n, ~key);
  else if (key > ~nearest[0]) sink(nearest, most, 0, ~key);
}

// A heap becomes ascending: of ~keys, best first.
static inline void sort(u64 *heap, u32 n) {
  while (n > 1) {
    u64 last = heap[--n];
    heap[n] = heap[0];
    sink(heap, n, 0, last);
  }
}

static inline void heapify(u64 *heap, u32 n) {
  for (u32 at = n / 2; at--;) sink(heap, n, at, heap[at]);
}

// Closeness of slots to a query, four at a time, up to a constant of the query under l2. All slots are below top.
FOR_ANY_CODE void score(const vectors *v, const void *query, const u32 *slots, u32 n, f32 *values, const enum code code) {
  for (u32 i = 0; i < n; i += 4) {
    u32 s[4];
    for (u32 j = 0; j < 4; j++) s[j] = slots[i + j < n ? i + j : n - 1];
    const u64 dim = v->dim;
    const f32 *rows = v->rows;
    v128_t four = dots4_f32(query, rows + s[0] * dim, rows + s[1] * dim, rows + s[2] * dim, rows + s[3] * dim, v->dim);
    if (v->halves)
      four = wasm_f32x4_sub(four, wasm_f32x4_make(v->halves[s[0]], v->halves[s[1]], v->halves[s[2]], v->halves[s[3]]));
    if (i + 4 <= n) {
      wasm_v128_store(values + i, four);
    } else {
      f32 last[4];
      wasm_v128_store(last, four);
      for (u32 j = 0; i + j < n; j++) values[i + j] = last[j];
    }
  }
}

static inline const f32 *row_of(const vectors *v, u32 slot) { return (const f32 *)v->rows + (u64)slot * v->dim; }

// A slot's list on a layer and how long it can be; null where the slot is not on that layer.
static inline i32 *list_of(const graph *g, u32 slot, u32 level, u32 *width) {
  if (slot >= g->top || g->levels[slot] < (i32)level) return 0;
  *width = level ? g->m : g->width;
  if (!level) return g->ground + (u64)slot * g->width;
  u64 row = (u64)(u32)g->first[slot] + level - 1;
  return row < g->rows ? g->upper + row * g->m : 0;
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
    score(v, query, r->near, n, r->values, code);
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
FOR_ANY_CODE i32 beam(const vectors *v, const graph *g, const room *r, const void *query, u32 start, u32 level, u32 ef, const u8 *allowed,
                      const enum code code) {
  const u16 now = next_visit(r->visited, g->top);
  u16 *visited = r->visited + 1;
  u32 found = 0, waiting = 0, fresh = 1;
  r->near[0] = start;
  visited[start] = now;
  for (;;) {
    score(v, query, r->near, fresh, r->values, code);
    for (u32 i = 0; i < fresh; i++) {
      u64 key = key_of(r->values[i], r->near[i]);
      if (found == ef && key < ~r->nearest[0]) continue;
      push(r->frontier, &waiting, key);
      if (!allowed || allowed[r->near[i]]) keep(r->nearest, &found, ef, key);
    }
    if (!waiting) break;
    u64 next = pop(r->frontier, &waiting);
    if (found == ef && next < ~r->nearest[0]) break;
    u32 width;
    const i32 *list = list_of(g, slot_of(next), level, &width);
    if (!list) return -1;
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
