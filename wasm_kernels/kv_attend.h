// Attention over pages: for every key-value head, block by block of positions, R rows of queries at a time.
#ifndef PYRUVLLM_KV_ATTEND_H
#define PYRUVLLM_KV_ATTEND_H

#include "kv_product.h"

typedef struct {
  form form;
  const f32 *q;
  const u8 *pool;
  const i32 *table;
  f32 *out, *lse, *work;
  u32 tokens, context, heads, stride, keys_at, values_at;
  i32 offset;
  f32 scale;
} paged;

#define PAGED                                                                                                                       \
  &(paged) {                                                                                                                        \
    {a->kv_heads, a->dim, a->page}, DATA(const f32, a->q), DATA(const u8, a->pool), DATA(const i32, a->table), DATA(f32, a->out),     \
        DATA(f32, a->lse), DATA(f32, a->work), a->tokens, a->context, a->heads, a->stride, a->keys_at, a->values_at, a->offset, a->scale \
  }

typedef struct {  // what the rows of a tile work with
  const f32 *q[4];
  f32 *out[4];
  f32 *scores[4];  // then weights
  void *query[4];  // F16: float32 x LIFT; else int16 multiples of amount[r], and behind them room for those of one page
  i16 *weights[4];
  f32 amount[4];
  u32 visible[4], most;
} tile;

INLINE void prepare(const paged *p, tile *t, const int kind, const u32 R) {
  const u32 dim = p->form.dim;
  UNROLL for (u32 r = 0; r < R; r++) {
    if (kind != F16) {
      t->amount[r] = narrow_row(t->q[r], dim, limit_of(kind, dim), t->query[r]);
      continue;
    }
    f32 *to = t->query[r];
    for (u32 c = 0; c < dim; c += 4) wasm_v128_store(to + c, wasm_f32x4_mul(wasm_v128_load(t->q[r] + c), wasm_f32x4_const_splat(LIFT)));
  }
}

// x[c] = query[c] * step[c] / 2^15, so that the page's steps are gone from its keys; the same sum with its least numbers.
INLINE i32 scale_query(const int kind, const i16 *query, const key_block *keys, i16 *x, u32 dim) {
  v128_t sum = wasm_i32x4_splat(0);
  for (u32 c = 0; c < dim; c += 8) {
    v128_t q = wasm_v128_load(query + c);
    v128_t steps = kind == Q4 || c + 8 <= dim ? wasm_v128_load(keys->steps + c) : wasm_v128_load64_zero(keys->steps + c);
    wasm_v128_store(x + c, wasm_i16x8_q15mulr_sat(q, steps));
    if (kind == Q4) sum = wasm_i32x4_add(sum, wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_q15mulr_sat(q, wasm_v128_load(keys->least + c))));
  }
  return sum4i(sum);
}

// Scores of the positions of one page.
INLINE void score_page(const paged *p, tile *t, u32 head, u32 index, u32 at, const int kind, const u32 R, const u32 V) {
  const u32 dim = p->form.dim, page = p->form.page, n = t->most - at < page ? t->most - at : page;
  key_block keys = keys_of(kind, &p->form, p->pool + p->table[index] * p->stride + p->keys_at, head);
  void *x[4];
  v128_t by[4], plus[4];
  UNROLL for (u32 r = 0; r < R; r++) {
    x[r] = t->query[r];
    if (kind == F16) continue;
    x[r] = (i16 *)t->query[r] + EIGHTS(dim);
    f32 amount = t->amount[r] * 32768;
    i32 least = scale_query(kind, t->query[r], &keys, x[r], dim);
    by[r] = wasm_f32x4_splat(amount * keys.units[0]);
    if (kind == Q4) plus[r] = wasm_f32x4_splat(amount * keys.units[1] * (f32)least);
  }
  for (u32 c = 0; c < n; c += 4 * V) {
    v128_t sums[4][4];
    UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++) sums[r][j] = wasm_i32x4_splat(0);
    product(kind, x, keys.codes + c * column_bytes(kind), page, dim, sums, R, V);
    UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++) {
      v128_t s = sums[r][j];
      if (kind == Q8) s = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(s), by[r]);
      if (kind == Q4) s = MADD(wasm_f32x4_convert_i32x4(s), by[r], plus[r]);
      wasm_v128_store(t->scores[r] + at + c + 4 * j, s);
    }
  }
}

// Takes the values' steps into one row's weights, whole multiples of what it returns; *least: the weighted sum of their least numbers.
INLINE f32 scale_weights(const paged *p, tile *t, u32 head, u32 index, const int kind, u32 r, f32 *least) {
  const u32 page = p->form.page;
  f32 *weights = t->scores[r];
  *least = 0;
  for (u32 at = 0; at < t->most; at += page, index++) {
    value_block values = values_of(kind, &p->form, p->pool + p->table[index] * p->stride + p->values_at, head);
    u32 n = t->most - at < page ? t->most - at : page, i = 0;
    v128_t sum = wasm_f32x4_splat(0);
    for (; i + 4 <= n; i += 4) {
      v128_t w = wasm_v128_load(weights + at + i);
      if (kind == Q4) sum = MADD(w, load_f16x4(values.least + i), sum);
      v128_t steps = kind == Q4 ? load_f16x4(values.small_steps + i) : wasm_v128_load(values.steps + i);
      wasm_v128_store(weights + at + i, wasm_f32x4_mul(w, steps));
    }
    for (; i < n; i++) {  // not beyond: what is there was never written, and may be no number
      if (kind == Q4) *least += weights[at + i] * load_f16(values.least[i]);
      weights[at + i] *= kind == Q4 ? load_f16(values.small_steps[i]) : values.steps[i];
    }
    if (kind == Q4) *least += sum4(sum);
  }
  return narrow_row(weights, (t->most + 3) & ~3u, limit_of(kind, p->form.page + 128), t->weights[r]);
}

// out[r, c ...] += the weighted values of a block's pages, 4 V channels.
INLINE void add_values(const paged *p, tile *t, u32 head, u32 index, u32 c, const f32 *amount, const f32 *least, const int kind,
                       const u32 R, const u32 V) {
  const u32 dim = p->form.dim, page = p->form.page;
  v128_t sums[4][4];
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++)
    sums[r][j] = kind == F16 ? wasm_v128_load(t->out[r] + c + 4 * j) : wasm_i32x4_splat(0);
  for (u32 at = 0; at < t->most; at += page, index++) {
    void *x[4];
    value_block values = values_of(kind, &p->form, p->pool + p->table[index] * p->stride + p->values_at, head);
    UNROLL for (u32 r = 0; r < R; r++) x[r] = kind == F16 ? (void *)(t->scores[r] + at) : (void *)(t->weights[r] + at);
    product(kind, x, values.codes + c * column_bytes(kind), dim, t->most - at < page ? t->most - at : page, sums, R, V);
  }
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++) {
    f32 *out = t->out[r] + c + 4 * j;
    v128_t s = sums[r][j];
    if (kind != F16) s = MADD(wasm_f32x4_convert_i32x4(s), wasm_f32x4_splat(amount[r]), wasm_v128_load(out));
    if (kind == Q4) s = wasm_f32x4_add(s, wasm_f32x4_splat(least[r]));
    wasm_v128_store(out, s);
  }
}

// R rows over the n positions from `first` on; V vectors of columns at a time. Row r is query head r % group of token r / group.
INLINE void rows(const paged *p, u32 head, u32 first, u32 n, u32 row, softmax *state, tile *t, const int K, const int W, const u32 R,
                 const u32 V) {
  const u32 group = p->heads / p->form.kv_heads, dim = p->form.dim, page = p->form.page, index = first / page;
  UNROLL for (u32 r = 0; r < R; r++) {
    u32 token = (row + r) / group, at = (token * p->heads + head * group + (row + r) % group) * dim;
    t->q[r] = p->q + at;
    t->out[r] = p->out + at;
    t->most = t->visible[r] = attended(p->offset, token, first, n);  // the last row's token comes last
  }
  if (!t->most) return;
  prepare(p, t, K, R);
  for (u32 at = 0; at < t->most; at += page) score_page(p, t, head, index + at / page, at, K, R, V);
  f32 amount[4], least[4];
  UNROLL for (u32 r = 0; r < R; r++) {
    const f32 factor = K == F16 ? p->scale * REST : p->scale, unit = W == F16 ? LIFT : 1;
    soften(state + row + r, t->scores[r], (t->most + 3) & ~3u, t->visible[r], factor, unit, t->out[r], dim);
    if (W != F16) amount[r] = scale_weights(p, t, head, index, W, r, least + r);
  }
  u32 c = 0;
  for (; c + 4 * V <= dim; c += 4 * V) add_values(p, t, head, index, c, amount, least, W, R, V);
  for (; c < dim; c += 4) add_values(p, t, head, index, c, amount, least, W, R, 1);
}

INLINE void attend(const paged *p, const int K, const int W) {
  const u32 kv_heads = p->form.kv_heads, dim = p->form.dim, page = p->form.page, group = p->heads / kv_heads, count = p->tokens * group;
  const u32 block = page < 128 ? 128 / page * page : page;  // positions whose scores are kept
  tile t;
  f32 *work = p->work;
  for (u32 r = 0; r < 4; r++, work += block) t.scores[r] = work;
  for (u32 r = 0; r < 4; r++, work += block / 2) t.weights[r] = (i16 *)work;
  for (u32 r = 0; r < 4; r++, work += EIGHTS(dim)) t.query[r] = work;
  softmax *state = (softmax *)work;
  for (u32 i = 0; i < p->tokens * p->heads * dim; i += 4) wasm_v128_store(p->out + i, wasm_f32x4_splat(0));
  for (u32 head = 0; head < kv_heads && count; head++) {
    for (u32 row = 0; row < count; row++) state[row] = (softmax){-INFINITE, 0};
    for (u32 first = 0; first < p->context; first += block) {
      u32 n = p->context - first < block ? p->context - first : block, row = 0;
      for (; row + 4 <= count; row += 4) rows(p, head, first, n, row, state, &t, K, W, 4, 2);
      for (; row + 2 <= count; row += 2) rows(p, head, first, n, row, state, &t, K, W, 2, 4);
      if (row < count) rows(p, head, first, n, row, state, &t, K, W, 1, 4);
      if (n < block) break;  // first + block may be beyond 32 bits
    }
    for (u32 row = 0; row < count; row++) {
      u32 at = row / group * p->heads + head * group + row % group;
      f32 lse = settle(state + row, W == F16 ? REST : 1, p->out + at * dim, dim);
      if (p->lse) p->lse[at] = lse;
    }
  }
}

#endif
