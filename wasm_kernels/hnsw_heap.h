// Keys that order nodes by nearness, and binary heaps of them.
#ifndef PYRUVLLM_HNSW_HEAP_H
#define PYRUVLLM_HNSW_HEAP_H

#include "abi.h"

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

#endif
