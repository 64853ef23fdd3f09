#include "distance.h"
#include "embed.gen.h"

static int in_range(const i32 *tokens, u32 n, u32 vocab) {
  u32 bad = 0;
  TAIL
  for (u32 i = 0; i < n; i++) bad |= (u32)tokens[i] >= vocab;
  return !bad;
}

static int ascending(const u32 *offsets, u32 texts, u32 n) {
  u32 last = 0;
  TAIL
  for (u32 i = 0; i <= texts; last = offsets[i++])
    if (offsets[i] < last) return 0;
  return last <= n;
}

// The mean of `count` rows from their sum, and where asked for its direction alone.
static void finish(f32 *to, u32 count, u32 dim, int normalise) {
  for (int step = 0; step <= normalise; step++) {
    f32 by = step ? __builtin_sqrtf(dot_f32(to, to, dim)) : (f32)count;
    if (by == 0) return;
    u32 j = 0;
    for (; j + 4 <= dim; j += 4) wasm_v128_store(to + j, wasm_f32x4_div(wasm_v128_load(to + j), wasm_f32x4_splat(by)));
    TAIL
    for (; j < dim; j++) to[j] /= by;
  }
}

static inline v128_t get4_f32(const f32 *p) { return wasm_v128_load(p); }
static inline v128_t get4_f16(const f16 *p) { return load_f16x4(p); }
static inline v128_t get4_i8(const i8 *p) {
  return wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p))));
}
static inline f32 get_f32(const f32 *p) { return *p; }
static inline f32 get_f16(const f16 *p) { return load_f16(*p); }
static inline f32 get_i8(const i8 *p) { return *p; }

// Both operations over tables of one type; SCALE: what a row's numbers are times. Four tokens at a time load and store the sum once, and
// have four rows, which are seldom in the cache, on their way together; still each number is added in the order of the tokens.
#define TABLE(kind, SCALE)                                                                                                  \
  KERNEL(lookup_##kind, lookup_##kind) {                                                                                    \
    const i32 *tokens = DATA(const i32, a->tokens);                                                                         \
    f32 *to = DATA(f32, a->rows);                                                                                           \
    if (!in_range(tokens, a->n, a->vocab)) return FAIL(INDEX, ARG_lookup_##kind##_tokens);                                  \
    for (u32 i = 0; i < a->n; i++, to += a->dim) {                                                                          \
      const kind *row = DATA(const kind, a->table) + (u32)tokens[i] * a->dim;                                               \
      const v128_t scale = wasm_f32x4_splat(SCALE(tokens[i]));                                                              \
      u32 j = 0;                                                                                                            \
      for (; j + 4 <= a->dim; j += 4) wasm_v128_store(to + j, wasm_f32x4_mul(get4_##kind(row + j), scale));                 \
      TAIL                                                                                                                  \
      for (; j < a->dim; j++) to[j] = get_##kind(row + j) * SCALE(tokens[i]);                                               \
    }                                                                                                                       \
    return 0;                                                                                                               \
  }                                                                                                                         \
                                                                                                                            \
  static void add4_##kind(f32 *to, const kind *const row[4], const f32 by[4], u32 dim) {                                    \
    const kind *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];                                                      \
    const v128_t x0 = wasm_f32x4_splat(by[0]), x1 = wasm_f32x4_splat(by[1]);                                                \
    const v128_t x2 = wasm_f32x4_splat(by[2]), x3 = wasm_f32x4_splat(by[3]);                                                \
    u32 j = 0;                                                                                                              \
    for (; j + 4 <= dim; j += 4) {                                                                                          \
      v128_t sum = MADD(get4_##kind(r0 + j), x0, wasm_v128_load(to + j));                                                   \
      sum = MADD(get4_##kind(r1 + j), x1, sum);                                                                             \
      sum = MADD(get4_##kind(r2 + j), x2, sum);                                                                             \
      wasm_v128_store(to + j, MADD(get4_##kind(r3 + j), x3, sum));                                                          \
    }                                                                                                                       \
    TAIL                                                                                                                    \
    for (; j < dim; j++)                                                                                                    \
      to[j] = to[j] + get_##kind(r0 + j) * by[0] + get_##kind(r1 + j) * by[1] + get_##kind(r2 + j) * by[2] +                \
              get_##kind(r3 + j) * by[3];                                                                                   \
  }                                                                                                                         \
                                                                                                                            \
  static void add_##kind(f32 *to, const kind *row, f32 by, u32 dim) {                                                       \
    u32 j = 0;                                                                                                              \
    for (; j + 4 <= dim; j += 4)                                                                                            \
      wasm_v128_store(to + j, MADD(get4_##kind(row + j), wasm_f32x4_splat(by), wasm_v128_load(to + j)));                    \
    TAIL                                                                                                                    \
    for (; j < dim; j++) to[j] += get_##kind(row + j) * by;                                                                 \
  }                                                                                                                         \
                                                                                                                            \
  KERNEL(static_embed_##kind, static_embed_##kind) {                                                                        \
    const i32 *tokens = DATA(const i32, a->tokens);                                                                         \
    const u32 *offsets = DATA(const u32, a->offsets);                                                                       \
    const f32 *weights = DATA(const f32, a->weights);                                                                       \
    const kind *table = DATA(const kind, a->table);                                                                         \
    f32 *to = DATA(f32, a->vectors);                                                                                        \
    const u32 dim = a->dim;                                                                                                 \
    if (!in_range(tokens, a->n, a->vocab)) return FAIL(INDEX, ARG_static_embed_##kind##_tokens);                            \
    if (!ascending(offsets, a->texts, a->n)) return FAIL(INDEX, ARG_static_embed_##kind##_offsets);                         \
    for (u32 text = 0; text < a->texts; text++, to += dim) {                                                                \
      u32 i = offsets[text], end = offsets[text + 1];                                                                       \
      for (u32 j = 0; j < dim; j++) to[j] = 0;                                                                              \
      for (; end - i >= 4; i += 4) {                                                                                        \
        const kind *row[4];                                                                                                 \
        f32 by[4];                                                                                                          \
        for (u32 lane = 0; lane < 4; lane++) {                                                                              \
          u32 token = (u32)tokens[i + lane];                                                                                \
          row[lane] = table + token * dim;                                                                                  \
          by[lane] = (weights ? weights[token] : 1) * SCALE(token);                                                         \
        }                                                                                                                   \
        add4_##kind(to, row, by, dim);                                                                                      \
      }                                                                                                                     \
      for (; i < end; i++) add_##kind(to, table + (u32)tokens[i] * dim, (weights ? weights[tokens[i]] : 1) * SCALE(tokens[i]), dim); \
      finish(to, end - offsets[text], dim, a->normalise);                                                                   \
    }                                                                                                                       \
    return 0;                                                                                                               \
  }

#define ONE(token) 1.0f
#define OF_ROW(token) DATA(const f32, a->scales)[token]

TABLE(f32, ONE)
TABLE(f16, ONE)
TABLE(i8, OF_ROW)
