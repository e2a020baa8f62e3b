// Rotary positions (Su et al. 2021), half rotation: channels i and i + d/2 of each head turn by the angle of the token's
// position. The gradient is the same turn backwards.

#include "blocks.h"
#include "vector.h"

/// Turns one head: y = (x₁ cos − x₂ sin, x₂ cos + x₁ sin) on its two halves.
static void rotate_head(const float *x, float *y, const float *cosine, const float *sine, float direction, size_t half) {
  EACH_VECTOR(half, {
    Floats first = take(x + i, left, 0), second = take(x + half + i, left, 0);
    Floats c = take(cosine + i, left, 0), s = take(sine + i, left, 0) * direction;
    put(y + i, first * c - second * s, left);
    put(y + half + i, second * c + first * s, left);
  });
}

static void rope_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  const int32_t *row_of = x[2].ints;
  size_t heads = size_of(x[5]), half = size_of(x[6]), d = 2 * half;
  float direction = (float)x[7].number;
  Range tokens = block_at(task, size_of(x[4]), rows_of_block(heads * d));
  const float *from = x[0].floats + tokens.start * heads * d;
  float *to = x[3].floats + tokens.start * heads * d;
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++) {
    const float *cosine = x[1].floats + (size_t)row_of[t] * d;
    for (size_t head = 0; head < heads; head++, from += d, to += d)
      rotate_head(from, to, cosine, cosine + half, direction, half);
  }
}

/// x [tokens, heads, 2 half], table [·, 2 half] (cosines, then sines), row of the table of each token [tokens], y,
/// tokens, heads, half, direction (1, or −1 for the gradient).
KERNEL(rope) {
  parallel(rope_tokens, x, blocks_of(size_of(x[4]), rows_of_block(2 * size_of(x[5]) * size_of(x[6]))));
  return true;
}
