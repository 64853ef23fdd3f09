// Products of activations with quantised weights: how both lie in memory, and the walk over them.
//
// Weights lie in groups of four rows, so that lane k of every sum belongs to row k and no sum over lanes is ever made. A group holds,
// column block by column block (integers little-endian, r: row within the group, c: column within the block):
//
//   Q4_0   32 columns, 72 bytes: u16 d[r]; 4 chunks of 16 bytes. Byte 4 r + i of chunk j: columns 4 j + i (low nibble), 16 + 4 j + i (high)
//   Q8_0   32 columns, 136 bytes: u16 d[r]; 16 chunks of 8 bytes. Byte 2 r + i of chunk j: column 2 j + i, int8
//   Q4_K   256 columns, 608 bytes: f32 d[r]; f32 least[r]; per 32 columns 72 bytes: u8 scale[r]; u8 minimum[r]; 4 chunks as Q4_0 has them.
//          Value: d scale q - least minimum
//   Q6_K   256 columns, 848 bytes: f32 d[r]; per 32 columns 104 bytes: i8 scale[r] of the first 16 columns, i8 scale[r] of the others;
//          per 16 columns 3 chunks of 16 bytes. Byte 4 r + i of chunk j: column 4 j + i in its low 6 bits, in the others bits of column
//          12 + i: the lowest two with chunk 0, the highest with chunk 2. Value: d scale (q - 32)
//
// The u16 are float16 whose exponents are 10 lower (scales_at): then the scales of weights are none of the subnormal numbers, which are
// slow. More than one column goes through Q6_K with its levels in bytes, which two groups at a time are put into, in scratch memory:
//
//          256 columns, 1104 bytes: f32 d[r]; per 32 columns 136 bytes: scales as above; 8 chunks of 16 bytes. Byte 4 r + i of chunk j:
//          column 4 j + i, 0 ... 63
//
// Activations are rounded to int8 per 32 columns (d = max |x| / 127), once for all rows, into records in the scratch operand. Sums over
// the columns of a block are whole numbers, exact in every engine. 4 and 6 bits fit the 7-bit operand of the relaxed dot product: 16
// products and 8 sums in one instruction; sums stay in 16 bits for a whole block (15 x 127 x 16 < 2^15), since adding two vectors of 16 bits is
// one instruction everywhere where the 32-bit form of that dot takes three on x86 before AVX-VNNI. What would make values signed (-8, -32)
// is part of the record: the value the sums begin with. Q8_0 needs its eighth bit and goes through 16-bit products in both variants.
//
// The 4-bit types have a second kernel, `wide`: it always takes two groups at once and, relaxed, sums in 32 bits, for engines with one
// instruction for that form of the dot (ARM, AVX-VNNI). Which is faster is measured at run time.
#ifndef PYRUVLLM_LINEAR_Q_H
#define PYRUVLLM_LINEAR_Q_H

#include "vector.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLL _Pragma("clang loop unroll(disable)")

typedef enum { Q4_0, Q4_K, Q8_0, Q6_K } kind;

// One block of 32 activations. Bytes for the relaxed dot; else 16 bits each, in pairs for i32x4.dot_i16x8_s.
typedef struct {
  union {
    i8 bytes[32];
    i16 pairs[32];
  } q;
  f32 d;
  i32 start[2];  // Q4_0: sums begin here (relaxed: two i16). Q6_K: the same, per 16 columns. Q4_K: float32 d x sum(q)
  i32 unused;
} record;
_Static_assert(sizeof(record) == 80, "room in linear_q.toml");

#ifdef __wasm_relaxed_simd__
#define PAIRS(type) ((type) == Q8_0)
#else
#define PAIRS(type) 1
#endif

// The sums of the lanes' 32-bit halves (two i16 each) over all four lanes, in every lane.
INLINE v128_t fold_pairs(v128_t v) {
  v = wasm_i16x8_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_i16x8_add(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
}

INLINE i32 both(i32 pair) { return (i16)pair + (pair >> 16); }

INLINE v128_t rounded(const f32 *x, v128_t inverse) {
  v128_t a = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(x), inverse));
  v128_t b = wasm_f32x4_nearest(wasm_f32x4_mul(wasm_v128_load(x + 4), inverse));
  return wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(a), wasm_i32x4_trunc_sat_f32x4(b));
}

INLINE void quantise_block(const f32 *x, record *out, const kind type, const u32 wide) {
  v128_t most = wasm_f32x4_abs(wasm_v128_load(x));
  for (u32 i = 4; i < 32; i += 4) most = wasm_f32x4_max(most, wasm_f32x4_abs(wasm_v128_load(x + i)));
  most = wasm_f32x4_max(most, wasm_i32x4_shuffle(most, most, 2, 3, 0, 1));
  most = wasm_f32x4_max(most, wasm_i32x4_shuffle(most, most, 1, 0, 3, 2));
  const f32 limit = wasm_f32x4_extract_lane(most, 0);
  const u32 small = limit < 0x1p-100f;  // then 127 / limit may be infinite, and products with it are subnormal, which are slow
  const v128_t inverse = wasm_f32x4_splat(small ? 0.0f : 127.0f / limit);
  v128_t v[4];
  for (u32 i = 0; i < 4; i++) v[i] = rounded(x + 8 * i, inverse);
  const v128_t low = wasm_i8x16_narrow_i16x8(v[0], v[1]), high = wasm_i8x16_narrow_i16x8(v[2], v[3]);
  const i32 first = wasm_i32x4_extract_lane(fold_pairs(wasm_i16x8_extadd_pairwise_i8x16(low)), 0);
  const i32 second = wasm_i32x4_extract_lane(fold_pairs(wasm_i16x8_extadd_pairwise_i8x16(high)), 0);
  const f32 d = small ? 0.0f : limit / 127.0f;
  const i32 sum = both(first) + both(second);
  if (PAIRS(type)) {
    for (u32 i = 0; i < 4; i++) {
      // Nibbles and 6-bit bytes are met as the even and then the odd columns of four.
      if (type != Q8_0) v[i] = wasm_i16x8_shuffle(v[i], v[i], 0, 2, 1, 3, 4, 6, 5, 7);
      wasm_v128_store(out->q.pairs + 8 * i, v[i]);
    }
    out->start[0] = type == Q4_0 ? -8 * sum : -32 * both(first);
    out->start[1] = -32 * both(second);
  } else {
    wasm_v128_store(out->q.bytes, low);
    wasm_v128_store(out->q.bytes + 16, high);
    const v128_t ends = wasm_i32x4_make(first, second, 0, 0);
    // Q4_0 begins with two sums per lane, one of the columns 0 and 1 of each four, one of 2 and 3; sums of 32 bits with both together.
    const v128_t begin = type == Q4_0 ? wasm_i16x8_shl(wasm_i16x8_add(ends, wasm_i32x4_shuffle(ends, ends, 1, 0, 2, 3)), 3) : wasm_i16x8_shl(ends, 5);
    wasm_v128_store64_lane(out->start, wasm_i16x8_neg(begin), 0);
    if (type == Q4_0 && wide) out->start[0] = -8 * sum;
  }
  if (type == Q4_K) *(f32 *)out->start = d * (f32)sum;
  out->d = d;
}

// Columns are taken `width` at a time. The records of such a tile: block by block, the tile's columns beside each other.
INLINE void quantise(const f32 *x, record *out, u32 cols, u32 width, const kind type, const u32 wide) {
  for (u32 b = 0; b < cols / 32; b++)
    for (u32 m = 0; m < width; m++) quantise_block(x + m * cols + 32 * b, out + b * width + m, type, wide);
}

INLINE v128_t madd_i16(v128_t sums, v128_t x, v128_t y) { return wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(x, y)); }

#define SPLAT32(p) wasm_v128_load32_splat(p)

// Bytes and columns of a block of the layout; bytes of one of Q6_K with its levels in bytes.
INLINE u32 laid_bytes(const kind type) { return type == Q4_0 ? 72 : type == Q8_0 ? 136 : type == Q4_K ? 608 : 848; }
INLINE u32 laid_columns(const kind type) { return type == Q4_K || type == Q6_K ? 256 : 32; }
#define LEVELS 1104

// Four u16 as float32: sign, 5 bits of exponent and 10 of mantissa are moved into place, and scaled.
INLINE v128_t scales_at(const u8 *w) {
  const v128_t bits = wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4(w), 13), wasm_i32x4_const_splat((i32)0x8fffe000));
  return wasm_f32x4_mul(bits, wasm_f32x4_const_splat(0x1p102f));
}

// Engines (V8, Cranelift) read all that the body of a loop reads before they reckon with it, and spill what does not fit the registers. So loops
// over chunks stay loops: what a round reads for two groups and four columns fits beside their eight sums.
//
// sums[g * M + m] = over one block of 32 columns, group g (at w + g * stride) x column m, to be `folded`. Chunks begin at w.
INLINE void nibbles(const u8 *w, u32 stride, const record *x, const kind type, const u32 wide, const u32 G, const u32 M, v128_t *sums) {
  UNROLL for (u32 i = 0; i < G * M; i++) sums[i] = type == Q4_0 ? SPLAT32(x[i % M].start) : wasm_i32x4_splat(0);
#ifdef __wasm_relaxed_simd__
  const v128_t mask = wasm_i8x16_splat(15);
  const u32 passes = M == 4 ? 2 : 1;  // the low nibbles before the high ones, or both at once
  UNROLL for (u32 pass = 0; pass < passes; pass++) {
    ROLL for (u32 j = 0; j < 16; j += 4) {
      UNROLL for (u32 high = pass; high < 2; high += passes) {
        v128_t c[2];
        UNROLL for (u32 g = 0; g < G; g++) {
          const v128_t both = wasm_v128_load(w + g * stride + 4 * j);
          c[g] = wasm_v128_and(high ? wasm_u16x8_shr(both, 4) : both, mask);
        }
        UNROLL for (u32 m = 0; m < M; m++) {
          const v128_t four = SPLAT32(x[m].q.bytes + 16 * high + j);
          UNROLL for (u32 g = 0; g < G; g++) {
            v128_t *sum = sums + g * M + m;
            if (wide) *sum = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(four, c[g], *sum);
            else *sum = wasm_i16x8_add(*sum, wasm_i16x8_relaxed_dot_i8x16_i7x16(four, c[g]));
          }
        }
      }
    }
  }
#else
  UNROLL for (u32 j = 0; j < 4; j++) {
    v128_t c[2];
    const v128_t mask = wasm_i16x8_splat(15);
    UNROLL for (u32 part = 0; part < 4; part++) {  // even and odd columns of the low nibbles, then of the high ones
      UNROLL for (u32 g = 0; g < G; g++) {
        v128_t all = wasm_v128_load(w + g * stride + 16 * j);
        c[g] = part == 0 ? wasm_v128_and(all, mask) : part == 1 ? wasm_v128_and(wasm_u16x8_shr(all, 8), mask)
             : part == 2 ? wasm_v128_and(wasm_u16x8_shr(all, 4), mask) : wasm_u16x8_shr(all, 12);
      }
      UNROLL for (u32 m = 0; m < M; m++) {
        const v128_t pair = SPLAT32(x[m].q.pairs + 4 * j + (part & 1) * 2 + (part & 2) * 8);
        UNROLL for (u32 g = 0; g < G; g++) sums[g * M + m] = madd_i16(sums[g * M + m], c[g], pair);
      }
    }
  }
#endif
}

// Sums of one row a lane, each times a whole number: the 16 bits that its lane of `by` holds twice.
INLINE v128_t folded(v128_t sums, v128_t by, const kind type, const u32 wide) {
#ifdef __wasm_relaxed_simd__
  if (!wide) return wasm_i32x4_dot_i16x8(sums, by);
#endif
  return type == Q4_0 ? sums : wasm_i32x4_mul(sums, wasm_i32x4_shr(by, 16));
}

INLINE void tile_4(const u8 *w, u32 stride, const record *x, u32 cols, const kind type, const u32 wide, const u32 G, const u32 M, v128_t *total) {
  const u32 blocks = laid_columns(type) / 32;
  for (u32 s = 0; s < cols / laid_columns(type); s++) {
    const u8 *head = w;
    if (type == Q4_K) w += 32;
    for (u32 b = 0; b < blocks; b++, w += 72, x += M) {
      v128_t sums[8];
      nibbles(w + 8, stride, x, type, wide, G, M, sums);
      UNROLL for (u32 g = 0; g < G; g++) {
        const v128_t bytes = wasm_u16x8_load8x8(w + g * stride), low = wasm_i16x8_shuffle(bytes, bytes, 0, 0, 1, 1, 2, 2, 3, 3);
        const v128_t by = type == Q4_K ? low : wasm_i16x8_splat(1);
        const v128_t d = type == Q4_K ? wasm_v128_load(head + g * stride) : scales_at(w + g * stride);
        const v128_t minimum = wasm_f32x4_convert_i32x4(wasm_u32x4_extend_high_u16x8(bytes));
        const v128_t least = wasm_f32x4_mul(minimum, wasm_v128_load(head + g * stride + 16));
        UNROLL for (u32 m = 0; m < M; m++) {
          const v128_t sum = folded(sums[g * M + m], by, type, wide);
          v128_t *t = total + g * M + m;
          *t = MADD(wasm_f32x4_convert_i32x4(sum), wasm_f32x4_mul(d, SPLAT32(&x[m].d)), *t);
          if (type == Q4_K) *t = wasm_f32x4_sub(*t, wasm_f32x4_mul(least, SPLAT32(x[m].start)));
        }
      }
    }
  }
}

INLINE void tile_8(const u8 *w, u32 stride, const record *x, u32 cols, const u32 G, const u32 M, v128_t *total) {
  for (u32 b = 0; b < cols / 32; b++, w += 136, x += M) {
    v128_t sums[8];
    UNROLL for (u32 i = 0; i < G * M; i++) sums[i] = wasm_i32x4_splat(0);
    const u32 step = M == 4 ? 2 : 4;
    ROLL for (u32 first = 0; first < 16; first += step) {
      UNROLL for (u32 j = first; j < first + step; j++) {
        v128_t c[2];
        UNROLL for (u32 g = 0; g < G; g++) c[g] = wasm_i16x8_load8x8(w + g * stride + 8 + 8 * j);
        UNROLL for (u32 m = 0; m < M; m++) {
          const v128_t pair = SPLAT32(x[m].q.pairs + 2 * j);
          UNROLL for (u32 g = 0; g < G; g++) sums[g * M + m] = madd_i16(sums[g * M + m], c[g], pair);
        }
      }
    }
    UNROLL for (u32 g = 0; g < G; g++) {
      const v128_t d = scales_at(w + g * stride);
      UNROLL for (u32 m = 0; m < M; m++)
        total[g * M + m] = MADD(wasm_f32x4_convert_i32x4(sums[g * M + m]), wasm_f32x4_mul(d, SPLAT32(&x[m].d)), total[g * M + m]);
    }
  }
}

// 16 columns of one group of Q6_K, in four chunks of bytes, from the three that hold them.
INLINE void spread(const u8 *w, v128_t *c) {
  const v128_t low = wasm_i8x16_splat(63), high = wasm_i8x16_splat((i8)0xc0);
  v128_t rest = wasm_i32x4_splat(0);
  UNROLL for (u32 j = 0; j < 3; j++) {
    const v128_t chunk = wasm_v128_load(w + 16 * j);
    c[j] = wasm_v128_and(chunk, low);
    rest = wasm_u16x8_shr(wasm_v128_or(rest, wasm_v128_and(chunk, high)), 2);
  }
  c[3] = rest;
}

// One group of Q6_K with its levels in bytes, to `out`.
INLINE void widen_levels(const u8 *w, u8 *out, u32 cols) {
  for (u32 s = 0; s < cols / 256; s++, w += 16, out += 16) {
    wasm_v128_store(out, wasm_v128_load(w));
    for (u32 half = 0; half < 16; half++) {
      if (half % 2 == 0) {
        wasm_v128_store64_lane(out + 16, wasm_v128_load64_zero(w + 16), 0);
        w += 8;
        out += 8;
      }
      v128_t c[4];
      spread(w + 16, c);
      UNROLL for (u32 j = 0; j < 4; j++) wasm_v128_store(out + 16 + 16 * j, c[j]);
      w += 48;
      out += 64;
    }
  }
}

// Q6_K: 16 columns of one group and tile, times their scales, added to sums. bytes: whether its levels are.
INLINE void sixteen(const u8 *w, u32 stride, const record *x, const u32 half, const u32 bytes, const u32 G, const u32 M, v128_t *sums) {
  v128_t part[8], c[2][4];
  UNROLL for (u32 i = 0; i < G * M; i++) part[i] = SPLAT32(x[i % M].start + half);
  if (!bytes) UNROLL for (u32 g = 0; g < G; g++) spread(w + g * stride + 8 + 48 * half, c[g]);
#ifdef __wasm_relaxed_simd__
  v128_t more[8];
  UNROLL for (u32 j = 0; j < 4; j++) {
    if (bytes) UNROLL for (u32 g = 0; g < G; g++) c[g][j] = wasm_v128_load(w + g * stride + 8 + 64 * half + 16 * j);
    UNROLL for (u32 m = 0; m < M; m++) {
      const v128_t four = SPLAT32(x[m].q.bytes + 16 * half + 4 * j);
      UNROLL for (u32 g = 0; g < G; g++) {  // 63 x 127 x 2 x 2 is the most that 16 bits hold
        const v128_t product = wasm_i16x8_relaxed_dot_i8x16_i7x16(four, c[g][j]);
        v128_t *into = (j < 2 ? part : more) + g * M + m;
        *into = j == 2 ? product : wasm_i16x8_add(*into, product);
      }
    }
  }
  UNROLL for (u32 g = 0; g < G; g++) {
    const v128_t all = wasm_i16x8_load8x8(w + g * stride);
    const v128_t scale = half ? wasm_i16x8_shuffle(all, all, 4, 4, 5, 5, 6, 6, 7, 7) : wasm_i16x8_shuffle(all, all, 0, 0, 1, 1, 2, 2, 3, 3);
    UNROLL for (u32 i = g * M; i < g * M + M; i++) sums[i] = madd_i16(madd_i16(sums[i], part[i], scale), more[i], scale);
  }
#else
  UNROLL for (u32 j = 0; j < 8; j++) {
    v128_t v[2];
    UNROLL for (u32 g = 0; g < G; g++) {
      const v128_t all = bytes ? wasm_v128_load(w + g * stride + 8 + 64 * half + 16 * (j / 2)) : c[g][j / 2];
      v[g] = j % 2 ? wasm_u16x8_shr(all, 8) : wasm_v128_and(all, wasm_i16x8_splat(255));
    }
    UNROLL for (u32 m = 0; m < M; m++) {
      const v128_t pair = SPLAT32(x[m].q.pairs + 16 * half + 2 * j);
      UNROLL for (u32 g = 0; g < G; g++) part[g * M + m] = madd_i16(part[g * M + m], v[g], pair);
    }
  }
  UNROLL for (u32 g = 0; g < G; g++) {
    const v128_t all = wasm_i16x8_load8x8(w + g * stride), scale = half ? wasm_i32x4_extend_high_i16x8(all) : wasm_i32x4_extend_low_i16x8(all);
    UNROLL for (u32 i = g * M; i < g * M + M; i++) sums[i] = wasm_i32x4_add(sums[i], wasm_i32x4_mul(part[i], scale));
  }
#endif
}

INLINE void tile_6(const u8 *w, u32 stride, const record *x, u32 cols, const u32 bytes, const u32 G, const u32 M, v128_t *total) {
  for (u32 s = 0; s < cols / 256; s++, w += bytes ? LEVELS : laid_bytes(Q6_K)) {
    v128_t block[8];
    UNROLL for (u32 i = 0; i < G * M; i++) block[i] = wasm_f32x4_splat(0);
    for (u32 b = 0; b < 8; b++, x += M) {
      const u8 *at = w + 16 + (bytes ? 136 : 104) * b;
      v128_t sums[8];
      UNROLL for (u32 i = 0; i < G * M; i++) sums[i] = wasm_i32x4_splat(0);
      sixteen(at, stride, x, 0, bytes, G, M, sums);
      sixteen(at, stride, x, 1, bytes, G, M, sums);
      UNROLL for (u32 i = 0; i < G * M; i++) block[i] = MADD(wasm_f32x4_convert_i32x4(sums[i]), SPLAT32(&x[i % M].d), block[i]);
    }
    UNROLL for (u32 i = 0; i < G * M; i++) total[i] = MADD(block[i], wasm_v128_load(w + stride * (i / M)), total[i]);
  }
}

typedef struct {
  const f32 *x;
  const u8 *w;
  f32 *y;
  record *room;
  u8 *levels;  // Q6_K: room for two groups
  u32 batch, rows, cols, first, count;
} product;

// The four rows of one group for one column; the last group may hold fewer.
INLINE void put(f32 *y, u32 left, v128_t v) {
  if (left >= 4) wasm_v128_store(y, v);
  else {
    if (left > 0) wasm_v128_store32_lane(y, v, 0);
    if (left > 1) wasm_v128_store32_lane(y + 1, v, 1);
    if (left > 2) wasm_v128_store32_lane(y + 2, v, 2);
  }
}

// G groups from row on x M columns from m on.
INLINE void tile(const product *p, u32 row, u32 m, const kind type, const u32 wide, const u32 G, const u32 M) {
  const u32 stride = p->cols / laid_columns(type) * laid_bytes(type), levels = p->cols / 256 * LEVELS, end = p->first + p->count;
  const u8 *w = p->w + row / 4 * stride;
  const record *x = p->room + m * (p->cols / 32);
  v128_t total[8];
  UNROLL for (u32 i = 0; i < G * M; i++) total[i] = wasm_f32x4_splat(0);
  if (type == Q8_0) tile_8(w, stride, x, p->cols, G, M, total);
  else if (type == Q6_K && p->batch == 1) tile_6(w, stride, x, p->cols, 0, G, M, total);
  else if (type == Q6_K) tile_6(p->levels + (row - p->first) / 4 % 2 * levels, levels, x, p->cols, 1, G, M, total);
  else tile_4(w, stride, x, p->cols, type, wide, G, M, total);
  UNROLL for (u32 g = 0; g < G; g++)
    UNROLL for (u32 k = 0; k < M; k++) put(p->y + (m + k) * p->rows + row + 4 * g, end - row - 4 * g, total[g * M + k]);
}

// Columns of the next tile. Q6_K has three kinds of sums alive: four columns do not fit 16 registers.
INLINE u32 width(u32 left, const kind type) { return left >= 4 && type != Q6_K ? 4 : left >= 2 ? 2 : 1; }

// Whether two groups go through M columns at once. They share what is read of x; but one column is better off where a matrix beyond the
// caches is read as one stream (Q6_K: 25 instead of 8 G weights/s). From two columns on arithmetic is what takes the time. Of nibbles in
// pairs there are both: four columns take one group in the plain kernel, two in the wide one.
INLINE u32 paired(const kind type, const u32 wide, const u32 M) {
  if (type == Q6_K) return M == 2;
  return M == 4 ? wide || type == Q8_0 || !PAIRS(type) : M == 2 || wide || PAIRS(type);
}

// Eight rows, or the last ones, from row on x M columns from m on.
INLINE void eight(const product *p, u32 row, u32 m, u32 pair, const kind type, const u32 wide, const u32 M) {
  if (pair && paired(type, wide, M)) {
    tile(p, row, m, type, wide, 2, M);
  } else {
    tile(p, row, m, type, wide, 1, M);
    if (pair) tile(p, row + 4, m, type, wide, 1, M);
  }
}

INLINE i32 multiply(const product *p, const kind type, const u32 wide) {
  if (!p->count) return 0;  // then, without columns, batch may be any number
  for (u32 m = 0, w; m < p->batch; m += w) {
    w = width(p->batch - m, type);
    quantise(p->x + m * p->cols, p->room + m * (p->cols / 32), p->cols, w, type, wide);
  }
  const u32 end = p->first + p->count;
  if (!p->batch) return 0;
  // Weights come from memory once: between two readings of the same ones lie only the tile's activations.
  const u32 stride = p->cols / laid_columns(type) * laid_bytes(type);
  for (u32 row = p->first; row < end; row += 8) {
    if (type == Q6_K && p->batch > 1)
      for (u32 g = 0; g < 2 && row + 4 * g < end; g++)
        widen_levels(p->w + (row / 4 + g) * stride, p->levels + g * (p->cols / 256 * LEVELS), p->cols);
    for (u32 m = 0, w; m < p->batch; m += w) {
      w = width(p->batch - m, type);
      const u32 pair = end - row > 4;
      if (type != Q6_K && w == 4) eight(p, row, m, pair, type, wide, 4);
      else if (w == 2) eight(p, row, m, pair, type, wide, 2);
      else eight(p, row, m, pair, type, wide, 1);
    }
  }
  return 0;
}

#endif
