// The WASM vector intrinsics that the kernels' distances use, in clang's 128-bit vectors: the same C for this machine, to compare with.
#pragma once
#include <stdint.h>
#include <string.h>

typedef int32_t v128_t __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t i8x8 __attribute__((vector_size(8)));
typedef uint16_t u16x4 __attribute__((vector_size(8)));

#define F(v) ((f32x4)(v))
#define V(v) ((v128_t)(v))
static inline v128_t wasm_v128_load(const void *p) { v128_t v; memcpy(&v, p, 16); return v; }
#define wasm_f32x4_add(x, y) V(F(x) + F(y))
#define wasm_f32x4_sub(x, y) V(F(x) - F(y))
#define wasm_f32x4_mul(x, y) V(F(x) * F(y))
#define wasm_f32x4_make(a, b, c, d) V(((f32x4){a, b, c, d}))
#define wasm_f32x4_splat(x) wasm_f32x4_make(x, x, x, x)
#define wasm_f32x4_const_splat wasm_f32x4_splat
#define wasm_f32x4_extract_lane(v, n) (F(v)[n])
#define wasm_i32x4_make(a, b, c, d) ((v128_t){a, b, c, d})
#define wasm_i32x4_splat(x) wasm_i32x4_make(x, x, x, x)
#define wasm_i32x4_const_splat wasm_i32x4_splat
#define wasm_i32x4_extract_lane(v, n) (V(v)[n])
#define wasm_i32x4_add(x, y) (V(x) + V(y))
#define wasm_i32x4_sub(x, y) (V(x) - V(y))
#define wasm_i32x4_mul(x, y) (V(x) * V(y))
#define wasm_i32x4_shl(x, n) (V(x) << (n))
#define wasm_u32x4_shr(x, n) V((u32x4)(x) >> (n))
#define wasm_i32x4_gt(x, y) V(V(x) > V(y))
#define wasm_i32x4_lt(x, y) V(V(x) < V(y))
#define wasm_i32x4_shuffle(x, y, a, b, c, d) __builtin_shufflevector(V(x), V(y), a, b, c, d)
#define wasm_v128_and(x, y) (V(x) & V(y))
#define wasm_v128_or(x, y) (V(x) | V(y))
#define wasm_v128_xor(x, y) (V(x) ^ V(y))
#define wasm_v128_bitselect(x, y, m) ((V(x) & V(m)) | (V(y) & ~V(m)))
static inline v128_t wasm_v128_store64_lane_(void *p, v128_t v) { memcpy(p, &v, 8); return v; }
#define wasm_v128_store64_lane(p, v, n) wasm_v128_store64_lane_(p, v)
static inline v128_t wasm_u32x4_load16x4(const void *p) { u16x4 v; memcpy(&v, p, 8); return V(__builtin_convertvector(v, u32x4)); }
static inline v128_t wasm_i16x8_load8x8(const void *p) { i8x8 v; memcpy(&v, p, 8); return V(__builtin_convertvector(v, i16x8)); }
static inline v128_t wasm_u16x8_narrow_i32x4(v128_t x, v128_t y) { return V(((u16x8){x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]})); }
static inline v128_t wasm_i32x4_dot_i16x8(v128_t x, v128_t y) {
#ifdef __SSE2__
  typedef short short8 __attribute__((vector_size(16)));
  return V(__builtin_ia32_pmaddwd128((short8)x, (short8)y));
#else
  i16x8 p = (i16x8)x, q = (i16x8)y;
  v128_t sum;
  for (int n = 0; n < 4; n++) sum[n] = p[2 * n] * q[2 * n] + p[2 * n + 1] * q[2 * n + 1];
  return sum;
#endif
}
static inline v128_t wasm_i8x16_splat(int8_t x) { return V(((i8x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x})); }
#define wasm_i8x16_const_splat wasm_i8x16_splat
#define wasm_i8x16_add(x, y) V((i8x16)(x) + (i8x16)(y))
static inline v128_t wasm_i8x16_popcnt(v128_t x) { for (int n = 0; n < 16; n++) ((u8x16 *)&x)[0][n] = (uint8_t)__builtin_popcount(((u8x16)x)[n]); return x; }
static inline v128_t wasm_u16x8_extadd_pairwise_u8x16(v128_t x) { u8x16 p = (u8x16)x; u16x8 s; for (int n = 0; n < 8; n++) s[n] = p[2 * n] + p[2 * n + 1]; return V(s); }
static inline v128_t wasm_u32x4_extadd_pairwise_u16x8(v128_t x) { u16x8 p = (u16x8)x; u32x4 s; for (int n = 0; n < 4; n++) s[n] = p[2 * n] + p[2 * n + 1]; return V(s); }
