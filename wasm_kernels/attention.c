// Attention over float32 keys and values that lie as the projections give them, (position, head, dim).
#include "attention.gen.h"
#include "softmax.h"

#define BLOCK 128  // positions, so that keys and values of a block (64 KB at dim 64) stay in the cache for all its rows

typedef struct {
  const f32 *k, *v;
  u32 stride;  // from one position to the next, numbers
  u32 dim;
} context;

// R rows' scores of four positions.
INLINE void score(const context *in, u32 position, const f32 *const *q, f32 *const *scores, u32 at, const u32 R, const u32 N) {
  v128_t sums[2][4];
  const f32 *k = in->k + (u64)position * in->stride;
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 n = 0; n < N; n++) sums[r][n] = wasm_f32x4_splat(0);
  for (u32 c = 0; c < in->dim; c += 4) {
    v128_t x[2];
    UNROLL for (u32 r = 0; r < R; r++) x[r] = wasm_v128_load(q[r] + c);
    UNROLL for (u32 n = 0; n < N; n++) {
      v128_t key = wasm_v128_load(k + n * in->stride + c);
      UNROLL for (u32 r = 0; r < R; r++) sums[r][n] = MADD(key, x[r], sums[r][n]);
    }
  }
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 n = 0; n < N; n++) scores[r][at + n] = sum4(sums[r][n]);
}

// out[r, c ...] += sum over positions of weight[r] * v
INLINE void add(const context *in, u32 first, u32 n, f32 *const *weights, f32 *const *out, u32 c, const u32 R, const u32 V) {
  v128_t sums[2][4];
  const f32 *v = in->v + (u64)first * in->stride + c;
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++) sums[r][j] = wasm_v128_load(out[r] + c + 4 * j);
  for (u32 t = 0; t < n; t++, v += in->stride) {
    v128_t by[2];
    UNROLL for (u32 r = 0; r < R; r++) by[r] = wasm_v128_load32_splat(weights[r] + t);
    UNROLL for (u32 j = 0; j < V; j++) {
      v128_t value = wasm_v128_load(v + 4 * j);
      UNROLL for (u32 r = 0; r < R; r++) sums[r][j] = MADD(value, by[r], sums[r][j]);
    }
  }
  UNROLL for (u32 r = 0; r < R; r++) UNROLL for (u32 j = 0; j < V; j++) wasm_v128_store(out[r] + c + 4 * j, sums[r][j]);
}

// R rows of one key-value head over the n positions from `first` on. Row r is query head r % group of token r / group.
INLINE void rows(const attention_args *a, const context *in, u32 head, u32 first, u32 n, u32 row, softmax *state, f32 *work, u32 room,
                 const u32 R) {
  const u32 group = a->heads / a->kv_heads;
  const f32 *q[2];
  f32 *out[2], *scores[2];
  u32 visible[2], most = 0;
  UNROLL for (u32 r = 0; r < R; r++) {
    u32 token = (row + r) / group, at = (token * a->heads + head * group + (row + r) % group) * a->dim;
    q[r] = DATA(const f32, a->q) + at;
    out[r] = DATA(f32, a->out) + at;
    scores[r] = work + r * room;
    most = visible[r] = attended(a->offset, token, first, n);  // the last row's token comes last
  }
  if (!most) return;
  u32 t = 0;
  for (; t + 4 <= most; t += 4) score(in, first + t, q, scores, t, R, 4);
  for (; t < most; t++) score(in, first + t, q, scores, t, R, 1);
  UNROLL for (u32 r = 0; r < R; r++) soften(state + row + r, scores[r], (most + 3) & ~3u, visible[r], a->scale, 1, out[r], a->dim);
  u32 c = 0;
  for (; c + 16 <= a->dim; c += 16) add(in, first, most, scores, out, c, R, 4);
  for (; c < a->dim; c += 4) add(in, first, most, scores, out, c, R, 1);
}

static i32 attend(const attention_args *a, u32 block) {
  const u32 group = a->heads / a->kv_heads, count = a->tokens * group, room = (block + 3) & ~3u;
  f32 *work = DATA(f32, a->work);
  softmax *state = (softmax *)(work + 2 * room);
  for (u32 i = 0; i < a->tokens * a->heads * a->dim; i += 4) wasm_v128_store(DATA(f32, a->out) + i, wasm_f32x4_splat(0));
  for (u32 head = 0; head < a->kv_heads && count; head++) {
    context in = {DATA(const f32, a->k) + head * a->dim, DATA(const f32, a->v) + head * a->dim, a->kv_heads * a->dim, a->dim};
    for (u32 row = 0; row < count; row++) state[row] = (softmax){-INFINITE, 0};
    for (u32 first = 0; first < a->context; first += block) {
      u32 n = a->context - first < block ? a->context - first : block, row = 0;
      for (; row + 2 <= count; row += 2) rows(a, &in, head, first, n, row, state, work, room, 2);
      if (row < count) rows(a, &in, head, first, n, row, state, work, room, 1);
      if (n < block) break;  // first + block may be beyond 32 bits
    }
    for (u32 row = 0; row < count; row++) {
      u32 at = row / group * a->heads + head * group + row % group;
      f32 lse = settle(state + row, 1, DATA(f32, a->out) + at * a->dim, a->dim);
      if (a->lse.at) DATA(f32, a->lse)[at] = lse;
    }
  }
  return 0;
}

KERNEL(attention, attention_flash) { return attend(a, BLOCK); }

KERNEL(attention, attention_standard) { return attend(a, a->context); }

KERNEL(merge_attention, merge_attention) {
  f32 *out = DATA(f32, a->out), *lse = DATA(f32, a->lse);
  const f32 *other = DATA(const f32, a->other), *other_lse = DATA(const f32, a->other_lse);
  for (u32 row = 0; row < a->rows; row++, out += a->dim, other += a->dim) {
    f32 max = lse[row] > other_lse[row] ? lse[row] : other_lse[row];
    if (max == -INFINITE) continue;
    f32 mine = lane1(exp4_negative, lse[row] - max), theirs = lane1(exp4_negative, other_lse[row] - max), sum = mine + theirs;
    mine /= sum;
    theirs /= sum;
    u32 c = 0;
    for (; c + 4 <= a->dim; c += 4) {
      v128_t x = wasm_f32x4_mul(wasm_v128_load(out + c), wasm_f32x4_splat(mine));
      wasm_v128_store(out + c, wasm_f32x4_add(x, wasm_f32x4_mul(wasm_v128_load(other + c), wasm_f32x4_splat(theirs))));
    }
    for (; c < a->dim; c++) out[c] = out[c] * mine + other[c] * theirs;
    lse[row] = max + lane1(log4, sum);
  }
  return 0;
}

// (x, y) to (x + y, x - y), `apart` numbers from each other.
static void butterflies(f32 *x, u32 dim, u32 apart) {
  if (apart < 4) {
    for (u32 i = 0; i < dim; i += 2 * apart)
      for (u32 j = i; j < i + apart; j++) {
        f32 sum = x[j] + x[j + apart];
        x[j + apart] = x[j] - x[j + apart];
        x[j] = sum;
      }
    return;
  }
  for (u32 i = 0; i < dim; i += 2 * apart)
    for (u32 j = i; j < i + apart; j += 4) {
      v128_t low = wasm_v128_load(x + j), high = wasm_v128_load(x + j + apart);
      wasm_v128_store(x + j, wasm_f32x4_add(low, high));
      wasm_v128_store(x + j + apart, wasm_f32x4_sub(low, high));
    }
}

// Both steps within four neighbours, and the division by sqrt(dim), in one pass.
static void within_four(f32 *x, u32 dim, v128_t by) {
  const i32 minus = (i32)0x80000000;
  const v128_t odd = wasm_i32x4_const(0, minus, 0, minus), late = wasm_i32x4_const(0, 0, minus, minus);
  for (u32 i = 0; i < dim; i += 4) {
    v128_t v = wasm_f32x4_mul(wasm_v128_load(x + i), by);
    v = wasm_f32x4_add(wasm_i32x4_shuffle(v, v, 1, 0, 3, 2), wasm_v128_xor(v, odd));
    v = wasm_f32x4_add(wasm_i32x4_shuffle(v, v, 2, 3, 0, 1), wasm_v128_xor(v, late));
    wasm_v128_store(x + i, v);
  }
}

KERNEL(hadamard, hadamard) {
  const u32 dim = a->dim;
  if (dim & (dim - 1)) return FAIL(VALUE, ARG_hadamard_dim);
  f32 *x = DATA(f32, a->x);
  f32 by = 1 / __builtin_sqrtf((f32)dim);
  for (u32 row = 0; row < a->rows; row++, x += dim) {
    if (dim >= 4) within_four(x, dim, wasm_f32x4_splat(by));
    for (u32 apart = dim >= 4 ? 4 : 1; apart < dim; apart *= 2) butterflies(x, dim, apart);
    for (u32 c = 0; dim < 4 && c < dim; c++) x[c] *= by;
  }
  return 0;
}
