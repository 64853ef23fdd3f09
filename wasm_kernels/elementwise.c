// Kernels are called NAME_f32: a module that exported `exp` could hide the C library's in the interpreter it is loaded into.
#include "elementwise.gen.h"
#include "math.h"

#define FOUR(p, i) wasm_v128_load((p) + (i))
#define ONE(p, i) wasm_v128_load32_zero((p) + (i))

// KERNEL_MAP(op, VALUE): y[i] = VALUE for all i < n, where IN is four of an operand's numbers, or one and three zeros.
#define KERNEL_MAP(op, value)                                                                \
  KERNEL(op, op##_f32) {                                                                     \
    f32 *out = DATA(f32, a->y);                                                              \
    u32 i = 0;                                                                               \
    for (; i + 4 <= a->n; i += 4) wasm_v128_store(out + i, value(FOUR));                     \
    for (; i < a->n; i++) out[i] = wasm_f32x4_extract_lane(value(ONE), 0);                   \
    return 0;                                                                                \
  }
#define IN(load, operand) load(DATA(const f32, a->operand), i)

#define EXP(load) exp4(IN(load, x))
#define LOG(load) log4(IN(load, x))
#define TANH(load) tanh4(IN(load, x))
#define SIGMOID(load) sigmoid4(IN(load, x))
#define SILU(load) silu4(IN(load, x))
#define GELU(load) gelu4(IN(load, x))
#define SIN(load) sin4(IN(load, x))
#define COS(load) cos4(IN(load, x))
#define ADD(load) wasm_f32x4_add(IN(load, y), IN(load, x))
#define SCALE_ADD(load) MADD(wasm_f32x4_splat(a->scale), IN(load, x), IN(load, y))
#define MULTIPLY(load) wasm_f32x4_mul(IN(load, y), IN(load, x))
#define SWIGLU(load) wasm_f32x4_mul(silu4(IN(load, gate)), IN(load, up))

KERNEL_MAP(exp, EXP)
KERNEL_MAP(log, LOG)
KERNEL_MAP(tanh, TANH)
KERNEL_MAP(sigmoid, SIGMOID)
KERNEL_MAP(silu, SILU)
KERNEL_MAP(gelu, GELU)
KERNEL_MAP(sin, SIN)
KERNEL_MAP(cos, COS)
KERNEL_MAP(add, ADD)
KERNEL_MAP(scale_add, SCALE_ADD)
KERNEL_MAP(multiply, MULTIPLY)
KERNEL_MAP(swiglu, SWIGLU)
