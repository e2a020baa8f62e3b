// One register tile: C[ROWS, COLUMNS] += A B over k, from a panel of A [k, ROWS] and a panel of B [k, COLUMNS].
// Included once per instruction set with NAME, TARGET, LANES (floats in a register), ROWS and WIDE (registers in a row).
// Every variant adds up in the same order, so those with fused multiply-add give the same bits.

#define JOIN2(x, y) x##_##y
#define JOIN(x, y) JOIN2(x, y)
#define VECTOR JOIN(Vector, NAME)
#define COLUMNS (LANES * WIDE)

typedef float VECTOR __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

TARGET static void JOIN(tile, NAME)(size_t k, const float *restrict a, const float *restrict b, Corner corner) {
  VECTOR sum[ROWS][WIDE];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) sum[i][j] = (VECTOR){0};
  for (size_t p = 0; p < k; p++, a += ROWS, b += COLUMNS) {
    VECTOR row[WIDE];
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) row[j] = *(const VECTOR *)(b + j * LANES);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < WIDE; j++) sum[i][j] += a[i] * row[j];
  }
  if (corner.rows < ROWS || corner.columns < COLUMNS) {
    write_part((const float *)sum, COLUMNS, corner);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) {
      VECTOR *c = (VECTOR *)(corner.c + i * corner.stride + j * LANES);
      VECTOR value = sum[i][j];
      if (corner.bias) value += *(const VECTOR *)(corner.bias + j * LANES);
      if (corner.accumulate) value += *c;
      *c = value;
    }
}

#undef VECTOR
#undef JOIN
#undef JOIN2
#undef NAME
#undef TARGET
#undef LANES
#undef ROWS
#undef WIDE
#undef COLUMNS
