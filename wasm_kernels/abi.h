// The one binary interface between kernels and their hosts. How to add a kernel: README.md.
//
// An operation is `int32_t op(const op_args *a)`: 0, or a failure made by FAIL below. The struct op_args, and op_check, which refuses
// arguments whose sizes do not fit each other, are made from FAMILY.toml by the build: a kernel's body runs only after its check.
// Kernels have no libc, no allocator, no data at fixed addresses, and use little stack (the host's): scratch memory is an operand.
#ifndef PYRUVLLM_ABI_H
#define PYRUVLLM_ABI_H

#include <stdint.h>

#define ABI_VERSION 1

typedef uint8_t u8;
typedef int8_t i8;
typedef uint16_t u16;
typedef int16_t i16;
typedef uint32_t u32;
typedef int32_t i32;
typedef uint64_t u64;
typedef int64_t i64;
typedef float f32;
typedef double f64;
typedef u16 f16;  // its bits: WASM has no such type, see float16.h

typedef struct {  // an operand: where it begins in linear memory, and how long it is
  u32 at;
  u32 bytes;
} span;

// DATA(f32, a->rows): the operand as a pointer. Zero where an optional operand is absent.
#define DATA(type, operand) ((type *)(uintptr_t)(operand).at)

// Why a kernel did nothing more. `position` counts the operation's arguments (conditions for CONDITION) from 0;
// the build defines ARG_op_name for each.
enum { SIZE = 1, ALIGN = 2, CONDITION = 3, INDEX = 4, VALUE = 5, OVERLAP = 6 };
#define FAIL(kind, position) (-(i32)((kind) | (u32)(position) << 8))

// The saturating arithmetic of extents (pyruvllm/kernels/expression.py is its twin).
static inline u64 times(u64 x, u64 y) { return !x || !y ? 0 : __builtin_clzll(x) + __builtin_clzll(y) < 64 ? ~0ull : x * y; }
static inline u64 plus(u64 x, u64 y) { return x + y < x ? ~0ull : x + y; }
static inline u64 minus(u64 x, u64 y) { return x > y ? x - y : 0; }
static inline u64 over(u64 x, u64 y) { return y ? x / y : 0; }
static inline u64 rest(u64 x, u64 y) { return y ? x % y : 0; }

// Whether m bytes of one operand and n bytes of another have a byte in common.
static inline i32 overlap(span x, u64 m, span y, u64 n) { return m && n && (y.at - x.at < m || x.at - y.at < n); }

// KERNEL(op, name) { body }: exports `name`, one implementation of operation `op`. In the body the arguments are `a`.
#define KERNEL(op, name)                                                                         \
  static i32 name##_body(const op##_args *a);                                                    \
  __attribute__((export_name(#name))) i32 name(const op##_args *a) {                             \
    i32 refused = op##_check(a);                                                                 \
    return refused ? refused : name##_body(a);                                                   \
  }                                                                                              \
  static i32 name##_body(const op##_args *a)

#endif
