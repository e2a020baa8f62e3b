// Elementwise arithmetic, softmax over rows and SwiGLU, cut into blocks by size alone.
// SwiGLU (Shazeer 2020): y = g σ(g) u with σ(g) = 1 / (1 + e^−g).

#include "blocks.h"
#include "vector.h"

static void add_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  const float *a = x[0].floats + r.start, *b = x[1].floats + r.start;
  float *out = x[2].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, put(out + i, take(a + i, left, 0) + take(b + i, left, 0), left));
}

/// a, b, out [n], n: out = a + b.
KERNEL(add) {
  parallel(add_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void multiply_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  const float *a = x[0].floats + r.start, *b = x[1].floats + r.start;
  float *out = x[2].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, put(out + i, take(a + i, left, 0) * take(b + i, left, 0), left));
}

/// a, b, out [n], n: out = a b.
KERNEL(multiply) {
  parallel(multiply_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

static void scale_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[3]), BLOCK);
  const float *a = x[0].floats + r.start;
  float *out = x[2].floats + r.start;
  Floats factor = all((float)x[1].number);
  (void)thread;
  EACH_VECTOR(r.count, put(out + i, factor * take(a + i, left, 0), left));
}

/// a [n], factor (number), out [n], n: out = factor a.
KERNEL(scale) {
  parallel(scale_block, x, blocks_of(size_of(x[3]), BLOCK));
  return true;
}

/// y = e^(x − top), and their sum; n is at most CHUNK. y may be x.
static double exponentials(const float *x, float *y, size_t n, float top) {
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
    sum += exponentials(x + start, y + start, width - start < CHUNK ? width - start : CHUNK, top);
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
