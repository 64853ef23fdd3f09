// Taking nodes out so that what they held together stays together (hnsw_pure/repair.py).
#ifndef PYRUVLLM_HNSW_UNLINK_H
#define PYRUVLLM_HNSW_UNLINK_H

#include "hnsw_insert.h"

// Hands the children of a slot to its parent; of a root, to the first of them, which becomes the root.
static i32 leave_tree(const linking *l, u32 slot) {
  u32 width, n = 0, i = 0;
  const i32 *list = list_of(&l->g, slot, 0, &width);
  if (!list) return -1;
  for (u32 j = 0; j < width && list[j] >= 0; j++) {
    if ((u32)list[j] >= l->g.top) return -1;
    l->chosen[n] = (u32)list[j];
    n += l->parent[list[j]] == (i32)slot;
  }
  i32 above = l->parent[slot];
  l->parent[slot] = -1;
  touch(l, 0, slot);
  if (above >= 0 && (u32)above >= l->g.top) return -1;
  if (above < 0 && n) {
    above = (i32)l->chosen[i++];
    l->parent[above] = -1;
    touch(l, 0, (u32)above);
  }
  for (; i < n; i++) {
    if (attach(l, l->chosen[i], (u32)above)) return -1;
  }
  return 0;
}

// A list of one layer that names dead nodes is chosen anew, from its other links and from the `ef` nearest among the links of those
// nodes. 1 where it did, 0 where there was nothing to do, -1 where the graph cannot be.
FOR_ANY_CODE i32 repair(const linking *l, u32 slot, u32 level, const u8 *dead, u32 ef, const enum code code) {
  u32 width, width2, gone = 0, alive = 0, beyond = 0;
  i32 *list = list_of(&l->g, slot, level, &width);
  if (!list) return -1;
  const u32 n = degree_of(list, width);
  for (u32 i = 0; i < n; i++) {
    if ((u32)list[i] >= l->g.top) return -1;
    gone += dead[list[i]] != 0;
  }
  if (!gone) return 0;
  const u16 now = next_visit(l->r.visited, l->g.top);
  u16 *visited = l->r.visited + 1;
  visited[slot] = now;
  for (u32 i = 0; i < n; i++) {
    visited[list[i]] = now;
    l->r.near[alive] = (u32)list[i];
    alive += !dead[list[i]];
  }
  const void *query = stored(&l->v, slot, l->other, code);
  score(&l->v, query, l->r.near, alive, l->r.values, code);
  for (u32 i = 0; i < alive; i++) l->pool[i] = ~key_of(l->r.values[i], l->r.near[i]);
  for (u32 i = 0; i < n; i++) {
    if (!dead[list[i]]) continue;
    u32 fresh = 0;
    const i32 *further = list_of(&l->g, (u32)list[i], level, &width2);
    if (!further) return -1;
    for (u32 j = 0; j < width2 && further[j] >= 0; j++) {
      if ((u32)further[j] >= l->g.top) return -1;
      l->r.near[fresh] = (u32)further[j];
      fresh += visited[further[j]] != now && !dead[further[j]];
      visited[further[j]] = now;
    }
    score(&l->v, query, l->r.near, fresh, l->r.values, code);
    for (u32 j = 0; j < fresh; j++) keep(l->r.nearest, &beyond, ef, key_of(l->r.values[j], l->r.near[j]));
  }
  for (u32 i = 0; i < beyond; i++) l->pool[alive + i] = l->r.nearest[i];
  heapify(l->pool, alive + beyond);
  sort(l->pool, alive + beyond);
  assign(list, width, l->picked, diverse(l, slot, level, l->pool, alive + beyond, width - width / 8, l->picked, code));
  touch(l, level, slot);
  return 1;
}

#endif
