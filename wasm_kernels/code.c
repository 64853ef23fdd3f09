#include "code.gen.h"
#include "code_encode.h"
#include "hnsw_search.h"
#include "hnsw_unlink.h"

KERNEL(code_encode, code_encode) {
  const f32 *row = DATA(const f32, a->rows), *centre = DATA(const f32, a->centre);
  f32 *left = DATA(f32, a->left);
  u8 *code = DATA(u8, a->codes), *tails = DATA(u8, a->tails);
  for (u32 i = 0; i < a->count; i++, row += a->dim, code += a->dims / 8 + 16) {
    rotate(row, centre, DATA(const f32, a->factors), left, a->dim, a->dims);
    const spread s = spread_of(left, a->dims);
    const f32 along = pack(left, s.largest > 0 ? 127.5f / s.largest : 0, code, tails, a->dims);
    factors f = {s.sum > 0 ? s.square / s.sum : 0, 0, dot_f32(row, centre, a->dim), __builtin_sqrtf(s.square)};
    const f32 rest = f.scale * f.scale * (f32)a->dims - s.square;
    f.error = rest > 0 ? __builtin_sqrtf(rest / (f32)(a->dims - 1)) : 0;
    if (a->metric == L2) f.offset -= dot_f32(row, row, a->dim) * 0.5f;
    if (tails) {
      f.fourth = along > 0 ? s.square / along : 0;
      tails += a->dims / 8 * 7;
    }
    __builtin_memcpy(code + a->dims / 8, &f, 16);
  }
  return 0;
}

// A query as it was given becomes a question. Scratch memory is `query` (dim) and left (dims). 0, or -1 where it has no place in the metric.
static inline i32 asked(question *q, const f32 *given, const f32 *centre, const f32 *factors, f32 *query, f32 *left, u32 dim, u32 dims,
                        u32 metric) {
  if (prepare(given, query, dim, metric)) return -1;
  rotate(query, centre, factors, left, dim, dims);
  ask(q, left, dims);
  return 0;
}

FOR_ANY_CODE i32 search(const code_search_args *a, const enum code code) {
  const vectors v = {DATA(const void, a->codes), DATA(const u8, a->tails), 0, a->top, a->dims, a->slack};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), DATA(u64, a->frontier), DATA(u32, a->near), DATA(f32, a->values)};
  const f32 *centre = DATA(const f32, a->centre);
  f32 *query = DATA(f32, a->query);
  question q = {.high = DATA(u64, a->planes), .low = DATA(u64, a->planes) + a->dims / 16, .steps = DATA(i8, a->steps)};
  if ((u32)a->entry >= a->top || g.levels[a->entry] < 0) return FAIL(INDEX, ARG_code_search_entry);
  const u32 needed = a->k < a->ef ? a->k : a->ef;
  for (u32 i = 0; i < a->count; i++) {
    const f32 *given = DATA(const f32, a->queries) + (u64)i * a->dim;
    if (asked(&q, given, centre, DATA(const f32, a->factors), query, DATA(f32, a->left), a->dim, a->dims, a->metric))
      return FAIL(VALUE, ARG_code_search_queries);
    u32 here = (u32)a->entry;
    score(&v, &q, &here, 1, r.values, code);
    f32 best = r.values[0];
    for (u32 level = (u32)g.levels[here]; level; level--) {
      if (descend(&v, &g, &r, &q, level, &here, &best, code)) return FAIL(INDEX, ARG_code_search_upper);
    }
    u32 *met = DATA(u32, a->met) + i;
    i32 n = beam(&v, &g, &r, &q, here, 0, a->ef, DATA(const u8, a->allowed), a->visits, needed, met, code);
    if (n < 0) return FAIL(INDEX, ARG_code_search_ground);
    sort(r.nearest, (u32)n);
    if (code == INT8) refine(&v, &q, DATA(const f32, a->left), r.nearest, (u32)n / 2 < a->k ? (u32)n : 2 * a->k);
    const u64 at = (u64)i * a->k;
    answer_codes(DATA(const i64, a->ids), query, centre, a->dim, r.nearest, (u32)n, a->k, a->metric, DATA(i64, a->found) + at,
                 DATA(f32, a->scores) + at);
  }
  return 0;
}

KERNEL(code_search, code_search) { return a->tails.at ? search(a, INT8) : search(a, BIT1); }

FOR_ANY_CODE i32 scan(const code_scan_args *a, const enum code code) {
  const vectors v = {DATA(const void, a->codes), DATA(const u8, a->tails), 0, a->top, a->dims, a->slack};
  const i64 *ids = DATA(const i64, a->ids);
  const u8 *allowed = DATA(const u8, a->allowed);
  const f32 *centre = DATA(const f32, a->centre);
  f32 *query = DATA(f32, a->query), values[65];
  u64 *nearest = DATA(u64, a->nearest);
  u32 block[64];
  question q = {.high = DATA(u64, a->planes), .low = DATA(u64, a->planes) + a->dims / 16, .steps = DATA(i8, a->steps)};
  for (u32 i = 0; i < a->count; i++) {
    const f32 *given = DATA(const f32, a->queries) + (u64)i * a->dim;
    if (asked(&q, given, centre, DATA(const f32, a->factors), query, DATA(f32, a->left), a->dim, a->dims, a->metric))
      return FAIL(VALUE, ARG_code_scan_queries);
    u32 held = 0;
    for (u32 slot = 0; slot < a->top;) {
      u32 n = 0;
      for (; slot < a->top && n < 64; slot++) {
        block[n] = slot;
        n += ids[slot] >= 0 && (!allowed || allowed[slot]);
      }
      n = above(&v, &q, block, n, values, held == a->k ? closeness_of(~nearest[0]) : -__builtin_inff(), code);
      for (u32 j = 0; j < n; j++) keep(nearest, &held, a->k, key_of(values[j], block[j]));
    }
    sort(nearest, held);
    if (code == INT8) refine(&v, &q, DATA(const f32, a->left), nearest, held);
    const u64 at = (u64)i * a->k;
    answer_codes(ids, query, centre, a->dim, nearest, held, a->k, a->metric, DATA(i64, a->found) + at, DATA(f32, a->scores) + at);
  }
  return 0;
}

KERNEL(code_scan, code_scan) { return a->tails.at ? scan(a, INT8) : scan(a, BIT1); }

FOR_ANY_CODE i32 inserted(const code_insert_args *a, const enum code code) {
  const vectors v = {DATA(const void, a->codes), DATA(const u8, a->tails), 0, a->top, a->dims, a->slack};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), DATA(u64, a->frontier), DATA(u32, a->near), DATA(f32, a->values)};
  u64 *planes = DATA(u64, a->planes);
  question own = {.high = planes, .low = planes + a->dims / 16, .steps = DATA(i8, a->steps)};
  question other = {.high = planes + a->dims / 8, .low = planes + a->dims / 16 * 3, .steps = DATA(i8, a->steps) + a->dims};
  const linking l = {v, g, r, DATA(i32, a->parent), DATA(u8, a->touched), DATA(u64, a->pool), DATA(u32, a->chosen), DATA(u32, a->picked),
                     a->run, &own, &other, DATA(i8, a->numbers), DATA(i32, a->sums)};
  i32 entry = a->entry;
  if (entry >= 0 && ((u32)entry >= a->top || g.levels[entry] < 0)) return FAIL(INDEX, ARG_code_insert_entry);
  for (u32 i = 0; i < a->count; i++) {
    const i32 slot = DATA(const i32, a->slots)[i];
    if ((u32)slot >= a->top || g.levels[slot] < 0 || slot == entry) return FAIL(INDEX, ARG_code_insert_slots);
    if (insert(&l, (u32)slot, entry, a->ef, code)) return FAIL(INDEX, ARG_code_insert_ground);
    if (entry < 0 || g.levels[slot] > g.levels[entry]) entry = slot;
  }
  return 0;
}

KERNEL(code_insert, code_insert) { return a->tails.at ? inserted(a, INT8) : inserted(a, SIGNS); }

FOR_ANY_CODE i32 unlinked(const code_unlink_args *a, const enum code code) {
  const vectors v = {DATA(const void, a->codes), DATA(const u8, a->tails), 0, a->top, a->dims, 0};
  const graph g = {DATA(i32, a->ground), DATA(i32, a->upper), DATA(const i32, a->first), DATA(const i8, a->levels), a->top, a->width, a->rows, a->m};
  const room r = {DATA(u16, a->visited), DATA(u64, a->nearest), 0, DATA(u32, a->near), DATA(f32, a->values)};
  question other = {.high = DATA(u64, a->planes), .low = DATA(u64, a->planes) + a->dims / 16, .steps = DATA(i8, a->steps)};
  const linking l = {v, g, r, DATA(i32, a->parent), DATA(u8, a->touched), DATA(u64, a->pool), DATA(u32, a->chosen), DATA(u32, a->picked),
                     a->run, 0, &other, DATA(i8, a->numbers), DATA(i32, a->sums)};
  const u8 *dead = DATA(const u8, a->dead);
  for (u32 slot = 0; slot < a->top; slot++) {
    if (dead[slot] && leave_tree(&l, slot)) return FAIL(INDEX, ARG_code_unlink_parent);
  }
  for (u32 slot = 0; slot < a->top; slot++) {
    for (i32 level = 0; !dead[slot] && level <= g.levels[slot]; level++) {
      const i32 changed = repair(&l, slot, (u32)level, dead, a->ef, code);
      if (changed < 0) return FAIL(INDEX, ARG_code_unlink_ground);
      if (changed) DATA(u8, a->uppers)[level] = 1;
    }
  }
  return 0;
}

KERNEL(code_unlink, code_unlink) { return a->tails.at ? unlinked(a, INT8) : unlinked(a, SIGNS); }
