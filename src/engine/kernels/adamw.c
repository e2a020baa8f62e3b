// AdamW in place (Loshchilov and Hutter 2019, algorithm 2; torch.optim.AdamW's order of decay and step), one pass over
// memory: g ← scale · g; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ keep − rate m / (√v · root + ε),
// where keep = 1 − ηλ, rate = η / (1 − β₁ᵗ) and root = 1 / √(1 − β₂ᵗ).

#include "blocks.h"
#include "vector.h"

/// Subnormal numbers become 0: moments of rows that never get a gradient would decay into them and stay, and some
/// processors take a hundred cycles over each.
static inline Floats flushed(Floats x) {
  return choose((Ints)(x < __FLT_MIN__) & (Ints)(x > -__FLT_MIN__), all(0), x);
}

static void adamw_block(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  Range r = block_at(task, size_of(x[4]), BLOCK);
  Floats beta1 = all((float)x[5].number), rest1 = all((float)(1 - x[5].number));
  Floats beta2 = all((float)x[6].number), rest2 = all((float)(1 - x[6].number));
  Floats keep = all((float)x[7].number), rate = all((float)x[8].number), root = all((float)x[9].number);
  Floats epsilon = all((float)x[10].number), scale = all((float)x[11].number);
  float *parameter = x[0].floats + r.start, *m = x[2].floats + r.start, *v = x[3].floats + r.start;
  const float *gradient = x[1].floats + r.start;
  (void)thread;
  EACH_VECTOR(r.count, {
    Floats g = take(gradient + i, left, 0) * scale;
    Floats mean = flushed(beta1 * take(m + i, left, 0) + rest1 * g);
    Floats square = flushed(beta2 * take(v + i, left, 0) + rest2 * (g * g));
    Floats change = rate * mean / (square_root(square) * root + epsilon);
    put(m + i, mean, left);
    put(v + i, square, left);
    put(parameter + i, take(parameter + i, left, 0) * keep - change, left);
  });
}

/// parameter, gradient, m, v [n], n, beta1, beta2, keep, rate, root, epsilon, scale: changes parameter, m and v.
KERNEL(adamw) {
  parallel(adamw_block, x, blocks_of(size_of(x[4]), BLOCK));
  return true;
}
