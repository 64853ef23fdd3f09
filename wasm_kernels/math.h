// Elementary functions of four float32 at once. The accuracies stated were measured on dense grids against float64
// (tests/unit/kernels/test_math.py); NaN gives NaN everywhere. Of one number: lane1(exp4, x).
#ifndef PYRUVLLM_MATH_H
#define PYRUVLLM_MATH_H

#include "vector.h"

#define SPLAT(x) wasm_f32x4_const_splat(x)

static inline v128_t abs4(v128_t x) { return wasm_v128_and(x, wasm_i32x4_const_splat(0x7fffffff)); }

// x = n ln 2 + r with |r| <= ln 2 / 2: e^r - 1, and n in the low bits of *shifted. Adding 1.5 x 2^23 rounds to a whole number and leaves it
// there. The polynomial is the minimax one of (e^r - 1 - r) / r^2, error 3e-9.
static inline v128_t reduced_exp4(v128_t x, v128_t *shifted) {
  *shifted = MADD(x, SPLAT(0x1.715476p+0f), SPLAT(0x1.8p23f));
  v128_t n = wasm_f32x4_sub(*shifted, SPLAT(0x1.8p23f));
  v128_t r = MADD(n, SPLAT(-0x1.63p-1f), x);  // ln 2 in two parts: n times the first is exact
  r = MADD(n, SPLAT(0x1.bd0106p-13f), r);
  v128_t p = MADD(r, SPLAT(0x1.6db42ap-10f), SPLAT(0x1.123b56p-7f));
  p = MADD(p, r, SPLAT(0x1.55545ep-5f));
  p = MADD(p, r, SPLAT(0x1.55548ep-3f));
  p = MADD(p, r, SPLAT(0.5f));
  return MADD(wasm_f32x4_mul(r, r), p, r);
}

// e^x, relative error below 1e-7. Below 2^-126 (x < -87.3365) it is 0, above float32's range infinity.
static inline v128_t exp4(v128_t x) {
  v128_t shifted, p = wasm_f32x4_add(reduced_exp4(x, &shifted), SPLAT(1));
  v128_t y = wasm_i32x4_add(p, wasm_i32x4_shl(shifted, 23));  // into the exponent, as 2^128 is no float32
  y = wasm_v128_and(y, wasm_f32x4_ge(x, SPLAT(-0x1.5d5896p6f)));
  return wasm_v128_bitselect(y, wasm_f32x4_add(x, SPLAT(__builtin_inff())), wasm_f32x4_le(x, SPLAT(0x1.62e42ep6f)));
}

// e^x for x <= 0 (or NaN), as in a softmax: the same without the upper end, and faster.
static inline v128_t exp4_negative(v128_t x) {
  v128_t shifted, p = wasm_f32x4_add(reduced_exp4(x, &shifted), SPLAT(1));
  v128_t scale = wasm_i32x4_add(SPLAT(1), wasm_i32x4_shl(shifted, 23));  // 2^n
  return wasm_v128_andnot(wasm_f32x4_mul(p, scale), wasm_f32x4_lt(x, SPLAT(-0x1.5d5896p6f)));
}

// 1 / (1 + e^-x), relative error below 2e-7. 0 for x < -88.72.
static inline v128_t sigmoid4(v128_t x) {
  return wasm_f32x4_div(SPLAT(1), wasm_f32x4_add(SPLAT(1), exp4(wasm_f32x4_neg(x))));
}

// x / (1 + e^-x), relative error below 2e-7; NaN for -infinity, -0 for other x < -88.72.
static inline v128_t silu4(v128_t x) { return wasm_f32x4_div(x, wasm_f32x4_add(SPLAT(1), exp4(wasm_f32x4_neg(x)))); }

// tanh x = m / (m + 2) with m = e^2|x| - 1, relative error below 2e-7 (so it is x near 0). m is 2^n p + (2^n - 1), where p = e^r - 1
// loses nothing near 0.
static inline v128_t tanh4(v128_t x) {
  v128_t size = wasm_f32x4_pmin(abs4(x), SPLAT(10));
  v128_t twice = wasm_f32x4_add(size, size);
  v128_t shifted, p = reduced_exp4(twice, &shifted);
  v128_t scale = wasm_i32x4_add(SPLAT(1), wasm_i32x4_shl(shifted, 23));  // 2^n
  v128_t m = wasm_f32x4_add(wasm_f32x4_mul(scale, p), wasm_f32x4_sub(scale, SPLAT(1)));
  v128_t y = wasm_f32x4_div(m, wasm_f32x4_add(m, SPLAT(2)));
  y = wasm_v128_or(y, wasm_f32x4_ne(x, x));
  return wasm_v128_bitselect(x, y, wasm_i32x4_const_splat((i32)0x80000000));
}

// ln x, relative error below 1e-7 (near 1 too). x = 2^n m, 0.7 < m < 1.42; with f = m - 1 and s = f / (2 + f), ln m = 2 atanh s, written as
// f - (f^2 / 2 - s (f^2 / 2 + R)) so that f, which is exact, carries it. 0 gives -infinity, x < 0 NaN; subnormal x are right.
static inline v128_t log4(v128_t x) {
  v128_t small = wasm_f32x4_lt(x, SPLAT(0x1p-126f));
  v128_t bits = wasm_v128_bitselect(wasm_f32x4_mul(x, SPLAT(0x1p23f)), x, small);
  v128_t above = wasm_i32x4_sub(bits, wasm_i32x4_const_splat(0x3f3504f3));  // the bits of sqrt(1/2)
  v128_t n = wasm_f32x4_convert_i32x4(wasm_i32x4_shr(above, 23));
  n = wasm_f32x4_sub(n, wasm_v128_and(small, SPLAT(23)));
  v128_t m = wasm_i32x4_add(wasm_v128_and(above, wasm_i32x4_const_splat(0x007fffff)), wasm_i32x4_const_splat(0x3f3504f3));
  v128_t f = wasm_f32x4_sub(m, SPLAT(1));
  v128_t s = wasm_f32x4_div(f, wasm_f32x4_add(f, SPLAT(2)));
  v128_t z = wasm_f32x4_mul(s, s);
  v128_t series = MADD(z, SPLAT(2.0f / 9), SPLAT(2.0f / 7));
  series = MADD(z, series, SPLAT(2.0f / 5));
  series = wasm_f32x4_mul(z, MADD(z, series, SPLAT(2.0f / 3)));
  v128_t half = wasm_f32x4_mul(wasm_f32x4_mul(f, f), SPLAT(0.5f));
  v128_t rest = MADD(n, SPLAT(-0x1.bd0106p-13f), wasm_f32x4_mul(s, wasm_f32x4_add(half, series)));
  v128_t y = MADD(n, SPLAT(0x1.63p-1f), wasm_f32x4_sub(f, wasm_f32x4_sub(half, rest)));
  // x - x is 0 for a finite x, NaN for the others; infinity stays itself, and 0 gives minus infinity.
  y = wasm_v128_bitselect(y, x, wasm_f32x4_lt(x, SPLAT(__builtin_inff())));
  y = wasm_v128_or(y, wasm_f32x4_lt(x, SPLAT(0)));
  return wasm_v128_bitselect(SPLAT(-__builtin_inff()), y, wasm_f32x4_eq(x, SPLAT(0)));
}

// Sines and cosines of angles given as float64 pairs (low: lanes 0 and 1): absolute error below 1e-7 for |x| <= 1e6 and
// 1.5e-7 for |x| <= 1e9; NaN from 3.4e9 on.
// The angle less a multiple of pi/2, |r| <= pi/4, is found in float64 (one constant is enough there) and goes on as float32.
static inline void sincos4(v128_t low, v128_t high, v128_t *sine, v128_t *cosine) {
  const v128_t step = wasm_f64x2_const_splat(0x1.921fb54442d18p0), turns = wasm_f64x2_const_splat(0x1.45f306dc9c883p-1);
  v128_t n0 = wasm_f64x2_nearest(wasm_f64x2_mul(low, turns)), n1 = wasm_f64x2_nearest(wasm_f64x2_mul(high, turns));
  v128_t r0 = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_sub(low, wasm_f64x2_mul(n0, step)));
  v128_t r1 = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_sub(high, wasm_f64x2_mul(n1, step)));
  v128_t r = wasm_i64x2_shuffle(r0, r1, 0, 2);
  v128_t n = wasm_i64x2_shuffle(wasm_i32x4_trunc_sat_f64x2_zero(n0), wasm_i32x4_trunc_sat_f64x2_zero(n1), 0, 2);
  // Where n left int32, the remainder means nothing.
  r = wasm_v128_or(r, wasm_i32x4_gt(wasm_i32x4_abs(n), wasm_i32x4_const_splat(0x7ffffffe)));
  r = wasm_v128_or(r, wasm_i32x4_eq(n, wasm_i32x4_const_splat((i32)0x80000000)));
  v128_t z = wasm_f32x4_mul(r, r);
  v128_t s = MADD(z, SPLAT(-0x1.994e5ap-13f), SPLAT(0x1.11076p-7f));
  s = MADD(z, s, SPLAT(-0x1.555546p-3f));
  s = MADD(wasm_f32x4_mul(z, r), s, r);
  v128_t c = MADD(z, SPLAT(0x1.9a020ap-16f), SPLAT(-0x1.6c0c8ap-10f));
  c = MADD(z, c, SPLAT(0x1.55554ap-5f));
  c = MADD(wasm_f32x4_mul(z, z), c, MADD(z, SPLAT(-0.5f), SPLAT(1)));
  v128_t odd = wasm_i32x4_ne(wasm_v128_and(n, wasm_i32x4_const_splat(1)), SPLAT(0));
  v128_t two = wasm_i32x4_const_splat(2);  // quadrants 2 and 3 turn the sine's sign, 1 and 2 the cosine's
  v128_t sine_sign = wasm_i32x4_shl(wasm_v128_and(n, two), 30);
  v128_t cosine_sign = wasm_i32x4_shl(wasm_v128_and(wasm_i32x4_add(n, wasm_i32x4_const_splat(1)), two), 30);
  *sine = wasm_v128_xor(wasm_v128_bitselect(c, s, odd), sine_sign);
  *cosine = wasm_v128_xor(wasm_v128_bitselect(s, c, odd), cosine_sign);
}

// The same of float32 angles.
static inline void sincos4_f32(v128_t x, v128_t *sine, v128_t *cosine) {
  sincos4(wasm_f64x2_promote_low_f32x4(x), wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle(x, x, 1, 0)), sine, cosine);
}

static inline v128_t sin4(v128_t x) {
  v128_t sine, cosine;
  sincos4_f32(x, &sine, &cosine);
  return sine;
}

static inline v128_t cos4(v128_t x) {
  v128_t sine, cosine;
  sincos4_f32(x, &sine, &cosine);
  return cosine;
}

// 1 / sqrt x, both rounded to nearest: relative error below 1.2e-7.
static inline v128_t rsqrt4(v128_t x) { return wasm_f32x4_div(SPLAT(1), wasm_f32x4_sqrt(x)); }

// x / 2 (1 + erf(x / sqrt 2)); erf by Abramowitz and Stegun 7.1.26: absolute error below 5e-7.
static inline v128_t gelu4(v128_t x) {
  v128_t u = wasm_f32x4_mul(abs4(x), SPLAT(0x1.6a09e6p-1f));
  v128_t t = wasm_f32x4_div(SPLAT(1), MADD(u, SPLAT(0.3275911f), SPLAT(1)));
  v128_t p = MADD(t, SPLAT(1.061405429f), SPLAT(-1.453152027f));
  p = MADD(t, p, SPLAT(1.421413741f));
  p = MADD(t, p, SPLAT(-0.284496736f));
  p = wasm_f32x4_mul(t, MADD(t, p, SPLAT(0.254829592f)));
  v128_t tail = wasm_f32x4_mul(p, exp4_negative(wasm_f32x4_neg(wasm_f32x4_mul(u, u))));  // 1 - erf |u|
  v128_t half = wasm_f32x4_mul(tail, SPLAT(0.5f));
  return wasm_f32x4_mul(x, wasm_v128_bitselect(half, wasm_f32x4_sub(SPLAT(1), half), wasm_f32x4_lt(x, SPLAT(0))));
}

#define lane1(function, x) wasm_f32x4_extract_lane(function(wasm_f32x4_splat(x)), 0)

#endif
