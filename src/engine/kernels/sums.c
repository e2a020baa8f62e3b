// Sums and largest values of rows, columns and whole arrays. Within CHUNK terms sums stay in fp32 vectors, beyond it they
// run in double precision; pieces are cut by size alone and summed in order.

#include "blocks.h"
#include "vector.h"

#define CHUNK 1024      // terms whose sum may stay in fp32
#define PARTIAL_ROWS 16 // rows at least in a partial sum of columns, which bounds the memory for partial sums

/// The largest of n floats, and no less than the lowest finite one, so that e^(−∞ − top) is 0. NaN may pass unseen.
static float top_of(const float *x, size_t n) {
  Floats top = all(-__FLT_MAX__);
  EACH_VECTOR(n, top = larger(take(x + i, left, -__FLT_MAX__), top));
  return largest(top);
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t start = 0; start < n; start += CHUNK) {
    const float *from = a + start, *with = b + start;
    Floats part = {0};
    EACH_VECTOR(n - start < CHUNK ? n - start : CHUNK, part += take(from + i, left, 0) * take(with + i, left, 0));
    sum += total(part);
  }
  return sum;
}

static void row_sum_rows(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t columns = size_of(x[3]);
  Range rows = block_at(task, size_of(x[2]), rows_of_block(columns));
  (void)thread;
  for (size_t row = rows.start; row < rows.end; row++) {
    double sum = 0;
    for (size_t start = 0; start < columns; start += CHUNK) {
      const float *from = x[0].floats + row * columns + start;
      Floats part = {0};
      EACH_VECTOR(columns - start < CHUNK ? columns - start : CHUNK, part += take(from + i, left, 0));
      sum += total(part);
    }
    x[1].floats[row] = (float)sum;
  }
}

/// x [rows, columns], out [rows], rows, columns: out = Σ over columns.
KERNEL(row_sum) {
  parallel(row_sum_rows, x, blocks_of(size_of(x[2]), rows_of_block(size_of(x[3]))));
  return true;
}

/// out [columns] = Σ over rows of parts [rows, columns], a row after the other, in double precision.
static void add_rows(const float *parts, float *out, size_t rows, size_t columns) {
  for (size_t start = 0; start < columns; start += CHUNK / 4) {
    double sum[CHUNK / 4] = {0};
    size_t count = columns - start < CHUNK / 4 ? columns - start : CHUNK / 4;
    for (size_t row = 0; row < rows; row++)
      for (size_t i = 0; i < count; i++) sum[i] += (double)parts[row * columns + start + i];
    for (size_t i = 0; i < count; i++) out[start + i] = (float)sum[i];
  }
}

/// Rows that are summed into one partial sum.
static size_t partial_rows(size_t columns) {
  size_t rows = rows_of_block(columns);
  return rows < PARTIAL_ROWS ? PARTIAL_ROWS : rows > CHUNK ? CHUNK : rows;
}

typedef struct {
  const float *x;
  float *parts;
  size_t rows, columns;
} ColumnSum;

static void column_sum_rows(const void *context, uint32_t task, unsigned thread) {
  const ColumnSum *c = context;
  size_t columns = c->columns;
  Range rows = block_at(task, c->rows, partial_rows(columns));
  const float *x = c->x + rows.start * columns;
  float *part = c->parts + task * columns;
  (void)thread;
  EACH_VECTOR(columns, {
    Floats sum = {0};
    for (size_t row = 0; row < rows.count; row++) sum += take(x + row * columns + i, left, 0);
    put(part + i, sum, left);
  });
}

/// x [rows, columns], out [columns], rows, columns: out = Σ over rows.
KERNEL(column_sum) {
  ColumnSum c = {x[0].floats, NULL, size_of(x[2]), size_of(x[3])};
  uint32_t blocks = blocks_of(c.rows, partial_rows(c.columns));
  c.parts = scratch(blocks * c.columns + 1);
  if (!c.parts) return false;
  parallel(column_sum_rows, &c, blocks);
  add_rows(c.parts, x[1].floats, blocks, c.columns);
  return true;
}

typedef struct {
  const float *x;
  double *parts;
  size_t n;
} Squares;

static void squares_of_block(const void *context, uint32_t task, unsigned thread) {
  const Squares *s = context;
  Range r = block_at(task, s->n, BLOCK);
  const float *x = s->x + r.start;
  Doubles low = {0}, high = {0};
  (void)thread;
  EACH_VECTOR(r.count, {
    Floats value = take(x + i, left, 0);
    Doubles a = widen_low(value), b = widen_high(value);
    low += a * a;
    high += b * b;
  });
  low += high;
  double sum = 0;
  for (int i = 0; i < LANES / 2; i++) sum += low[i];
  s->parts[task] = sum;
}

/// x [n], out [1], n: out = Σ x², in double precision.
KERNEL(sum_of_squares) {
  Squares s = {x[0].floats, NULL, size_of(x[2])};
  uint32_t blocks = blocks_of(s.n, BLOCK);
  s.parts = (double *)scratch(2 * (size_t)blocks + 1);
  if (!s.parts) return false;
  parallel(squares_of_block, &s, blocks);
  double sum = 0;
  for (uint32_t i = 0; i < blocks; i++) sum += s.parts[i];
  x[1].floats[0] = (float)sum;
  return true;
}
