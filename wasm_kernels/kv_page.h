// What is inside a page of keys and values. P is the page's number of positions (a multiple of 16), D the head's dimension.
//
// Keys are turned: a row a channel, P columns, so that a vector is several positions' products with one number of the query and nothing is
// summed across lanes. Values lie as they are: a row a position, D columns. Both are then a matrix of `depth` rows and `width` columns
// that a vector is multiplied with. Of that matrix, one a key-value head, one head after the other:
//
//   F16  float16 [row][column]
//   Q8   int8    [row / 2][column][row % 2]: two rows interleaved, as the 16-bit dot product takes them
//   Q4   uint16  [row / 8][column][row % 2], each of four 4-bit codes, that of row % 8 / 2 = i at bit 4 i; rows are padded to 8
//
// and after the codes of all heads, again one head after the other, each array of all heads in turn:
//
//   keys Q8    int16 step[D]; float32 unit                                  key = unit * step[channel] * code
//   keys Q4    int16 step[D'], int16 least[D']; float32 unit[2]             key = unit[0] * step[channel] * code + unit[1] * least[channel]
//              (D' is D padded to 8)
//   values Q8  float32 step[P]                                              value = step[position] * code
//   values Q4  float16 step[P]; float16 least[P]                            value = step[position] * code + least[position]
//
// So keys are quantised by channel within the page and values by position (KIVI, arXiv 2402.02750). The keys' steps are whole
// numbers of 16 bits because they then multiply a quantised query eight at a time.
#ifndef PYRUVLLM_KV_PAGE_H
#define PYRUVLLM_KV_PAGE_H

#include "softmax.h"

enum { F16, Q8, Q4 };
#define EIGHTS(n) (((n) + 7) & ~7u)

typedef struct {
  u32 kv_heads, dim, page;
} form;

// Bytes of one head's codes; depth is D for keys, P for values.
INLINE u32 code_bytes(const int kind, u32 depth, u32 width) {
  return kind == F16 ? 2 * depth * width : kind == Q8 ? depth * width : EIGHTS(depth) * width / 2;
}

typedef struct {
  u8 *codes;
  i16 *steps, *least;
  f32 *units;
} key_block;

INLINE key_block keys_of(const int kind, const form *f, const u8 *keys, u32 head) {
  u8 *at = (u8 *)keys;
  key_block block = {at + head * code_bytes(kind, f->dim, f->page), 0, 0, 0};
  const u32 channels = kind == Q4 ? EIGHTS(f->dim) : f->dim;
  at += f->kv_heads * code_bytes(kind, f->dim, f->page);
  block.steps = (i16 *)at + head * channels;
  at += f->kv_heads * channels * 2;
  if (kind == Q4) {
    block.least = (i16 *)at + head * channels;
    at += f->kv_heads * channels * 2;
  }
  block.units = (f32 *)at + head * (kind == Q4 ? 2 : 1);
  return block;
}

typedef struct {
  u8 *codes;
  f32 *steps;  // Q8
  f16 *small_steps, *least;  // Q4
} value_block;

INLINE value_block values_of(const int kind, const form *f, const u8 *values, u32 head) {
  u8 *at = (u8 *)values;
  value_block block = {at + head * code_bytes(kind, f->page, f->dim), 0, 0, 0};
  at += f->kv_heads * code_bytes(kind, f->page, f->dim);
  block.steps = (f32 *)at + head * f->page;
  block.small_steps = (f16 *)at + head * f->page;
  block.least = (f16 *)at + (f->kv_heads + head) * f->page;
  return block;
}

// Bytes of the keys, or the values, of all heads of a page.
INLINE u64 part_bytes(const int kind, const u32 keys, const form *f) {
  const u64 heads = f->kv_heads, dim = f->dim, page = f->page;
  if (kind == F16) return 2 * heads * dim * page;
  if (keys) return kind == Q8 ? heads * (dim * page + 2 * dim + 4) : heads * (((dim + 7) & ~7ull) * (page / 2 + 4) + 8);
  return heads * page * (kind == Q8 ? dim + 4 : dim / 2 + 4);
}

// The places of a pool that a page of these kinds may begin at are those below this: what comes later would end beyond the pool.
static inline u32 places(const int keys, const int values, const form *f, u32 count, u32 stride, u32 keys_at, u32 values_at) {
  const u64 first = keys_at + part_bytes(keys, 1, f), second = values_at + part_bytes(values, 0, f);
  const u64 size = (u64)count * stride, needed = first > second ? first : second;
  return size < needed ? 0 : (u32)((size - needed) / stride) + 1;
}

// Whether all of n indices are below count.
static inline i32 within(const i32 *indices, u32 n, u32 count) {
  for (u32 i = 0; i < n; i++)
    if ((u32)indices[i] >= count) return 0;
  return 1;
}

#endif
