// Cross-entropy per token in one pass over the vocabulary, in chunks, keeping the running maximum (Milakov and
// Gimelshein 2018): loss = ln Σ e^(l − top) − (l_label − top). No softmax is kept: top and the share 1 / Σ e^(l − top)
// give it back. dlogits = dy (softmax − onehot). A token with label −100 has loss 0 and gradient 0.

#include "blocks.h"
#include "vector.h"

#define IGNORED (-100)

/// Σ e^(x − top) for fp32 sums of at most CHUNK terms.
static double sum_of_exponentials(const float *x, size_t n, float top) {
  Floats sum = {0};
  EACH_VECTOR(n, sum += exponential(take(x + i, left, -__builtin_inff()) - top));
  return total(sum);
}

/// Largest of a row and Σ e^(x − largest).
static double normaliser(const float *x, size_t n, float *top) {
  double sum = 0;
  *top = -__FLT_MAX__;
  for (size_t start = 0; start < n; start += CHUNK, x += CHUNK) {
    size_t count = n - start < CHUNK ? n - start : CHUNK;
    float here = top_of(x, count);
    if (here > *top) {
      sum *= (double)exponential(all(*top - here))[0];
      *top = here;
    }
    sum += sum_of_exponentials(x, count, *top);
  }
  return sum;
}

static void cross_entropy_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t vocabulary = size_of(x[5]);
  Range tokens = block_at(task, size_of(x[4]), rows_of_block(vocabulary));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++) {
    const float *logits = x[0].floats + t * vocabulary;
    int32_t label = x[1].ints[t];
    float top = 0;
    double sum = 1, loss = 0;
    if (label != IGNORED) {
      sum = normaliser(logits, vocabulary, &top);
      loss = logarithm(sum) - ((double)logits[label] - (double)top);
    }
    x[2].floats[t] = (float)loss;
    x[3].floats[2 * t] = top;
    x[3].floats[2 * t + 1] = (float)(1 / sum);
  }
}

/// logits [tokens, vocabulary], label [tokens], loss [tokens], top and share [tokens, 2], tokens, vocabulary.
KERNEL(cross_entropy) {
  parallel(cross_entropy_tokens, x, blocks_of(size_of(x[4]), rows_of_block(size_of(x[5]))));
  return true;
}

static void cross_entropy_gradient_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t vocabulary = size_of(x[6]);
  Range tokens = block_at(task, size_of(x[5]), rows_of_block(vocabulary));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++) {
    const float *logits = x[0].floats + t * vocabulary, top = x[2].floats[2 * t], dy = x[3].floats[t];
    float *out = x[4].floats + t * vocabulary, factor = dy * x[2].floats[2 * t + 1];
    int32_t label = x[1].ints[t];
    if (label == IGNORED) {
      memset(out, 0, vocabulary * sizeof *out);
      continue;
    }
    EACH_VECTOR(vocabulary, put(out + i, exponential(take(logits + i, left, 0) - top) * factor, left));
    out[label] -= dy;
  }
}

/// logits [tokens, vocabulary], label [tokens], top and share [tokens, 2], dy [tokens], dlogits [tokens, vocabulary],
/// tokens, vocabulary.
KERNEL(cross_entropy_gradient) {
  parallel(cross_entropy_gradient_tokens, x, blocks_of(size_of(x[5]), rows_of_block(size_of(x[6]))));
  return true;
}
