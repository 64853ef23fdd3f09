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
  question *own, *other;  // of codes: of the new node, and of another one
  i8 *numbers;            // (width + 1, dim) with INT8: of those that `diverse` has chosen
  i32 *sums;              // (width) of these numbers
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

// Products of seven-bit numbers with those of four rows of `dims`, each less 128.
static inline v128_t dots4_numbers(const i8 *halves, const i8 *rows, u32 dims) {
  v128_t a = wasm_i32x4_const_splat(0), b = a, c = a, d = a;
  for (u32 i = 0; i < dims; i += 16) {
    const v128_t x = wasm_v128_load(halves + i);
    a = ADD_PRODUCTS(wasm_v128_load(rows + i), x, a);
    b = ADD_PRODUCTS(wasm_v128_load(rows + dims + i), x, b);
    c = ADD_PRODUCTS(wasm_v128_load(rows + 2 * (u64)dims + i), x, c);
    d = ADD_PRODUCTS(wasm_v128_load(rows + 3 * (u64)dims + i), x, d);
  }
  return sums4i(a, b, c, d);
}

// Unpacks an int8 code as row `at` of the numbers, and the upper seven bits of each as the row behind the last. Their sum.
static inline i32 unpack_as(const linking *l, u32 slot, u32 at) {
  const u32 dims = l->v.dim;
  i8 *numbers = l->numbers + (u64)at * dims, *halves = l->numbers + (u64)(l->g.width + 3) * dims;
  v128_t sums = wasm_i32x4_const_splat(0);
  l->sums[at] = unpack(code_of(&l->v, slot), tails_of(&l->v, slot), numbers, dims);
  for (u32 i = 0; i < dims; i += 16) {
    const v128_t half = wasm_u8x16_shr(wasm_v128_xor(wasm_v128_load(numbers + i), wasm_i8x16_const_splat(-128)), 1);
    wasm_v128_store(halves + i, half);
    sums = wasm_i32x4_add(sums, wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_extadd_pairwise_i8x16(half)));
  }
  return sum4i(sums);
}

// Whether a candidate is at least as near as `limit` to one of those chosen, up to the constant of the candidate.
FOR_ANY_CODE int crowded(const linking *l, u32 near, i32 sum, u32 *chosen, u32 taken, f32 limit, const enum code code) {
  const vectors *v = &l->v;
  const f32 scale = code == F32 ? 0 : factors_at(code_of(v, near) + v->dim / 8).fourth;
  for (u32 j = 0; j < taken; j += 4) {
    const u32 some = taken - j < 4 ? taken - j : 4;
    f32 values[5];
    i32 dots[4];
    if (code == F32) score(v, row_of(v, near), chosen + j, some, values, F32);
    if (code == INT8) wasm_v128_store(dots, dots4_numbers(l->numbers + (u64)(l->g.width + 3) * v->dim, l->numbers + (u64)j * v->dim, v->dim));
    for (u32 i = 0; i < some; i++) {
      if (code != F32) {
        const u8 *row = code_of(v, chosen[j + i]);
        const factors f = factors_at(row + v->dim / 8);
        if (code == INT8) {  // (numbers + 1/2) x (2 halves - 127), numbers being less 128
          const i32 twice = 4 * dots[i] - 254 * l->sums[j + i] + 2 * sum - 127 * (i32)v->dim;
          values[i] = scale * f.fourth * 0.5f * (f32)twice + f.offset;
        } else {
          values[i] = between_signs(code_of(v, near), row, scale * f.fourth, v->dim) + f.offset;
        }
      }
      if (!(values[i] < limit)) return 1;
    }
  }
  return 0;
}

// Algorithm 4: of n sorted ~keys of candidates for a slot, at most `most` such that none is nearer to one chosen before it than to the
// slot. Links of the tree are chosen in any case, as far as a list of the ground has room. Slots in `chosen`, and how many.
FOR_ANY_CODE u32 diverse(const linking *l, u32 slot, u32 level, const u64 *pool, u32 n, u32 most, u32 *chosen, const enum code code) {
  const f32 offset = offset_of(&l->v, slot, code);
  u32 pinned = 0, taken = 0;
  for (u32 i = 0; i < n; i++) pinned += (u32)in_tree(l, level, slot, slot_of(~pool[i]));
  u32 left = most > pinned ? most - pinned : 0;
  for (u32 i = 0; i < n && taken < l->g.width && (left || pinned); i++) {
    const u32 near = slot_of(~pool[i]);
    const int stays = in_tree(l, level, slot, near);
    if (!stays && !left) continue;
    const i32 sum = code == INT8 ? unpack_as(l, near, taken) : 0;
    if (stays) {
      pinned--;
    } else {
      const f32 limit = closeness_of(~pool[i]) + offset - offset_of(&l->v, near, code);
      if (crowded(l, near, sum, chosen, taken, limit, code)) continue;
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
FOR_ANY_CODE i32 link_back(const linking *l, u32 slot, u32 level, u32 node, const enum code code) {
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
  score(&l->v, stored(&l->v, slot, l->other, code), l->r.near, n + 1, l->r.values, code);
  for (u32 i = 0; i <= n; i++) l->pool[i] = ~key_of(l->r.values[i], l->r.near[i]);
  heapify(l->pool, n + 1);
  sort(l->pool, n + 1);
  assign(list, width, l->picked, diverse(l, slot, level, l->pool, n + 1, width - width / 8, l->picked, code));
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
FOR_ANY_CODE i32 insert(const linking *l, u32 slot, i32 entry, u32 ef, const enum code code) {
  l->parent[slot] = -1;
  touch(l, 0, slot);
  if (entry < 0) return 0;
  const void *query = stored(&l->v, slot, l->own, code);
  u32 here = (u32)entry, level = (u32)l->g.levels[entry];
  score(&l->v, query, &here, 1, l->r.values, code);
  f32 best = l->r.values[0];
  for (; (i32)level > l->g.levels[slot]; level--) {
    if (descend(&l->v, &l->g, &l->r, query, level, &here, &best, code)) return -1;
  }
  for (;; level--) {
    u32 width, met;
    i32 *list = list_of(&l->g, slot, level, &width);
    const i32 n = beam(&l->v, &l->g, &l->r, query, here, level, ef, 0, ~0u, 0, &met, code);
    if (!list || n < 0) return -1;
    sort(l->r.nearest, (u32)n);
    here = slot_of(~l->r.nearest[0]);
    const u32 links = diverse(l, slot, level, l->r.nearest, (u32)n, l->g.m, l->chosen, code);
    assign(list, width, l->chosen, links);
    if (!level && attach(l, slot, here)) return -1;
    for (u32 i = 0; i < links; i++) {
      if (!level && l->parent[slot] == (i32)l->chosen[i]) continue;  // that link runs both ways already
      if (link_back(l, l->chosen[i], level, slot, code)) return -1;
    }
    if (!level) return 0;
  }
}

#endif
