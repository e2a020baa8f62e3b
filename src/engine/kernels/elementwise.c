// Elementwise arithmetic, softmax over rows and SwiGLU, cut into blocks by size alone.
// SwiGLU (Shazeer 2020): y = g σ(g) u with σ(g) = 1 / (1 + e^−g).

#include "blocks.h"
#include "vector.h"

static void add_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  (void)thread;
  for (size_t i = r.start; i < r.end; i += LANES)
    put(x[2].floats + i, take(x[0].floats + i, r.end - i, 0) + take(x[1].floats + i, r.end - i, 0), r.end - i);
}

/// a, b, out [n], n: out = a + b.
KERNEL(add) {
  parallel(add_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void multiply_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  (void)thread;
  for (size_t i = r.start; i < r.end; i += LANES)
    put(x[2].floats + i, take(x[0].floats + i, r.end - i, 0) * take(x[1].floats + i, r.end - i, 0), r.end - i);
}

/// a, b, out [n], n: out = a b.
KERNEL(multiply) {
  parallel(multiply_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void scale_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  Floats factor = all((float)x[1].number);
  (void)thread;
  for (size_t i = r.start; i < r.end; i += LANES)
    put(x[2].floats + i, factor * take(x[0].floats + i, r.end - i, 0), r.end - i);
}

/// a [n], factor (number), out [n], n: out = factor a.
KERNEL(scale) {
  parallel(scale_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

/// y = e^(x − top), and their sum; n is at most CHUNK. y may be x.
static double exponentials(const float *x, float *y, size_t n, float top) {
  Floats sum = {0};
  for (size_t i = 0; i < n; i += LANES) {
    Floats e = exponential(take(x + i, n - i, -__builtin_inff()) - top);
    put(y + i, e, n - i);
    sum += e;
  }
  return total(sum);
}

static void softmax_row(const float *x, float *y, size_t width) {
  float top = top_of(x, width);
  double sum = 0;
  for (size_t i = 0; i < width; i += CHUNK)
    sum += exponentials(x + i, y + i, width - i < CHUNK ? width - i : CHUNK, top);
  float share = (float)(1 / sum);
  for (size_t i = 0; i < width; i += LANES) put(y + i, take(y + i, width - i, 0) * share, width - i);
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
  (void)thread;
  for (size_t i = r.start; i < r.end; i += LANES) {
    Floats g = take(x[0].floats + i, r.end - i, 0), u = take(x[1].floats + i, r.end - i, 0);
    put(x[2].floats + i, g / (1.0f + exponential(-g)) * u, r.end - i);
  }
}

/// gate, up, y [n], n: y = g σ(g) u.
KERNEL(swiglu) {
  parallel(swiglu_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void swiglu_gradient_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[5]), BLOCK);
  (void)thread;
  for (size_t i = r.start; i < r.end; i += LANES) {
    size_t left = r.end - i;
    Floats g = take(x[0].floats + i, left, 0), u = take(x[1].floats + i, left, 0), dy = take(x[2].floats + i, left, 0);
    Floats sigmoid = 1.0f / (1.0f + exponential(-g)), silu = g * sigmoid;
    put(x[3].floats + i, dy * u * (sigmoid + silu * (1.0f - sigmoid)), left);
    put(x[4].floats + i, dy * silu, left);
  }
}

/// gate, up, dy, dgate, dup [n], n: dup = dy g σ; dgate = dy u σ (1 + g (1 − σ)).
KERNEL(swiglu_gradient) {
  parallel(swiglu_gradient_block, x, blocks_of(size_of(x[5]), BLOCK));
  return true;
}
