// Taking one node into the graph: candidates, neighbour selection, links both ways, its place in the tree (Malkov and Yashunin 2018,
// algorithms 1 and 4). The tree, and what may be pruned: hnsw_pure/graph.py.
#ifndef PYRUVLLM_HNSW_INSERT_H
#define PYRUVLLM_HNSW_INSERT_H

#include "hnsw_walk.h"

typedef struct {
  vectors v;
  graph g;
  room r;
  i32 *parent;
  u8 *touched;
  u64 *pool;             // ~keys of the candidates of a list that overflowed
  u32 *chosen, *picked;  // links of the new node; links of another one
  u32 run;
} linking;

static inline void touch(const linking *l, u32 level, u32 slot) {
  if (!level) l->touched[slot / l->run] = 1;
}

static inline int in_tree(const linking *l, u32 level, u32 slot, u32 near) {
  return !level && (l->parent[near] == (i32)slot || l->parent[slot] == (i32)near);
}

static inline u32 degree_of(const i32 *list, u32 width) {
  u32 n = 0;
  while (n < width && list[n] >= 0) n++;
  return n;
}

// Algorithm 4: of n sorted ~keys of candidates for a slot, at most `most` such that none is nearer to one chosen before it than to the
// slot. Links of the tree are chosen in any case, as far as a list of the ground has room. Slots in `chosen`, and how many.
static u32 diverse(const linking *l, u32 slot, u32 level, const u64 *pool, u32 n, u32 most, u32 *chosen) {
  const f32 half = l->v.halves ? l->v.halves[slot] : 0;
  u32 pinned = 0, taken = 0;
  for (u32 i = 0; i < n; i++) pinned += (u32)in_tree(l, level, slot, slot_of(~pool[i]));
  u32 left = most > pinned ? most - pinned : 0;
  for (u32 i = 0; i < n && taken < l->g.width && (left || pinned); i++) {
    const u32 near = slot_of(~pool[i]);
    if (in_tree(l, level, slot, near)) {
      pinned--;
    } else {
      if (!left) continue;
      const f32 limit = closeness_of(~pool[i]) - half + (l->v.halves ? l->v.halves[near] : 0);
      int stays = 1;
      for (u32 j = 0; stays && j < taken; j += 4) {
        f32 values[4];
        const u32 some = taken - j < 4 ? taken - j : 4;
        score(&l->v, row_of(&l->v, near), chosen + j, some, values, F32);
        for (u32 i2 = 0; i2 < some; i2++) stays &= values[i2] < limit;
      }
      if (!stays) continue;
      left--;
    }
    chosen[taken++] = near;
  }
  return taken;
}

static void assign(i32 *list, u32 width, const u32 *near, u32 n) {
  for (u32 i = 0; i < width; i++) list[i] = i < n ? (i32)near[i] : -1;
}

// Puts a new node into the list of a slot. A full list is chosen anew, and an eighth of it left free: were it filled, the very next link
// to it would make all of this necessary again.
static i32 link_back(const linking *l, u32 slot, u32 level, u32 node) {
  u32 width;
  i32 *list = list_of(&l->g, slot, level, &width);
  if (!list) return -1;
  const u32 n = degree_of(list, width);
  touch(l, level, slot);
  if (n < width) {
    list[n] = (i32)node;
    return 0;
  }
  for (u32 i = 0; i < n; i++) {
    if ((u32)list[i] >= l->g.top) return -1;
    l->r.near[i] = (u32)list[i];
  }
  l->r.near[n] = node;
  score(&l->v, row_of(&l->v, slot), l->r.near, n + 1, l->r.values, F32);
  for (u32 i = 0; i <= n; i++) l->pool[i] = ~key_of(l->r.values[i], l->r.near[i]);
  heapify(l->pool, n + 1);
  sort(l->pool, n + 1);
  assign(list, width, l->picked, diverse(l, slot, level, l->pool, n + 1, width - width / 8, l->picked));
  return 0;
}

// Puts a neighbour into a ground list, in the place of the last link outside the tree where the list is full.
static i32 ensure(const linking *l, u32 slot, u32 neighbour) {
  u32 width;
  i32 *list = list_of(&l->g, slot, 0, &width);
  if (!list) return -1;
  u32 n = degree_of(list, width);
  for (u32 i = 0; i < n; i++) {
    if (list[i] == (i32)neighbour) return 0;
    if ((u32)list[i] >= l->g.top) return -1;
  }
  if (n == width) {
    u32 at = n;
    do {
      if (!at--) return -1;
    } while (in_tree(l, 0, slot, (u32)list[at]));
    for (n--; at < n; at++) list[at] = list[at + 1];
  }
  list[n] = (i32)neighbour;
  touch(l, 0, slot);
  return 0;
}

// Makes `above`, or where it has no room a leaf below it, the parent of a new node.
static i32 attach(const linking *l, u32 slot, u32 above) {
  for (u32 steps = 0; steps < l->g.top; steps++) {
    u32 width, children = 0, child = above;
    const i32 *list = list_of(&l->g, above, 0, &width);
    if (!list) return -1;
    for (u32 i = 0; i < width && list[i] >= 0; i++) {
      if ((u32)list[i] >= l->g.top) return -1;
      if (l->parent[list[i]] != (i32)above) continue;
      if (!children++) child = (u32)list[i];
    }
    if (children < l->g.m) {
      if (ensure(l, slot, above) || ensure(l, above, slot)) return -1;
      l->parent[slot] = (i32)above;
      touch(l, 0, slot);
      return 0;
    }
    above = child;
  }
  return -1;  // around in circles
}

// Links one node whose lists are empty. 0, or -1 where the graph cannot be.
static i32 insert(const linking *l, u32 slot, i32 entry, u32 ef) {
  l->parent[slot] = -1;
  touch(l, 0, slot);
  if (entry < 0) return 0;
  const f32 *query = row_of(&l->v, slot);
  u32 here = (u32)entry, level = (u32)l->g.levels[entry];
  score(&l->v, query, &here, 1, l->r.values, F32);
  f32 best = l->r.values[0];
  for (; (i32)level > l->g.levels[slot]; level--) {
    if (descend(&l->v, &l->g, &l->r, query, level, &here, &best, F32)) return -1;
  }
  for (;; level--) {
    u32 width;
    i32 *list = list_of(&l->g, slot, level, &width);
    const i32 n = beam(&l->v, &l->g, &l->r, query, here, level, ef, 0, F32);
    if (!list || n < 0) return -1;
    sort(l->r.nearest, (u32)n);
    here = slot_of(~l->r.nearest[0]);
    const u32 links = diverse(l, slot, level, l->r.nearest, (u32)n, l->g.m, l->chosen);
    assign(list, width, l->chosen, links);
    if (!level && attach(l, slot, here)) return -1;
    for (u32 i = 0; i < links; i++) {
      if (!level && l->parent[slot] == (i32)l->chosen[i]) continue;  // that link runs both ways already
      if (link_back(l, l->chosen[i], level, slot)) return -1;
    }
    if (!level) return 0;
  }
}

#endif
