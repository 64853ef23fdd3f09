// Part of sampling.c: the largest of many distinct u64 keys.
#ifndef PYRUVLLM_SAMPLING_SELECT_H
#define PYRUVLLM_SAMPLING_SELECT_H

#include "abi.h"

static inline void swap_keys(u64 *x, u64 *y) {
  u64 kept = *x;
  *x = *y;
  *y = kept;
}

// Brings the k largest of n keys to the front, in any order: Hoare's quickselect, pivot the median of three.
static void select_largest(u64 *keys, u32 n, u32 k) {
  u32 low = 0, high = n;  // keys before low are among the k, those from high on are not
  while (low < k && k < high) {
    u64 *first = keys + low, *middle = keys + low + (high - low) / 2, *last = keys + high - 1;
    if (*first < *middle) swap_keys(first, middle);
    if (*first < *last) swap_keys(first, last);
    if (*middle < *last) swap_keys(middle, last);
    const u64 pivot = *middle;
    u32 i = low, j = high - 1;
    for (;;) {
      while (keys[i] > pivot) i++;
      while (keys[j] < pivot) j--;
      if (i >= j) break;
      swap_keys(keys + i++, keys + j--);
    }
    // All before i are at least the pivot, all after j at most; keys are distinct, so where they met there is the pivot alone.
    if (k <= i)
      high = i;
    else
      low = i;
    if (high - low <= 1) return;
  }
}

static void sink(u64 *keys, u32 at, u32 n) {
  const u64 key = keys[at];
  for (u32 child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && keys[child + 1] < keys[child]) child++;
    if (keys[child] >= key) break;
    keys[at] = keys[child];
  }
  keys[at] = key;
}

// Falling, by a heap whose smallest is at the top.
static void sort_falling(u64 *keys, u32 n) {
  for (u32 at = n / 2; at; at--) sink(keys, at - 1, n);
  while (n > 1) {
    swap_keys(keys, keys + --n);
    sink(keys, 0, n);
  }
}

#endif
