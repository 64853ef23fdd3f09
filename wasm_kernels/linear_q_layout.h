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

// One block of one row (r, within its group) into the group's block at w.
INLINE void place_q4_0(const u8 *block, u8 *w, u32 r) {
  ((f32 *)w)[r] = load_f16(half_at(block));
  for (u32 j = 0; j < 4; j++)
    for (u32 i = 0; i < 4; i++) w[16 + 16 * j + 4 * r + i] = block[2 + 4 * j + i];
}

INLINE void place_q8_0(const u8 *block, u8 *w, u32 r) {
  ((f32 *)w)[r] = load_f16(half_at(block));
  for (u32 c = 0; c < 32; c++) w[16 + 8 * (c / 2) + 2 * r + c % 2] = block[2 + c];
}

INLINE void place_q4_k(const u8 *block, u8 *w, u32 r) {
  const f32 d = load_f16(half_at(block)), least = load_f16(half_at(block + 2));
  for (u32 s = 0; s < 8; s++, w += 96) {
    ((f32 *)w)[r] = d * (f32)six_bits(block + 4, s, 0);
    ((f32 *)w)[4 + r] = least * (f32)six_bits(block + 4, s, 1);
    const u8 *q = block + 16 + 32 * (s / 2);
    for (u32 c = 0; c < 16; c++) w[32 + 16 * (c / 4) + 4 * r + c % 4] = (u8)((q[c] >> 4 * (s % 2) & 15) | (q[16 + c] >> 4 * (s % 2) & 15) << 4);
  }
}

INLINE void place_q6_k(const u8 *block, u8 *w, u32 r) {
  ((f32 *)w)[r] = load_f16(half_at(block + 208));
  w += 16;
  for (u32 s = 0; s < 8; s++, w += 144) {
    w[2 * r] = w[2 * r + 1] = block[192 + 2 * s];
    w[8 + 2 * r] = w[8 + 2 * r + 1] = block[192 + 2 * s + 1];
    const u8 *low = block + 64 * (s / 4) + 32 * (s % 2), *high = block + 128 + 32 * (s / 4);
    for (u32 c = 0; c < 32; c++)
      w[16 + 16 * (c / 4) + 4 * r + c % 4] = (u8)((low[c] >> 4 * (s % 4 / 2) & 15) | (high[c] >> 2 * (s % 4) & 3) << 4);
  }
}

// Bytes and columns of what is placed at once, in the file and in the layout.
INLINE u32 span_of(kind type) { return type == Q4_K || type == Q6_K ? 256 : 32; }
INLINE u32 file_bytes(kind type) { return type == Q4_0 ? 18 : type == Q8_0 ? 34 : type == Q4_K ? 144 : 210; }
INLINE u32 laid_bytes(kind type) { return type == Q4_0 ? 80 : type == Q8_0 ? 144 : type == Q4_K ? 768 : 1168; }

INLINE i32 repack(const u8 *blocks, u8 *w, u32 rows, u32 cols, const kind type) {
  const u32 count = cols / span_of(type);
  if (!count) return 0;  // then rows may be any number
  for (u32 row = 0; row < rows; row += 4)
    for (u32 b = 0; b < count; b++, w += laid_bytes(type)) {
      if (rows - row < 4)
        for (u32 i = 0; i < laid_bytes(type); i += 16) wasm_v128_store(w + i, wasm_i32x4_splat(0));
      for (u32 r = 0; r < 4 && row + r < rows; r++) {
        const u8 *block = blocks + ((row + r) * count + b) * file_bytes(type);
        if (type == Q4_0) place_q4_0(block, w, r);
        else if (type == Q8_0) place_q8_0(block, w, r);
        else if (type == Q4_K) place_q4_k(block, w, r);
        else place_q6_k(block, w, r);
      }
    }
  return 0;
}

// 32 columns of one row, from the group's block at w. head: of the 256 columns of Q6_K.
INLINE void block_values(const u8 *head, const u8 *w, u32 r, f32 *y, const kind type) {
  const f32 d = ((const f32 *)head)[r];
  for (u32 c = 0; c < 32; c++) {
    if (type == Q4_0 || type == Q4_K) {
      const u8 pair = w[(type == Q4_K ? 32 : 16) + c % 16 / 4 * 16 + 4 * r + c % 4];
      const i32 q = c < 16 ? pair & 15 : pair >> 4;
      y[c] = type == Q4_0 ? d * (f32)(q - 8) : d * (f32)q - ((const f32 *)w)[4 + r];
    } else if (type == Q8_0) {
      y[c] = d * (f32)(i8)w[16 + c / 2 * 8 + 2 * r + c % 2];
    } else {
      const i32 scale = (i8)w[8 * (c / 16) + 2 * r];
      y[c] = d * (f32)scale * (f32)(w[16 + c / 4 * 16 + 4 * r + c % 4] - 32);
    }
  }
}

// 0, or 1 at the first index that is no row.
INLINE u32 widen_rows(const u8 *w, const u32 *index, f32 *y, u32 n, u32 rows, u32 cols, const kind type) {
  const u32 step = type == Q4_K ? 96 : laid_bytes(type), span = type == Q6_K ? 256 : 32;
  for (u32 i = 0; i < n; i++, y += cols) {
    const u32 row = index[i];
    if (row >= rows) return 1;
    const u8 *at = w + row / 4 * (cols / span) * step;
    for (u32 c = 0; c < cols; c += 32) {
      const u8 *head = at + c / span * step;
      block_values(head, type == Q6_K ? head + 16 + c % 256 / 32 * 144 : head, row % 4, y + c, type);
    }
  }
  return 0;
}

#endif
