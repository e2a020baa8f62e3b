// Register tiles: all sums of a few rows and columns of C stay in registers while k runs. Each element adds up its
// terms in the order of k, whatever the tile, so that all tiles give the same bits.

#ifndef MOE_TILE_H
#define MOE_TILE_H

#include "pack.h"

// The main tile, and a lower and wider one for few rows. Sums, a row of B and an element of A fill the registers.
#if LANES == 16
#define TILE_ROWS 12
#elif defined(__wasm__) // V8 keeps no more sums than these in registers: six rows run at half the speed
#define TILE_ROWS 4
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

INLINE Side add_product_side(Side sum, float a, Side b) {
#if defined(__wasm_relaxed_simd__)
  return (Side)__builtin_wasm_relaxed_madd_f32x4(a - (Side){0}, b, sum);
#else
  return sum + a * b;
#endif
}

/// Memory that a tile asks for while it computes: in every 16 steps of k the line at `from` and those `row` floats
/// apart behind it; then `from` moves by `step`.
typedef struct {
  const float *from;
  size_t row, step;
} Ahead;

/// sum[i * wide + j] = Σ_p a[i * a_row + p * a_column] b[p * b_row + j].
INLINE void sum_tile(int rows, int wide, size_t k, const float *a, size_t a_row, size_t a_column, const float *b,
                     size_t b_row, Ahead ahead, Floats *sum) {
  UNROLL
  for (int i = 0; i < rows * wide; i++) sum[i] = (Floats){0};
  for (size_t left = k; left > 0; ahead.from += ahead.step) {
    const float *line = ahead.from;
    size_t steps = left < LINE ? left : LINE;
    left -= steps;
    for (; steps > 0; steps--, a += a_column, b += b_row, line += ahead.row) {
      Floats row[FLAT_WIDE];
      __builtin_prefetch(line, 0, 2);
      UNROLL
      for (int j = 0; j < wide; j++) row[j] = load(b + j * LANES);
      UNROLL
      for (int i = 0; i < rows; i++) {
        Floats left_side = all(a[(size_t)i * a_row]);
        UNROLL
        for (int j = 0; j < wide; j++) sum[i * wide + j] = add_product(sum[i * wide + j], left_side, row[j]);
      }
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

/// Sums that are read as numbers live in memory all the time: so a copy of them is.
INLINE void copy_sums(int count, const Floats *sum, Floats *copy) {
  UNROLL
  for (int i = 0; i < count; i++) copy[i] = sum[i];
}

INLINE void write_tile(int rows, int wide, const Floats *sum, Corner corner) {
  if (corner.columns < (size_t)wide * LANES) {
    Floats spilled[TILE_ROWS * TILE_WIDE];
    copy_sums(rows * wide, sum, spilled);
    write_part((const float *)spilled, (size_t)wide * LANES, corner);
    return;
  }
  UNROLL
  for (int i = 0; i < rows; i++) {
    if ((size_t)i >= corner.rows) continue;
    UNROLL
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

/// A tile from a panel of A [k, rows] and rows of B that lie b_row apart.
#define TILE(NAME, ROWS, WIDE)                                                                             \
  static void NAME(size_t k, const float *restrict a, const float *restrict b, size_t b_row, Ahead ahead, \
                   Corner corner) {                                                                        \
    Floats sum[(ROWS) * (WIDE)];                                                                           \
    sum_tile(ROWS, WIDE, k, a, 1, ROWS, b, b_row, ahead, sum);                                             \
    write_tile(ROWS, WIDE, sum, corner);                                                                   \
  }
TILE(run_tile, TILE_ROWS, TILE_WIDE)
TILE(run_narrow_tile, TILE_ROWS, 1)
TILE(run_low_tile, LOW_ROWS, LOW_WIDE)
TILE(run_low_narrow_tile, LOW_ROWS, 1)
TILE(run_flat_tile, 1, FLAT_WIDE)
TILE(run_flat_narrow_tile, 1, 1)

#define COPY_ROW (K_BLOCK + 16) // floats between copied columns: no two begin at the same place of the cache

/// The transpose of a tile: column i of B has its term p at b + i * I_STEP + p * P_STEP; A is a panel of its rows.
#define TURNED_TILE(NAME, WIDE, I_STEP, P_STEP)                                                            \
  static void NAME(size_t k, const float *restrict b, size_t b_row, const float *restrict a, Ahead ahead, \
                   Corner corner) {                                                                        \
    Floats sum[TILE_ROWS * (WIDE)], spilled[TILE_ROWS * (WIDE)];                                           \
    (void)b_row;                                                                                           \
    sum_tile(TILE_ROWS, WIDE, k, b, I_STEP, P_STEP, a, (WIDE) * LANES, ahead, sum);                        \
    copy_sums(TILE_ROWS * (WIDE), sum, spilled);                                                           \
    write_turned((const float *)spilled, (WIDE) * LANES, corner);                                          \
  }
TURNED_TILE(run_copied_tile, TILE_WIDE, COPY_ROW, 1)
TURNED_TILE(run_copied_narrow_tile, 1, COPY_ROW, 1)
TURNED_TILE(run_lying_tile, TILE_WIDE, 1, b_row)
TURNED_TILE(run_lying_narrow_tile, 1, 1, b_row)

/// sum += SIDE columns of B, turned in registers, times a, for the terms p … p + SIDE − 1.
INLINE Side add_dots(Side sum, size_t p, const float *a, const float *const *b_columns) {
  Side block[SIDE];
  UNROLL
  for (size_t r = 0; r < SIDE; r++) block[r] = load_side(b_columns[r] + p);
  transpose(block);
  UNROLL
  for (size_t r = 0; r < SIDE; r++) sum = add_product_side(sum, a[p + r], block[r]);
  return sum;
}

/// One row of A, contiguous in k, times `groups` groups of SIDE columns of B that are too.
INLINE void sum_dots(int groups, size_t k, const float *a, const float *const *b_columns, Corner corner) {
  Side sum[2], spilled[2];
  size_t even = k / SIDE * SIDE;
  UNROLL
  for (int g = 0; g < groups; g++) sum[g] = (Side){0};
  for (size_t p = 0; p < even; p += SIDE)
    UNROLL
    for (int g = 0; g < groups; g++) sum[g] = add_dots(sum[g], p, a, b_columns + SIDE * g);
  for (size_t p = even; p < k; p++)
    UNROLL
    for (int g = 0; g < groups; g++) {
      Side last = {0};
      for (int r = 0; r < SIDE; r++) last[r] = b_columns[SIDE * g + r][p];
      sum[g] = add_product_side(sum[g], a[p], last);
    }
  UNROLL
  for (int g = 0; g < groups; g++) spilled[g] = sum[g];
  write_part((const float *)spilled, (size_t)groups * SIDE, corner);
}

#define DOT_COLUMNS (2 * SIDE)
static void run_dots(size_t k, const float *restrict a, const float *const *b_columns, Corner corner) {
  sum_dots(2, k, a, b_columns, corner);
}
static void run_half_dots(size_t k, const float *restrict a, const float *const *b_columns, Corner corner) {
  sum_dots(1, k, a, b_columns, corner);
}

#endif
