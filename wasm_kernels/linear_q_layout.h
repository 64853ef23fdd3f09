// From blocks of GGUF (pyruvllm/kernels/reference/blocks.py says what they hold) to the layouts of linear_q.h, and from there to rows of float32.
#ifndef PYRUVLLM_LINEAR_Q_LAYOUT_H
#define PYRUVLLM_LINEAR_Q_LAYOUT_H

#include "linear_q.h"

INLINE f16 half_at(const u8 *p) { return (f16)(p[0] | p[1] << 8); }

// Scale (or minimum, from the byte 4 further on) of sub-block s of Q4_K: 6 bits.
INLINE u32 six_bits(const u8 *packed, u32 s, u32 minimum) {
  if (s < 4) return packed[s + 4 * minimum] & 63;
  return (packed[s + 4] >> 4 * minimum & 15) | packed[s - 4 + 4 * minimum] >> 6 << 4;
}

// A scale as scales_at reads it; all ones where it has no such: 128 or more, infinite, NaN.
INLINE u32 packed_scale(f16 bits) {
  const f32 d = load_f16(bits);
  u32 wide;
  __builtin_memcpy(&wide, &d, 4);
  const u32 size = wide & 0x7fffffff;
  if (size >= 0x43000000) return ~0u;
  return (wide >> 16 & 0x8000) | (size ? (size - (102u << 23)) >> 13 : 0);
}

// Of four rows the bytes 4 j ... 4 j + 3 beside each other, in chunk j.
INLINE void fours(v128_t *v) {
  const v128_t a = wasm_i32x4_shuffle(v[0], v[1], 0, 4, 1, 5), b = wasm_i32x4_shuffle(v[2], v[3], 0, 4, 1, 5);
  const v128_t c = wasm_i32x4_shuffle(v[0], v[1], 2, 6, 3, 7), d = wasm_i32x4_shuffle(v[2], v[3], 2, 6, 3, 7);
  v[0] = wasm_i64x2_shuffle(a, b, 0, 2);
  v[1] = wasm_i64x2_shuffle(a, b, 1, 3);
  v[2] = wasm_i64x2_shuffle(c, d, 0, 2);
  v[3] = wasm_i64x2_shuffle(c, d, 1, 3);
}

// The same block of four rows, from the file to the layout. 0 where a scale cannot be kept.
INLINE u32 place_q4_0(const u8 *const *rows, u8 *w) {
  v128_t v[4];
  u32 refused = 0;
  for (u32 r = 0; r < 4; r++) {
    const u32 d = packed_scale(half_at(rows[r]));
    ((u16 *)w)[r] = (u16)d;
    refused |= d >> 16;
    v[r] = wasm_v128_load(rows[r] + 2);
  }
  fours(v);
  for (u32 j = 0; j < 4; j++) wasm_v128_store(w + 8 + 16 * j, v[j]);
  return !refused;
}

INLINE u32 place_q8_0(const u8 *const *rows, u8 *w) {
  u32 refused = 0;
  for (u32 r = 0; r < 4; r++) {
    const u32 d = packed_scale(half_at(rows[r]));
    ((u16 *)w)[r] = (u16)d;
    refused |= d >> 16;
  }
  for (u32 half = 0; half < 2; half++) {
    v128_t v[4];
    for (u32 r = 0; r < 4; r++) v[r] = wasm_v128_load(rows[r] + 2 + 16 * half);
    u8 *at = w + 8 + 64 * half;
    const v128_t a = wasm_i16x8_shuffle(v[0], v[1], 0, 8, 1, 9, 2, 10, 3, 11), b = wasm_i16x8_shuffle(v[2], v[3], 0, 8, 1, 9, 2, 10, 3, 11);
    const v128_t c = wasm_i16x8_shuffle(v[0], v[1], 4, 12, 5, 13, 6, 14, 7, 15), d = wasm_i16x8_shuffle(v[2], v[3], 4, 12, 5, 13, 6, 14, 7, 15);
    wasm_v128_store(at, wasm_i32x4_shuffle(a, b, 0, 4, 1, 5));
    wasm_v128_store(at + 16, wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    wasm_v128_store(at + 32, wasm_i32x4_shuffle(c, d, 0, 4, 1, 5));
    wasm_v128_store(at + 48, wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  }
  return !refused;
}

INLINE u32 place_q4_k(const u8 *const *rows, u8 *w) {
  const v128_t low = wasm_i8x16_splat(15), high = wasm_i8x16_splat((i8)0xf0);
  for (u32 r = 0; r < 4; r++) {
    ((f32 *)w)[r] = load_f16(half_at(rows[r]));
    ((f32 *)w)[4 + r] = load_f16(half_at(rows[r] + 2));
    for (u32 s = 0; s < 8; s++) {
      w[32 + 72 * s + r] = (u8)six_bits(rows[r] + 4, s, 0);
      w[32 + 72 * s + 4 + r] = (u8)six_bits(rows[r] + 4, s, 1);
    }
  }
  w += 32;
  for (u32 s = 0; s < 8; s += 2, w += 144) {
    v128_t even[4], odd[4];
    for (u32 r = 0; r < 4; r++) {
      const v128_t first = wasm_v128_load(rows[r] + 16 + 16 * s), second = wasm_v128_load(rows[r] + 32 + 16 * s);
      even[r] = wasm_v128_or(wasm_v128_and(first, low), wasm_i16x8_shl(wasm_v128_and(second, low), 4));
      odd[r] = wasm_v128_or(wasm_u16x8_shr(wasm_v128_and(first, high), 4), wasm_v128_and(second, high));
    }
    fours(even);
    fours(odd);
    for (u32 j = 0; j < 4; j++) {
      wasm_v128_store(w + 8 + 16 * j, even[j]);
      wasm_v128_store(w + 80 + 16 * j, odd[j]);
    }
  }
  return 1;
}

INLINE u32 place_q6_k(const u8 *const *rows, u8 *w) {
  for (u32 r = 0; r < 4; r++) ((f32 *)w)[r] = load_f16(half_at(rows[r] + 208));
  w += 16;
  for (u32 n = 0; n < 16; n++) {  // of 16 columns
    const u32 s = n / 2, low = 64 * (s / 4) + 32 * (s % 2) + 16 * (n % 2), high = 128 + 32 * (s / 4) + 16 * (n % 2);
    u8 *at = w + 104 * s + 8 + 48 * (n % 2);
    v128_t v[4];
    for (u32 r = 0; r < 4; r++) {
      w[104 * s + 4 * (n % 2) + r] = rows[r][192 + n];
      const v128_t nibbles = wasm_u8x16_shr(wasm_v128_load(rows[r] + low), s % 4 / 2 * 4);
      const v128_t bits = wasm_u8x16_shr(wasm_v128_load(rows[r] + high), 2 * (s % 4));
      v[r] = wasm_v128_or(wasm_v128_and(nibbles, wasm_i8x16_splat(15)), wasm_i8x16_shl(wasm_v128_and(bits, wasm_i8x16_splat(3)), 4));
    }
    fours(v);
    for (u32 j = 0; j < 3; j++) {
      const v128_t two = wasm_v128_and(wasm_u8x16_shr(v[3], 2 * j), wasm_i8x16_splat(3));
      wasm_v128_store(at + 16 * j, wasm_v128_or(v[j], wasm_i8x16_shl(two, 6)));
    }
  }
  return 1;
}

INLINE u32 file_bytes(kind type) { return type == Q4_0 ? 18 : type == Q8_0 ? 34 : type == Q4_K ? 144 : 210; }

// 0, or 1 where a scale cannot be kept.
INLINE u32 repack(const u8 *blocks, u8 *w, u32 rows, u32 cols, const kind type) {
  static const u8 nothing[210];  // stands for the rows beyond the last
  const u32 count = cols / laid_columns(type);
  u32 kept = 1;
  if (!count) return 0;  // then rows may be any number
  for (u32 row = 0; row < rows; row += 4)
    for (u32 b = 0; b < count; b++, w += laid_bytes(type)) {
      const u8 *four[4];
      for (u32 r = 0; r < 4; r++) four[r] = row + r < rows ? blocks + ((row + r) * count + b) * file_bytes(type) : nothing;
      if (type == Q4_0) kept &= place_q4_0(four, w);
      else if (type == Q8_0) kept &= place_q8_0(four, w);
      else if (type == Q4_K) kept &= place_q4_k(four, w);
      else kept &= place_q6_k(four, w);
    }
  return !kept;
}

// 32 columns of one row, from the part at w of the group's block at head.
INLINE void block_values(const u8 *head, const u8 *w, u32 r, f32 *y, const kind type) {
  const f32 d = type == Q4_K || type == Q6_K ? ((const f32 *)head)[r] : wasm_f32x4_extract_lane(scales_at(w + 2 * r), 0);
  for (u32 c = 0; c < 32; c++) {
    if (type == Q4_0 || type == Q4_K) {
      const u8 pair = w[8 + c % 16 / 4 * 16 + 4 * r + c % 4];
      const i32 q = c < 16 ? pair & 15 : pair >> 4;
      y[c] = type == Q4_0 ? d * (f32)(q - 8) : d * (f32)w[r] * (f32)q - ((const f32 *)head)[4 + r] * (f32)w[4 + r];
    } else if (type == Q8_0) {
      y[c] = d * (f32)(i8)w[8 + c / 2 * 8 + 2 * r + c % 2];
    } else {
      const u8 *chunks = w + 8 + 48 * (c / 16) + 4 * r + c % 4;
      const i32 q = c % 16 < 12 ? chunks[c % 16 / 4 * 16] & 63 : chunks[0] >> 6 | chunks[16] >> 6 << 2 | chunks[32] >> 6 << 4;
      y[c] = d * (f32)(i8)w[c / 16 * 4 + r] * (f32)(q - 32);
    }
  }
}

// 0, or 1 at the first index that is no row.
INLINE u32 widen_rows(const u8 *w, const u32 *index, f32 *y, u32 n, u32 rows, u32 cols, const kind type) {
  const u32 step = laid_bytes(type), span = laid_columns(type), part = type == Q4_K ? 72 : 104;
  for (u32 i = 0; i < n; i++, y += cols) {
    const u32 row = index[i];
    if (row >= rows) return 1;
    const u8 *at = w + row / 4 * (cols / span) * step;
    for (u32 c = 0; c < cols; c += 32) {
      const u8 *head = at + c / span * step;
      block_values(head, span == 32 ? head : head + (type == Q4_K ? 32 : 16) + c % 256 / 32 * part, row % 4, y + c, type);
    }
  }
  return 0;
}

#endif
