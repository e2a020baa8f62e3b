// Register tiles: all sums of a few rows and columns of C stay in registers while k runs. Each element adds up its terms
// in the order of k, whatever the tile, so that all tiles give the same bits.

#ifndef MOE_TILE_H
#define MOE_TILE_H

#include "pack.h"

// The main tile, and a lower and wider one for few rows. Sums, a row of B and an element of A fill the registers.
#if LANES == 16
#define TILE_ROWS 12
#else
#define TILE_ROWS 6
#endif
#define TILE_WIDE 2
#define TILE_COLUMNS (TILE_WIDE * LANES)
#define LOW_ROWS (TILE_ROWS / 2)
#define LOW_WIDE 4
#define FLAT_WIDE 8 // of the tile of one row

#define K_BLOCK 256 // k in one pass of a tile

#define INLINE static inline __attribute__((always_inline))

/// Where a tile is written: (accumulate ? C : 0) + sums (+ bias), the first `rows` and `columns` of them.
typedef struct {
  float *c;
  const float *bias;
  size_t stride, rows, columns;
  bool accumulate;
} Corner;

/// One number in all lanes; it minus zero is itself, where plus zero would be one more instruction.
INLINE Floats spread(float value) { return value - (Floats){0}; }
INLINE Four spread_four(float value) { return value - (Four){0}; }

INLINE Floats add_product(Floats sum, Floats a, Floats b) {
#if defined(__wasm_relaxed_simd__)
  return (Floats)__builtin_wasm_relaxed_madd_f32x4(a, b, sum);
#else
  return sum + a * b;
#endif
}

INLINE Four add_product_four(Four sum, Four a, Four b) {
#if defined(__wasm_relaxed_simd__)
  return (Four)__builtin_wasm_relaxed_madd_f32x4(a, b, sum);
#else
  return sum + a * b;
#endif
}

/// sum[i * wide + j] = Σ_p a[i * a_row + p * a_column] b[p * b_row + j].
INLINE void sum_tile(int rows, int wide, size_t k, const float *a, size_t a_row, size_t a_column, const float *b,
                     size_t b_row, Floats *sum) {
#pragma GCC unroll 32
  for (int i = 0; i < rows * wide; i++) sum[i] = (Floats){0};
  for (size_t p = 0; p < k; p++, a += a_column, b += b_row) {
    Floats row[FLAT_WIDE];
#pragma GCC unroll 8
    for (int j = 0; j < wide; j++) row[j] = load(b + j * LANES);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      Floats left = spread(a[(size_t)i * a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < wide; j++) sum[i * wide + j] = add_product(sum[i * wide + j], left, row[j]);
    }
  }
}

/// One element of C; sum is at [row, column] of the tile.
static inline void write_one(float sum, Corner corner, size_t row, size_t column) {
  float *c = corner.c + row * corner.stride + column;
  if (corner.bias) sum += corner.bias[column];
  if (corner.accumulate) sum += *c;
  *c = sum;
}

static void write_part(const float *sum, size_t width, Corner corner) {
  for (size_t i = 0; i < corner.rows; i++)
    for (size_t j = 0; j < corner.columns; j++) write_one(sum[i * width + j], corner, i, j);
}

INLINE void write_tile(int rows, int wide, const Floats *sum, Corner corner) {
  if (corner.columns < (size_t)wide * LANES) {
    Floats spilled[TILE_ROWS * TILE_WIDE]; // a copy, or the sums would live in memory
#pragma GCC unroll 32
    for (int i = 0; i < rows * wide; i++) spilled[i] = sum[i];
    write_part((const float *)spilled, (size_t)wide * LANES, corner);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    if ((size_t)i >= corner.rows) return;
#pragma GCC unroll 8
    for (int j = 0; j < wide; j++) {
      float *c = corner.c + (size_t)i * corner.stride + j * LANES;
      Floats value = sum[i * wide + j];
      if (corner.bias) value += load(corner.bias + j * LANES);
      if (corner.accumulate) value += load(c);
      store(c, value);
    }
  }
}

/// Writes the transpose: element [row, column] of C is sum[column * width + row].
static void write_turned(const float *sum, size_t width, Corner corner) {
  size_t even_rows = corner.rows / 4 * 4, even_columns = corner.columns / 4 * 4;
  for (size_t i = 0; i < even_rows; i += 4) {
    for (size_t j = 0; j < even_columns; j += 4) {
      Four block[4];
      for (size_t r = 0; r < 4; r++) block[r] = load_four(sum + (j + r) * width + i);
      transpose_four(block);
      for (size_t r = 0; r < 4; r++) {
        float *c = corner.c + (i + r) * corner.stride + j;
        if (corner.bias) block[r] += load_four(corner.bias + j);
        if (corner.accumulate) block[r] += load_four(c);
        store_four(c, block[r]);
      }
    }
  }
  for (size_t j = 0; j < corner.columns; j++)
    for (size_t i = j < even_columns ? even_rows : 0; i < corner.rows; i++)
      write_one(sum[j * width + i], corner, i, j);
}

/// Asks for the memory of a tile before its sums begin, so that it is there when they end.
INLINE void expect_tile(int rows, int wide, Corner corner) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
    for (int j = 0; j < wide; j += 64 / (4 * LANES)) __builtin_prefetch(corner.c + (size_t)i * corner.stride + j * LANES, 1);
}

/// A tile from a panel of A [k, rows] and rows of B that lie b_row apart.
#define TILE(NAME, ROWS, WIDE)                                                                               \
  static void NAME(size_t k, const float *restrict a, const float *restrict b, size_t b_row, Corner corner) { \
    Floats sum[(ROWS) * (WIDE)];                                                                             \
    expect_tile(ROWS, WIDE, corner);                                                                         \
    sum_tile(ROWS, WIDE, k, a, 1, ROWS, b, b_row, sum);                                                      \
    write_tile(ROWS, WIDE, sum, corner);                                                                     \
  }
TILE(run_tile, TILE_ROWS, TILE_WIDE)
TILE(run_narrow_tile, TILE_ROWS, 1)
TILE(run_low_tile, LOW_ROWS, LOW_WIDE)
TILE(run_low_narrow_tile, LOW_ROWS, 1)
TILE(run_flat_tile, 1, FLAT_WIDE)
TILE(run_flat_narrow_tile, 1, 1)

#define COPY_ROW (K_BLOCK + 16) // floats from one copied row to the next: no two begin at the same place of the cache

/// The transpose of a tile, from TILE_ROWS columns of B, each contiguous in k, COPY_ROW apart, and a panel of rows of A.
#define TURNED_TILE(NAME, WIDE)                                                                            \
  static void NAME(size_t k, const float *restrict b_columns, const float *restrict a, Corner corner) {     \
    Floats sum[TILE_ROWS * (WIDE)];                                                                        \
    sum_tile(TILE_ROWS, WIDE, k, b_columns, COPY_ROW, 1, a, (WIDE) * LANES, sum);                          \
    write_turned((const float *)sum, (WIDE) * LANES, corner);                                              \
  }
TURNED_TILE(run_turned_tile, TILE_WIDE)
TURNED_TILE(run_turned_narrow_tile, 1)

#define DOT_COLUMNS 16

/// sum += four columns of B, turned in registers, times a, over p … end.
INLINE Four add_dots(Four sum, size_t p, size_t end, const float *a, const float *const *b_columns) {
  for (; p + 4 <= end; p += 4) {
    Four block[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) block[r] = load_four(b_columns[r] + p);
    transpose_four(block);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) sum = add_product_four(sum, spread_four(a[p + (size_t)r]), block[r]);
  }
  for (; p < end; p++)
    sum = add_product_four(sum, spread_four(a[p]),
                           (Four){b_columns[0][p], b_columns[1][p], b_columns[2][p], b_columns[3][p]});
  return sum;
}

/// One row of A, contiguous in k, times DOT_COLUMNS columns of B that are too, a line of the cache at a time.
static void run_dots(size_t k, const float *restrict a, const float *const *b_columns, Corner corner) {
  Four sum[DOT_COLUMNS / 4] = {{0}};
  size_t p = 0;
  for (; p + LINE <= k; p += LINE)
#pragma GCC unroll 4
    for (int g = 0; g < DOT_COLUMNS / 4; g++) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) __builtin_prefetch(b_columns[4 * g + r] + p + 8 * LINE);
      sum[g] = add_dots(sum[g], p, p + LINE, a, b_columns + 4 * g);
    }
  for (int g = 0; g < DOT_COLUMNS / 4; g++) sum[g] = add_dots(sum[g], p, k, a, b_columns + 4 * g);
  write_part((const float *)sum, DOT_COLUMNS, corner);
}

#endif
