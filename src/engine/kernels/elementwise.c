// Elementwise arithmetic, softmax over rows and SwiGLU, cut into blocks by size alone.
// SwiGLU (Shazeer 2020): y = g σ(g) u with σ(g) = 1 / (1 + e^−g).

#include "blocks.h"
#include "vector.h"

/// What a task of a matrix does: some rows whole, or a part of the only row.
static void cut_matrix(uint32_t task, size_t rows, size_t columns, Range *row, Range *column) {
  *row = rows == 1 ? block_at(0, 1, 1) : block_at(task, rows, rows_of_block(columns));
  *column = rows == 1 ? block_at(task, columns, BLOCK) : block_at(0, columns, columns);
}

static uint32_t cuts_of(size_t rows, size_t columns) {
  return rows == 1 ? blocks_of(columns, BLOCK) : blocks_of(rows, rows_of_block(columns));
}

/// The next lanes of a row, or one number in all of them where it has only one.
static inline Floats lanes_of(const float *row, size_t step, size_t i, size_t left) {
  return step ? take(row + i, left, 1) : all(*row);
}

/// out[r, c] = a[r a_row + c a_step] OPERATOR b[r b_row + c b_step], the steps being 0 or 1.
#define ARITHMETIC(name, OPERATOR)                                                                     \
  static void name##_task(const void *context, uint32_t task, unsigned thread) {                       \
    const Argument *x = context;                                                                       \
    size_t columns = size_of(x[4]), a_step = size_of(x[6]), b_step = size_of(x[8]);                    \
    Range row, column;                                                                                 \
    (void)thread;                                                                                      \
    cut_matrix(task, size_of(x[3]), columns, &row, &column);                                                  \
    for (size_t r = row.start; r < row.end; r++) {                                                     \
      const float *a = x[0].floats + r * size_of(x[5]) + column.start * a_step;                        \
      const float *b = x[1].floats + r * size_of(x[7]) + column.start * b_step;                        \
      float *out = x[2].floats + r * columns + column.start;                                           \
      EACH_VECTOR(column.count, put(out + i, lanes_of(a, a_step, i, left) OPERATOR lanes_of(b, b_step, i, left), left)); \
    }                                                                                                  \
  }                                                                                                    \
  KERNEL(name) {                                                                                       \
    parallel(name##_task, x, cuts_of(size_of(x[3]), size_of(x[4])));                                   \
    return true;                                                                                       \
  }

/// a, b, out [rows, columns], rows, columns, a_row, a_step, b_row, b_step: a and b may be one row, one column or one number.
ARITHMETIC(add, +)
ARITHMETIC(subtract, -)
ARITHMETIC(multiply, *)
ARITHMETIC(divide, /)

static void exponential_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[2]), BLOCK);
  const float *from = x[0].floats + r.start;
  float *to = x[1].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, put(to + i, exponential(take(from + i, left, 0)), left));
}

/// x, y [n], n: y = e^x.
KERNEL(exponential_each) {
  parallel(exponential_block, x, blocks_of(size_of(x[2]), BLOCK));
  return true;
}

static void logarithm_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[2]), BLOCK);
  (void)thread;
  for (size_t i = r.start; i < r.end; i++) x[1].floats[i] = (float)logarithm((double)x[0].floats[i]);
}

/// x, y [n], n: y = ln x.
KERNEL(logarithm_each) {
  parallel(logarithm_block, x, blocks_of(size_of(x[2]), BLOCK));
  return true;
}

/// y = e^(x − top), and their sum; n is at most CHUNK. y may be x.
static double shifted_exponentials(const float *x, float *y, size_t n, float top) {
  Floats sum = {0};
  EACH_VECTOR(n, {
    Floats e = exponential(take(x + i, left, -__builtin_inff()) - top);
    put(y + i, e, left);
    sum += e;
  });
  return total(sum);
}

static void softmax_row(const float *x, float *y, size_t width) {
  float top = top_of(x, width);
  double sum = 0;
  for (size_t start = 0; start < width; start += CHUNK)
    sum += shifted_exponentials(x + start, y + start, width - start < CHUNK ? width - start : CHUNK, top);
  float share = (float)(1 / sum);
  EACH_VECTOR(width, put(y + i, take(y + i, left, 0) * share, left));
}

static void softmax_rows(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t width = size_of(x[3]);
  Range rows = block_at(task, size_of(x[2]), rows_of_block(width));
  (void)thread;
  for (size_t row = rows.start; row < rows.end; row++)
    softmax_row(x[0].floats + row * width, x[1].floats + row * width, width);
}

/// x, y [rows, width], rows, width: y = e^x / Σ e^x within each row.
KERNEL(softmax) {
  parallel(softmax_rows, x, blocks_of(size_of(x[2]), rows_of_block(size_of(x[3]))));
  return true;
}

static void swiglu_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  const float *gate = x[0].floats + r.start, *up = x[1].floats + r.start;
  float *y = x[2].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, {
    Floats g = take(gate + i, left, 0);
    put(y + i, g / (1.0f + exponential(-g)) * take(up + i, left, 0), left);
  });
}

/// gate, up, y [n], n: y = g σ(g) u.
KERNEL(swiglu) {
  parallel(swiglu_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void swiglu_gradient_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[5]), BLOCK);
  const float *gate = x[0].floats + r.start, *up = x[1].floats + r.start, *gradient = x[2].floats + r.start;
  float *dgate = x[3].floats + r.start, *dup = x[4].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, {
    Floats g = take(gate + i, left, 0), u = take(up + i, left, 0), dy = take(gradient + i, left, 0);
    Floats sigmoid = 1.0f / (1.0f + exponential(-g)), silu = g * sigmoid;
    put(dgate + i, dy * u * (sigmoid + silu * (1.0f - sigmoid)), left);
    put(dup + i, dy * silu, left);
  });
}

/// gate, up, dy, dgate, dup [n], n: dup = dy g σ; dgate = dy u σ (1 + g (1 − σ)).
KERNEL(swiglu_gradient) {
  parallel(swiglu_gradient_block, x, blocks_of(size_of(x[5]), BLOCK));
  return true;
}
