// One register tile: C[TILE_ROWS, TILE_COLUMNS] += A B over k, from a panel of A [k, TILE_ROWS] and one of B
// [k, TILE_COLUMNS], both packed. Each element adds up its terms in the order of k.

#define WIDE (TILE_COLUMNS / LANES)

/// Where a tile is written: (accumulate ? C : 0) + sums (+ bias), the first `rows` and `columns` of them.
typedef struct {
  float *c;
  const float *bias;
  size_t stride, rows, columns;
  bool accumulate;
} Corner;

static void write_part(const float *sum, Corner corner) {
  for (size_t i = 0; i < corner.rows; i++) {
    for (size_t j = 0; j < corner.columns; j++) {
      float *c = corner.c + i * corner.stride + j;
      float value = sum[i * TILE_COLUMNS + j];
      if (corner.bias) value += corner.bias[j];
      if (corner.accumulate) value += *c;
      *c = value;
    }
  }
}

static void run_tile(size_t k, const float *restrict a, const float *restrict b, Corner corner) {
  Floats sum[TILE_ROWS][WIDE];
#pragma GCC unroll 16
  for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) sum[i][j] = all(0);
  for (size_t p = 0; p < k; p++, a += TILE_ROWS, b += TILE_COLUMNS) {
    Floats row[WIDE];
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) row[j] = load(b + j * LANES);
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < WIDE; j++) sum[i][j] += a[i] * row[j];
  }
  if (corner.rows < TILE_ROWS || corner.columns < TILE_COLUMNS) {
    write_part((const float *)sum, corner);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) {
      float *c = corner.c + (size_t)i * corner.stride + j * LANES;
      Floats value = sum[i][j];
      if (corner.bias) value += load(corner.bias + j * LANES);
      if (corner.accumulate) value += load(c);
      store(c, value);
    }
}
