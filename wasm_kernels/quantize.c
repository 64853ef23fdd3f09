// float32 to the block formats of GGUF and back. What their bits are: pyruvllm/kernels/reference/blocks.py.
#include "quantize.gen.h"
#include "quantize_search.h"

#define STORED(x) load_f16(store_f16(x))  // as float16 holds it

INLINE void put_f16(u8 *p, f32 x) {
  f16 bits = store_f16(x);
  __builtin_memcpy(p, &bits, 2);
}

INLINE f32 get_f16(const u8 *p) {
  f16 bits;
  __builtin_memcpy(&bits, p, 2);
  return load_f16(bits);
}

// 16 vectors of four numbers in 0 ... 255 or -128 ... 127, as bytes.
INLINE v128_t bytes(v128_t a, v128_t b, v128_t c, v128_t d) {
  v128_t low = wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(a), wasm_i32x4_trunc_sat_f32x4(b));
  return wasm_i8x16_narrow_i16x8(low, wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(c), wasm_i32x4_trunc_sat_f32x4(d)));
}

// y[0:16] = scale * q - low, q being 16 int8.
INLINE void spread16(f32 *y, v128_t q, v128_t scale, v128_t low) {
  v128_t a = wasm_i16x8_extend_low_i8x16(q), b = wasm_i16x8_extend_high_i8x16(q);
  wasm_v128_store(y, SUB(MUL(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(a))), low));
  wasm_v128_store(y + 4, SUB(MUL(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(a))), low));
  wasm_v128_store(y + 8, SUB(MUL(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(b))), low));
  wasm_v128_store(y + 12, SUB(MUL(scale, wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(b))), low));
}

INLINE v128_t round_away(v128_t v) {
  v128_t size = wasm_f32x4_abs(v), floor = wasm_f32x4_floor(size), rest = SUB(size, floor);
  return wasm_v128_bitselect(v, ADD(floor, wasm_f32x4_floor(ADD(rest, rest))), wasm_i32x4_splat((i32)0x80000000));
}

KERNEL(quantize_q8_0, quantize_q8_0) {
  const f32 *x = DATA(const f32, a->x);
  u8 *out = DATA(u8, a->blocks);
  for (u32 n = a->rows * (a->cols / 32); n; n--, x += 32, out += 34) {
    if (!in_range(x, 32)) return FAIL(VALUE, ARG_quantize_q8_0_x);
    v128_t size = wasm_f32x4_abs(wasm_v128_load(x));
    UNROLL for (u32 i = 4; i < 32; i += 4) size = wasm_f32x4_pmax(size, wasm_f32x4_abs(wasm_v128_load(x + i)));
    const f32 d = most(size) / 127.0f;
    const v128_t to = SPLAT(inverse(d, STORED(d)));
    put_f16(out, d);
    UNROLL for (u32 i = 0; i < 32; i += 16) {
      v128_t q[4];
      UNROLL for (u32 k = 0; k < 4; k++) q[k] = round_away(MUL(wasm_v128_load(x + i + 4 * k), to));
      wasm_v128_store(out + 2 + i, bytes(q[0], q[1], q[2], q[3]));
    }
  }
  return 0;
}

KERNEL(quantize_q4_0, quantize_q4_0) {
  const f32 *x = DATA(const f32, a->x);
  u8 *out = DATA(u8, a->blocks);
  for (u32 n = a->rows * (a->cols / 32); n; n--, x += 32, out += 18) {
    if (!in_range(x, 32)) return FAIL(VALUE, ARG_quantize_q4_0_x);
    const f32 d = extreme(x, 32) / -8.0f;
    const v128_t to = SPLAT(inverse(d, STORED(d)));
    put_f16(out, d);
    v128_t half[2];
    UNROLL for (u32 h = 0; h < 2; h++) {
      v128_t q[4];  // conversion drops the fraction; nothing is below 0
      UNROLL for (u32 k = 0; k < 4; k++) {
        q[k] = wasm_f32x4_pmin(ADD(MUL(wasm_v128_load(x + 16 * h + 4 * k), to), SPLAT(8.5f)), SPLAT(15.0f));
      }
      half[h] = bytes(q[0], q[1], q[2], q[3]);
    }
    wasm_v128_store(out + 2, wasm_v128_or(half[0], wasm_i8x16_shl(half[1], 4)));
  }
  return 0;
}

// The nearest of levels `least` ... `most` for (x + low) * to, of 16 values.
INLINE v128_t levels16(const f32 *x, v128_t low, v128_t to, const f32 from, const f32 until) {
  v128_t q[4];
  UNROLL for (u32 k = 0; k < 4; k++) {
    v128_t level = wasm_f32x4_nearest(MUL(ADD(wasm_v128_load(x + 4 * k), low), to));
    q[k] = wasm_f32x4_pmin(wasm_f32x4_pmax(level, SPLAT(from)), SPLAT(until));
  }
  return bytes(q[0], q[1], q[2], q[3]);
}

// Eight numbers >= 0 in units of their largest / 63: the unit as float16 holds it, and each as 0 ... 63.
INLINE f32 six_bits(const f32 *each, u8 *units) {
  f32 top = each[0];
  for (u32 j = 1; j < 8; j++) top = each[j] > top ? each[j] : top;
  const f32 unit = STORED(top / 63.0f), to = inverse(unit, unit);
  for (u32 j = 0; j < 8; j++) {
    f32 n = __builtin_rintf(each[j] * to);
    units[j] = (u8)(n > 63.0f ? 63.0f : n);
  }
  return unit;
}

INLINE void block_q4_k(const f32 *x, const f32 *w, const i32 weighted, u8 *out) {
  f32 scale[8], low[8];
  u8 sc[8], m[8];
  for (u32 j = 0; j < 8; j++) fit_affine(x + 32 * j, weighted ? w + 32 * j : 0, weighted, scale + j, low + j);
  const f32 d = six_bits(scale, sc), dmin = six_bits(low, m);
  put_f16(out, d), put_f16(out + 2, dmin);
  for (u32 j = 0; j < 4; j++) {
    out[4 + j] = (u8)(sc[j] | sc[j + 4] >> 4 << 6);
    out[8 + j] = (u8)(m[j] | m[j + 4] >> 4 << 6);
    out[12 + j] = (u8)((sc[j + 4] & 15) | (m[j + 4] & 15) << 4);
  }
  for (u32 j = 0; j < 8; j += 2) {
    const f32 s0 = d * sc[j], s1 = d * sc[j + 1];
    const v128_t t0 = SPLAT(inverse(s0, s0)), t1 = SPLAT(inverse(s1, s1)), l0 = SPLAT(dmin * m[j]), l1 = SPLAT(dmin * m[j + 1]);
    UNROLL for (u32 i = 0; i < 32; i += 16) {
      v128_t a = levels16(x + 32 * j + i, l0, t0, 0.0f, 15.0f), b = levels16(x + 32 * j + 32 + i, l1, t1, 0.0f, 15.0f);
      wasm_v128_store(out + 16 + 16 * j + i, wasm_v128_or(a, wasm_i8x16_shl(b, 4)));
    }
  }
}

INLINE void block_q6_k(const f32 *x, const f32 *w, const i32 weighted, u8 *out) {
  f32 scale[16];
  for (u32 j = 0; j < 16; j++) scale[j] = fit_scale(x + 16 * j, weighted ? w + 16 * j : 0, weighted);
  const f32 d = STORED(extreme(scale, 16) / -128.0f), to = inverse(d, d);
  i8 *sc = (i8 *)out + 192;
  put_f16(out + 208, d);
  for (u32 j = 0; j < 16; j++) {
    f32 n = __builtin_rintf(scale[j] * to);
    sc[j] = (i8)(n > 127.0f ? 127.0f : n < -128.0f ? -128.0f : n);
  }
  for (u32 h = 0; h < 2; h++)
    for (u32 i = 0; i < 32; i += 16) {
      v128_t q[4];  // of values 32 apart
      UNROLL for (u32 k = 0; k < 4; k++) {
        const u32 at = 128 * h + 32 * k + i;
        const f32 s = d * sc[at / 16];
        q[k] = wasm_i8x16_add(levels16(x + at, SPLAT(0.0f), SPLAT(inverse(s, s)), -32.0f, 31.0f), wasm_i8x16_splat(32));
      }
      const v128_t four = wasm_i8x16_splat(15);
      wasm_v128_store(out + 64 * h + i, wasm_v128_or(wasm_v128_and(q[0], four), wasm_i8x16_shl(q[2], 4)));
      wasm_v128_store(out + 64 * h + 32 + i, wasm_v128_or(wasm_v128_and(q[1], four), wasm_i8x16_shl(q[3], 4)));
      v128_t high = wasm_u8x16_shr(q[0], 4);
      UNROLL for (u32 k = 1; k < 4; k++) high = wasm_v128_or(high, wasm_i8x16_shl(wasm_u8x16_shr(q[k], 4), 2 * k));
      wasm_v128_store(out + 128 + 32 * h + i, high);
    }
}

#define NARROW_K(op, block, size)                                                             \
  KERNEL(op, op) {                                                                            \
    const f32 *x = DATA(const f32, a->x), *w = DATA(const f32, a->importance);                \
    u8 *out = DATA(u8, a->blocks);                                                            \
    const u32 across = a->cols / 256;                                                         \
    for (u32 j = 0; w && j < a->cols; j++)                                                    \
      if (!(w[j] >= 0 && w[j] <= 1e6f)) return FAIL(VALUE, ARG_##op##_importance);            \
    for (u32 row = 0; across && row < a->rows; row++)                                         \
      for (u32 j = 0; j < across; j++, x += 256, out += size) {                               \
        if (!in_range(x, 256)) return FAIL(VALUE, ARG_##op##_x);                              \
        if (w) block(x, w + 256 * j, 1, out);                                                 \
        else block(x, 0, 0, out);                                                             \
      }                                                                                       \
    return 0;                                                                                 \
  }

NARROW_K(quantize_q4_k, block_q4_k, 144)
NARROW_K(quantize_q6_k, block_q6_k, 210)

KERNEL(dequantize_q8_0, dequantize_q8_0) {
  const u8 *in = DATA(const u8, a->blocks);
  f32 *y = DATA(f32, a->y);
  for (u32 n = a->rows * (a->cols / 32); n; n--, y += 32, in += 34) {
    const v128_t d = SPLAT(get_f16(in));
    spread16(y, wasm_v128_load(in + 2), d, SPLAT(0.0f));
    spread16(y + 16, wasm_v128_load(in + 18), d, SPLAT(0.0f));
  }
  return 0;
}

KERNEL(dequantize_q4_0, dequantize_q4_0) {
  const u8 *in = DATA(const u8, a->blocks);
  f32 *y = DATA(f32, a->y);
  for (u32 n = a->rows * (a->cols / 32); n; n--, y += 32, in += 18) {
    const v128_t d = SPLAT(get_f16(in)), q = wasm_v128_load(in + 2), eight = wasm_i8x16_splat(8);
    spread16(y, wasm_i8x16_sub(wasm_v128_and(q, wasm_i8x16_splat(15)), eight), d, SPLAT(0.0f));
    spread16(y + 16, wasm_i8x16_sub(wasm_u8x16_shr(q, 4), eight), d, SPLAT(0.0f));
  }
  return 0;
}

KERNEL(dequantize_q4_k, dequantize_q4_k) {
  const u8 *in = DATA(const u8, a->blocks);
  f32 *y = DATA(f32, a->y);
  for (u32 n = a->rows * (a->cols / 256); n; n--, in += 144) {
    const f32 d = get_f16(in), dmin = get_f16(in + 2);
    for (u32 j = 0; j < 8; j++, y += 32) {
      const u8 *p = in + 4 + (j & 3), *q = in + 16 + 16 * (j & ~1u);
      const u32 sc = j < 4 ? p[0] & 63u : (p[8] & 15u) | (u32)(p[0] >> 6 << 4), m = j < 4 ? p[4] & 63u : p[8] >> 4 | (u32)(p[4] >> 6 << 4);
      const v128_t scale = SPLAT(d * (f32)sc), low = SPLAT(dmin * (f32)m);
      UNROLL for (u32 i = 0; i < 32; i += 16) {
        v128_t v = wasm_v128_load(q + i);
        spread16(y + i, j & 1 ? wasm_u8x16_shr(v, 4) : wasm_v128_and(v, wasm_i8x16_splat(15)), scale, low);
      }
    }
  }
  return 0;
}

KERNEL(dequantize_q6_k, dequantize_q6_k) {
  const u8 *in = DATA(const u8, a->blocks);
  f32 *y = DATA(f32, a->y);
  for (u32 n = a->rows * (a->cols / 256); n; n--, in += 210) {
    const i8 *sc = (const i8 *)in + 192;
    const f32 d = get_f16(in + 208);
    for (u32 h = 0; h < 2; h++, y += 128, sc += 8)
      UNROLL for (u32 k = 0; k < 4; k++)
        UNROLL for (u32 i = 0; i < 32; i += 16) {
          const v128_t zero = SPLAT(0.0f), scale = SPLAT(d * sc[2 * k + i / 16]);
          v128_t low = wasm_v128_load(in + 64 * h + 32 * (k & 1) + i), high = wasm_v128_load(in + 128 + 32 * h + i);
          low = k & 2 ? wasm_u8x16_shr(low, 4) : wasm_v128_and(low, wasm_i8x16_splat(15));
          high = wasm_i8x16_shl(wasm_v128_and(wasm_u8x16_shr(high, 2 * k), wasm_i8x16_splat(3)), 4);
          spread16(y + 32 * k + i, wasm_i8x16_sub(wasm_v128_or(low, high), wasm_i8x16_splat(32)), scale, zero);
        }
  }
  return 0;
}
