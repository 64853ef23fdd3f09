#include "hnsw.gen.h"
#include "hnsw_search.h"
#include "hnsw_unlink.h"

FOR_ANY_CODE i32 search(const hnsw_search_args *a, const enum code code) {
  const vectors v = {DATA(const void, a->vectors), 0, a->metric == L2 ? DATA(const f32, a->halves) : 0, a->top, a->dim, 0};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), DATA(u64, a->frontier), DATA(u32, a->near), DATA(f32, a->values)};
  f32 *query = DATA(f32, a->query);
  if (a->metric == L2 && !v.halves) return FAIL(VALUE, ARG_hnsw_search_halves);
  if ((u32)a->entry >= a->top || g.levels[a->entry] < 0) return FAIL(INDEX, ARG_hnsw_search_entry);
  const u32 needed = a->k < a->ef ? a->k : a->ef;
  for (u32 i = 0; i < a->count; i++) {
    if (prepare(DATA(const f32, a->queries) + (u64)i * a->dim, query, a->dim, a->metric)) return FAIL(VALUE, ARG_hnsw_search_queries);
    u32 here = (u32)a->entry;
    score(&v, query, &here, 1, r.values, code);
    f32 best = r.values[0];
    for (u32 level = (u32)g.levels[here]; level; level--) {
      if (descend(&v, &g, &r, query, level, &here, &best, code)) return FAIL(INDEX, ARG_hnsw_search_upper);
    }
    u32 *met = DATA(u32, a->met) + i;
    i32 n = beam(&v, &g, &r, query, here, 0, a->ef, DATA(const u8, a->allowed), a->visits, needed, met, code);
    if (n < 0) return FAIL(INDEX, ARG_hnsw_search_ground);
    sort(r.nearest, (u32)n);
    const u64 at = (u64)i * a->k;
    answer(&v, DATA(const i64, a->ids), query, r.nearest, (u32)n, a->k, a->metric, DATA(i64, a->found) + at, DATA(f32, a->scores) + at);
  }
  return 0;
}

KERNEL(hnsw_search, hnsw_search) { return search(a, F32); }

// A block of rows is scored for every query before the next one is read.
KERNEL(hnsw_scan, hnsw_scan) {
  const vectors v = {DATA(const void, a->vectors), 0, a->metric == L2 ? DATA(const f32, a->halves) : 0, a->top, a->dim, 0};
  const i64 *ids = DATA(const i64, a->ids);
  const u8 *allowed = DATA(const u8, a->allowed);
  f32 *queries = DATA(f32, a->query);
  u64 *nearest = DATA(u64, a->nearest);
  u32 *held = DATA(u32, a->held), block[64];
  f32 values[64];
  if (a->metric == L2 && !v.halves) return FAIL(VALUE, ARG_hnsw_scan_halves);
  for (u32 i = 0; i < a->count; i++) {
    const u64 at = (u64)i * a->dim;
    if (prepare(DATA(const f32, a->queries) + at, queries + at, a->dim, a->metric)) return FAIL(VALUE, ARG_hnsw_scan_queries);
    held[i] = 0;
  }
  for (u32 slot = 0; slot < a->top;) {
    u32 n = 0;
    for (; slot < a->top && n < 64; slot++) {
      block[n] = slot;
      n += ids[slot] >= 0 && (!allowed || allowed[slot]);
    }
    for (u32 i = 0; n && i < a->count; i++) {
      score(&v, queries + (u64)i * a->dim, block, n, values, F32);
      for (u32 j = 0; j < n; j++) keep(nearest + (u64)i * a->k, held + i, a->k, key_of(values[j], block[j]));
    }
  }
  for (u32 i = 0; i < a->count; i++) {
    const u64 at = (u64)i * a->k;
    sort(nearest + at, held[i]);
    answer(&v, ids, queries + (u64)i * a->dim, nearest + at, held[i], a->k, a->metric, DATA(i64, a->found) + at, DATA(f32, a->scores) + at);
  }
  return 0;
}

KERNEL(hnsw_insert, hnsw_insert) {
  const vectors v = {DATA(const void, a->vectors), 0, DATA(const f32, a->halves), a->top, a->dim, 0};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), DATA(u64, a->frontier), DATA(u32, a->near), DATA(f32, a->values)};
  const linking l = {v, g, r, DATA(i32, a->parent), DATA(u8, a->touched), DATA(u64, a->pool), DATA(u32, a->chosen), DATA(u32, a->picked), a->run, 0, 0, 0, 0};
  i32 entry = a->entry;
  if (entry >= 0 && ((u32)entry >= a->top || g.levels[entry] < 0)) return FAIL(INDEX, ARG_hnsw_insert_entry);
  for (u32 i = 0; i < a->count; i++) {
    const i32 slot = DATA(const i32, a->slots)[i];
    if ((u32)slot >= a->top || g.levels[slot] < 0 || slot == entry) return FAIL(INDEX, ARG_hnsw_insert_slots);
    if (insert(&l, (u32)slot, entry, a->ef, F32)) return FAIL(INDEX, ARG_hnsw_insert_ground);
    if (entry < 0 || g.levels[slot] > g.levels[entry]) entry = slot;
  }
  return 0;
}

KERNEL(hnsw_unlink, hnsw_unlink) {
  const vectors v = {DATA(const void, a->vectors), 0, DATA(const f32, a->halves), a->top, a->dim, 0};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), 0, DATA(u32, a->near), DATA(f32, a->values)};
  const linking l = {v, g, r, DATA(i32, a->parent), DATA(u8, a->touched), DATA(u64, a->pool), DATA(u32, a->chosen), DATA(u32, a->picked), a->run, 0, 0, 0, 0};
  const u8 *dead = DATA(const u8, a->dead);
  for (u32 slot = 0; slot < a->top; slot++) {
    if (dead[slot] && leave_tree(&l, slot)) return FAIL(INDEX, ARG_hnsw_unlink_parent);
  }
  for (u32 slot = 0; slot < a->top; slot++) {
    if (dead[slot]) continue;
    for (i32 level = 0; level <= g.levels[slot]; level++) {
      const i32 changed = repair(&l, slot, (u32)level, dead, a->ef, F32);
      if (changed < 0) return FAIL(INDEX, ARG_hnsw_unlink_ground);
      if (changed) DATA(u8, a->uppers)[level] = 1;
    }
  }
  return 0;
}
