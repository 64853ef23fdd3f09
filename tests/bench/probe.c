// What kernels are measured against, as one more module: reading memory with vectors, and calling a kernel again and again from C.
#include "abi.h"
#include <wasm_simd128.h>

typedef struct { u32 at, bytes, rounds, sum; } read_args;

// Adds up all of it, that many times.
__attribute__((export_name("read"))) i32 read_all(read_args *a) {
  v128_t s0 = wasm_i32x4_const_splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (u32 round = 0; round < a->rounds; round++) {
    const u8 *p = (const u8 *)(uintptr_t)a->at, *end = p + a->bytes / 64 * 64;
    for (; p < end; p += 64) {
      s0 = wasm_i32x4_add(s0, wasm_v128_load(p)), s1 = wasm_i32x4_add(s1, wasm_v128_load(p + 16));
      s2 = wasm_i32x4_add(s2, wasm_v128_load(p + 32)), s3 = wasm_i32x4_add(s3, wasm_v128_load(p + 48));
    }
  }
  a->sum = (u32)wasm_i32x4_extract_lane(wasm_i32x4_add(wasm_i32x4_add(s0, s1), wasm_i32x4_add(s2, s3)), 0);
  return 0;
}

typedef struct { u32 index, args, rounds; } repeat_args;

__attribute__((export_name("repeat"))) i32 repeat(const repeat_args *a) {
  i32 (*kernel)(const void *) = (i32 (*)(const void *))(uintptr_t)a->index;
  for (u32 round = 0; round < a->rounds; round++) {
    i32 status = kernel((const void *)(uintptr_t)a->args);
    if (status) return status;
  }
  return 0;
}
