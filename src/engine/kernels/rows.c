// Rows that move: embedding, gather with sums, and the weighted combination of expert rows, with their gradients.
// No row is written by two tasks: a gradient gathers, in rising order, what was read from its row.

#include "blocks.h"
#include "vector.h"

/// to = factor from, or to += factor from.
static void add_row(float *to, const float *from, float factor, size_t d, bool onto) {
  if (onto) EACH_VECTOR(d, put(to + i, take(to + i, left, 0) + take(from + i, left, 0) * factor, left));
  else EACH_VECTOR(d, put(to + i, take(from + i, left, 0) * factor, left));
}

static void clear_row(float *to, size_t d) { memset(to, 0, d * sizeof *to); }
static void copy_row(float *to, const float *from, size_t d) { memcpy(to, from, d * sizeof *to); }

static void embedding_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t d = size_of(x[4]);
  Range tokens = block_at(task, size_of(x[3]), rows_of_block(d));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++)
    copy_row(x[2].floats + t * d, x[0].floats + (size_t)x[1].ints[t] * d, d);
}

/// w [·, d], id [tokens], y [tokens, d], tokens, d: y[t] = w[id[t]].
KERNEL(embedding) {
  parallel(embedding_tokens, x, blocks_of(size_of(x[3]), rows_of_block(size_of(x[4]))));
  return true;
}

/// For each row the places that read it, in rising order: places[first[row]] … places[first[row + 1] − 1].
typedef struct {
  uint32_t *first, *places;
} Readers;

/// Counting sort of the places 0 … count − 1 by row_of[place]; negative rows have no readers. False without memory.
static bool list_readers(const int32_t *row_of, size_t count, size_t rows, Readers *readers) {
  uint32_t *first = (uint32_t *)scratch(rows + 2), *places = (uint32_t *)scratch(count + 1);
  if (!first || !places) return false;
  memset(first, 0, (rows + 2) * sizeof *first);
  for (size_t i = 0; i < count; i++)
    if (row_of[i] >= 0) first[row_of[i] + 2]++;
  for (size_t row = 2; row < rows + 2; row++) first[row] += first[row - 1];
  for (size_t i = 0; i < count; i++) // first[row + 1] is where the row's next reader goes, and ends as the row's end
    if (row_of[i] >= 0) places[first[row_of[i] + 1]++] = (uint32_t)i;
  *readers = (Readers){first, places};
  return true;
}

typedef struct {
  Readers readers;
  const float *from, *factor; // factor per place, or NULL for 1
  float *to;
  size_t rows, d, per_row; // place p reads row p / per_row of `from`
} Collect;

static void collect_rows(const void *context, uint32_t task, unsigned thread) {
  const Collect *c = context;
  size_t d = c->d;
  Range rows = block_at(task, c->rows, rows_of_block(d));
  (void)thread;
  for (size_t row = rows.start; row < rows.end; row++) {
    uint32_t start = c->readers.first[row], end = c->readers.first[row + 1];
    if (start == end) clear_row(c->to + row * d, d);
    for (uint32_t i = start; i < end; i++) {
      uint32_t place = c->readers.places[i];
      add_row(c->to + row * d, c->from + place / c->per_row * d, c->factor ? c->factor[place] : 1, d, i > start);
    }
  }
}

/// dy [tokens, d], id [tokens], dw [vocabulary, d], tokens, vocabulary, d: dw[v] = Σ dy[t] over id[t] = v, in order of t.
KERNEL(embedding_gradient) {
  Collect c = {.from = x[0].floats, .to = x[2].floats, .rows = size_of(x[4]), .d = size_of(x[5]), .per_row = 1};
  if (!list_readers(x[1].ints, size_of(x[3]), c.rows, &c.readers)) return false;
  parallel(collect_rows, &c, blocks_of(c.rows, rows_of_block(c.d)));
  return true;
}

static void gather_sum_rows(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t width = size_of(x[4]), d = size_of(x[5]);
  Range rows = block_at(task, size_of(x[3]), rows_of_block(d));
  (void)thread;
  for (size_t row = rows.start; row < rows.end; row++) {
    float *to = x[2].floats + row * d;
    bool onto = false;
    for (const int32_t *index = x[1].ints + row * width; index < x[1].ints + (row + 1) * width; index++) {
      if (*index < 0) continue;
      add_row(to, x[0].floats + (size_t)*index * d, 1, d, onto);
      onto = true;
    }
    if (!onto) clear_row(to, d);
  }
}

/// x [·, d], index [rows, width], y [rows, d], rows, width, d: y[m] = Σ_r x[index[m, r]], −1 left out.
KERNEL(gather_sum) {
  parallel(gather_sum_rows, x, blocks_of(size_of(x[3]), rows_of_block(size_of(x[5]))));
  return true;
}

static void combine_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t k = size_of(x[5]), d = size_of(x[6]);
  Range tokens = block_at(task, size_of(x[4]), rows_of_block(d));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++) {
    float *to = x[3].floats + t * d;
    bool onto = false;
    for (size_t slot = t * k; slot < (t + 1) * k; slot++) {
      int32_t row = x[2].ints[slot];
      if (row < 0) continue;
      add_row(to, x[0].floats + (size_t)row * d, x[1].floats[slot], d, onto);
      onto = true;
    }
    if (!onto) clear_row(to, d);
  }
}

/// y [·, d], gate [tokens, k], inverse [tokens, k], out [tokens, d], tokens, k, d: out[t] = Σ_j gate[t, j] y[inverse[t, j]].
KERNEL(combine) {
  parallel(combine_tokens, x, blocks_of(size_of(x[4]), rows_of_block(size_of(x[6]))));
  return true;
}

static void gate_gradient_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t k = size_of(x[7]), d = size_of(x[8]);
  Range tokens = block_at(task, size_of(x[6]), rows_of_block(d));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++)
    for (size_t slot = t * k; slot < (t + 1) * k; slot++) {
      int32_t row = x[3].ints[slot];
      x[5].floats[slot] = row < 0 ? 0 : (float)dot(x[2].floats + t * d, x[0].floats + (size_t)row * d, d);
    }
}

/// y [rows, d], gate [tokens, k], dout [tokens, d], inverse [tokens, k], dy [rows, d], dgate [tokens, k], tokens, k, d, rows:
/// dy[inverse[t, j]] = gate[t, j] dout[t]; dgate[t, j] = dout[t] · y[inverse[t, j]].
KERNEL(combine_gradient) {
  size_t tokens = size_of(x[6]), k = size_of(x[7]);
  Collect c = {.from = x[2].floats, .factor = x[1].floats, .to = x[4].floats, .rows = size_of(x[9]), .d = size_of(x[8]), .per_row = k};
  if (!list_readers(x[3].ints, tokens * k, c.rows, &c.readers)) return false;
  parallel(gate_gradient_tokens, x, blocks_of(tokens, rows_of_block(c.d)));
  parallel(collect_rows, &c, blocks_of(c.rows, rows_of_block(c.d)));
  return true;
}
