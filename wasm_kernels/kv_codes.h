// A head's float16 page made codes, and codes made numbers. The arithmetic is the twin's, operation by operation: both give the same bits.
#ifndef PYRUVLLM_KV_CODES_H
#define PYRUVLLM_KV_CODES_H

#include "kv_page.h"

typedef struct {  // room to work in
  f32 *numbers;  // (rows, columns)
  f32 *low, *high, *by;  // a number a row
  i8 *codes;  // (rows, columns)
} workbench;

static inline workbench workbench_in(f32 *work, const form *f) {
  f32 *rest = work + f->dim * f->page;
  const u32 most = f->dim + 8;  // the rest is for keys' channels
  return (workbench){work, rest, rest + most, rest + 2 * most, (i8 *)(rest + 3 * most)};
}

static inline f32 min4(v128_t v) { return -max4(wasm_f32x4_neg(v)); }

static inline i32 whole(f32 x) { return wasm_i32x4_extract_lane(wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_splat(x)), 0); }

static inline f32 larger(f32 x, f32 y) { return x > y ? x : y; }

// Widens n float16 and finds the least and the largest.
static void unpack(const u8 *from, f32 *to, u32 n, f32 *low, f32 *high) {
  v128_t least = wasm_f32x4_splat(INFINITE), most = wasm_f32x4_splat(-INFINITE);
  for (u32 i = 0; i < n; i += 4) {
    v128_t v = load_f16x4((const f16 *)from + i);
    least = wasm_f32x4_pmin(least, v);
    most = wasm_f32x4_pmax(most, v);
    wasm_v128_store(to + i, v);
  }
  *low = min4(least);
  *high = max4(most);
}

// codes = (numbers - less) * by to the nearest, ties to even, within from ... to
static void encode(const f32 *numbers, u32 n, f32 less, f32 by, i32 from, i32 to, i8 *codes) {
  for (u32 i = 0; i < n; i += 4) {
    v128_t v = wasm_f32x4_mul(wasm_f32x4_sub(wasm_v128_load(numbers + i), wasm_f32x4_splat(less)), wasm_f32x4_splat(by));
    v = wasm_f32x4_pmax(wasm_f32x4_pmin(wasm_f32x4_nearest(v), wasm_f32x4_splat((f32)to)), wasm_f32x4_splat((f32)from));
    v = wasm_i32x4_trunc_sat_f32x4(v);
    v = wasm_i16x8_narrow_i32x4(v, v);
    wasm_v128_store32_lane(codes + i, wasm_i8x16_narrow_i16x8(v, v), 0);
  }
}

static void pack_q8(const i8 *codes, u32 depth, u32 width, u8 *to) {
  for (u32 k = 0; k < depth; k += 2, codes += 2 * width)
    for (u32 n = 0; n < width; n++, to += 2) {
      to[0] = (u8)codes[n];
      to[1] = (u8)codes[width + n];
    }
}

static void pack_q4(i8 *codes, u32 depth, u32 width, u8 *to) {
  for (u32 i = depth * width; i < EIGHTS(depth) * width; i++) codes[i] = 0;
  for (u32 k = 0; k < depth; k += 8, codes += 8 * width)
    for (u32 n = 0; n < width; n++, to += 4)
      for (u32 b = 0; b < 2; b++) {
        const i8 *at = codes + b * width + n;
        to[2 * b] = (u8)(at[0] | at[2 * width] << 4);
        to[2 * b + 1] = (u8)(at[4 * width] | at[6 * width] << 4);
      }
}

static void quantize_keys(const int kind, const form *f, const u8 *source, u8 *keys, u32 head, const workbench *w) {
  const u32 dim = f->dim, page = f->page;
  key_block to = keys_of(kind, f, keys, head);
  f32 top = 0;
  for (u32 c = 0; c < dim; c++) {
    unpack(source + 2 * (head * dim + c) * page, w->numbers + c * page, page, w->low + c, w->high + c);
    w->by[c] = larger(__builtin_fabsf(w->high[c]), __builtin_fabsf(w->low[c]));
    top = larger(top, kind == Q8 ? w->by[c] : __builtin_fabsf(w->low[c]));
  }
  f32 unit = top / (kind == Q8 ? 127 * 32767.0f : 32767.0f);
  if (kind == Q8) {
    to.units[0] = unit;
    for (u32 c = 0; c < dim; c++) {
      i32 step = whole(__builtin_ceilf(w->by[c] / (unit * 127)));
      to.steps[c] = (i16)(step < 32767 ? step : 32767);
      encode(w->numbers + c * page, page, 0, 1 / (unit * (f32)to.steps[c]), -127, 127, w->codes + c * page);
    }
    pack_q8(w->codes, dim, page, to.codes);
    return;
  }
  f32 widest = 0;
  for (u32 c = 0; c < dim; c++) {
    i32 least = whole(__builtin_floorf(w->low[c] / unit));
    to.least[c] = (i16)(least < -32767 ? -32767 : least > 32767 ? 32767 : least);
    w->low[c] = unit * (f32)to.least[c];
    w->high[c] -= w->low[c];
    widest = larger(widest, w->high[c]);
  }
  f32 unit0 = widest / (15 * 32767.0f);
  to.units[0] = unit0;
  to.units[1] = unit;
  for (u32 c = 0; c < dim; c++) {
    i32 step = whole(__builtin_ceilf(w->high[c] / (unit0 * 15)));
    to.steps[c] = (i16)(step < 0 ? 0 : step > 32767 ? 32767 : step);
    encode(w->numbers + c * page, page, w->low[c], 1 / (unit0 * (f32)to.steps[c]), 0, 15, w->codes + c * page);
  }
  for (u32 c = dim; c < EIGHTS(dim); c++) to.steps[c] = to.least[c] = 0;
  pack_q4(w->codes, dim, page, to.codes);
}

static void quantize_values(const int kind, const form *f, const u8 *source, u8 *values, u32 head, const workbench *w) {
  const u32 dim = f->dim, page = f->page;
  value_block to = values_of(kind, f, values, head);
  for (u32 t = 0; t < page; t++) {
    f32 low, high, *row = w->numbers + t * dim;
    unpack(source + 2 * (head * page + t) * dim, row, dim, &low, &high);
    if (kind == Q8) {
      to.steps[t] = larger(__builtin_fabsf(high), __builtin_fabsf(low)) / 127;
      encode(row, dim, 0, 1 / to.steps[t], -127, 127, w->codes + t * dim);
    } else {
      to.least[t] = store_f16(low + 0.0f);  // never -0: which of two zeros is the least is not defined in numpy
      to.small_steps[t] = store_f16((high - low) / 15);
      encode(row, dim, low, 1 / load_f16(to.small_steps[t]), 0, 15, w->codes + t * dim);
    }
  }
  if (kind == Q8) pack_q8(w->codes, page, dim, to.codes);
  if (kind == Q4) pack_q4(w->codes, page, dim, to.codes);
}

// One code of the matrix, or one number where it is F16.
INLINE f32 code_at(const int kind, const u8 *codes, u32 width, u32 row, u32 column) {
  if (kind == F16) return load_f16(((const f16 *)codes)[row * width + column]);
  if (kind == Q8) return ((const i8 *)codes)[(row / 2 * width + column) * 2 + row % 2];
  return ((const u16 *)codes)[(row / 8 * width + column) * 2 + row % 2] >> (row % 8 / 2 * 4) & 15;
}

INLINE f32 key_at(const int kind, const form *f, const key_block *b, u32 t, u32 c) {
  f32 code = code_at(kind, b->codes, f->page, c, t);
  if (kind == F16) return code;
  f32 key = b->units[0] * (f32)b->steps[c] * code;
  return kind == Q8 ? key : key + b->units[1] * (f32)b->least[c];
}

INLINE f32 value_at(const int kind, const form *f, const value_block *b, u32 t, u32 c) {
  f32 code = code_at(kind, b->codes, f->dim, t, c);
  if (kind == F16) return code;
  return kind == Q8 ? b->steps[t] * code : load_f16(b->small_steps[t]) * code + load_f16(b->least[t]);
}

#endif
