// How near vectors are to a query, however they are stored.
#ifndef PYRUVLLM_HNSW_SCORE_H
#define PYRUVLLM_HNSW_SCORE_H

#include "code.h"
#include "distance.h"

#define FOR_ANY_CODE static inline __attribute__((always_inline))  // compiled anew for each constant `code`

// How vectors are stored: SIGNS are 1-bit codes that are held against one of their own, BIT1 against a query.
enum code { F32, INT8, BIT1, SIGNS };

typedef struct {
  const void *rows;   // (top, dim) float32, or (top, dim / 8 + 16) codes
  const u8 *tails;    // (top, dim / 8 * 7) with INT8
  const f32 *halves;  // with F32: |x|^2 / 2 of each row under l2, else null
  u32 top, dim;       // of codes the padded dimension
  f32 slack;          // of INT8: errors by which an estimate may be too low before it rules a vector out
} vectors;

static inline const f32 *row_of(const vectors *v, u32 slot) { return (const f32 *)v->rows + (u64)slot * v->dim; }

static inline const u8 *code_of(const vectors *v, u32 slot) { return (const u8 *)v->rows + (u64)slot * (v->dim / 8 + 16); }

static inline const u8 *tails_of(const vectors *v, u32 slot) { return v->tails + (u64)slot * (v->dim / 8 * 7); }

// What is added to the products of a slot: they become a closeness, up to a constant of the query.
FOR_ANY_CODE f32 offset_of(const vectors *v, u32 slot, const enum code code) {
  if (code == F32) return v->halves ? -v->halves[slot] : 0;
  return factors_at(code_of(v, slot) + v->dim / 8).offset;
}

// From the signs alone. upper: where they differ from the upper bits of the question.
static inline f32 estimate(const question *q, const factors *f, u32 upper, u32 dims) {
  return q->step * f->scale * (f32)(120 * (i32)dims - 16 * (i32)upper) + f->offset;
}

static inline f32 product(const vectors *v, const question *q, const factors *f, u32 upper, u32 slot) {
  const i32 differ = 16 * (i32)upper + (i32)differing(code_of(v, slot), q->low, v->dim);
  const i32 twice = 2 * (8160 * (i32)v->dim - 64 * differ + along_tails(q->steps, tails_of(v, slot), v->dim)) - 127 * q->sum;
  return q->step * f->fourth * 0.5f * (f32)twice + f->offset;
}

// Angles of vectors are to pi as the signs in which they differ to all (Goemans and Williamson 1995).
static inline f32 between_signs(const u8 *x, const u8 *y, f32 lengths, u32 dims) {
  return lengths * sine(1 - 2 * (f32)hamming(x, y, dims) / (f32)dims);
}

// Asks for memory before it is used, so that misses overlap: slots lie anywhere. The sum is for the compiler, which drops idle loads.
static inline u32 touched(const u8 *row, u32 bytes) {
  u32 sum = row[bytes - 1];
  for (u32 i = 0; i < bytes; i += 64) sum += row[i];
  return sum;
}

// The slots, of n, that may be above `least`; how many, and in `values` (n + 1) what `settle` needs of them.
FOR_ANY_CODE u32 sieve(const vectors *v, const question *q, u32 *slots, u32 n, f32 *values, f32 least, const enum code code) {
  const u32 bytes = v->dim / 8 + 16;
  u32 left = 0, sum = 0;
  for (u32 i = 0; i < n; i++) sum += touched(code_of(v, slots[i]), bytes);
  __builtin_memcpy(values + n, &sum, 4);
  for (u32 i = 0; i < n; i++) {
    const u32 slot = slots[i];
    const u8 *row = code_of(v, slot);
    const factors f = factors_at(row + v->dim / 8);
    if (code == SIGNS) {
      values[i] = between_signs(q->signs, row, q->length * f.fourth, v->dim) + f.offset;
      continue;
    }
    const u32 upper = differing(row, q->high, v->dim);
    const f32 likely = estimate(q, &f, upper, v->dim);
    if (code == BIT1) {
      values[i] = likely;
      continue;
    }
    if (likely + v->slack * q->length * f.error < least) continue;
    slots[left] = slot;
    __builtin_memcpy(values + left++, &upper, 4);
    sum += touched(tails_of(v, slot), v->dim / 8 * 7);
  }
  __builtin_memcpy(values + n, &sum, 4);
  return code == INT8 ? left : n;
}

// Makes the closeness of one slot of what `sieve` left in `value`. Whether it may be above `least`; else it stays as it is.
static inline int settle(const vectors *v, const question *q, u32 slot, f32 *value, f32 least) {
  const factors f = factors_at(code_of(v, slot) + v->dim / 8);
  u32 upper;
  __builtin_memcpy(&upper, value, 4);
  if (estimate(q, &f, upper, v->dim) + v->slack * q->length * f.error < least) return 0;
  *value = product(v, q, &f, upper, slot);
  return 1;
}

// Closeness of slots to a query, up to a constant of the query. All slots are below top. `values` has room for one more.
FOR_ANY_CODE void score(const vectors *v, const void *query, u32 *slots, u32 n, f32 *values, const enum code code) {
  if (code != F32) {
    sieve(v, query, slots, n, values, -__builtin_inff(), code);
    for (u32 i = 0; code == INT8 && i < n; i++) settle(v, query, slots[i], values + i, -__builtin_inff());
    return;
  }
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

// A stored vector as a query, which may lie in q.
FOR_ANY_CODE const void *stored(const vectors *v, u32 slot, question *q, const enum code code) {
  if (code == F32) return row_of(v, slot);
  if (code == INT8) ask_code(q, code_of(v, slot), tails_of(v, slot), v->dim);
  if (code == SIGNS) {
    q->signs = code_of(v, slot);
    q->length = factors_at(q->signs + v->dim / 8).fourth;
  }
  return q;
}

#endif
