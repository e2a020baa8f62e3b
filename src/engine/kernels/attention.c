// Grouped-query attention (Ainslie et al. 2023), causal inside equal segments: softmax(q kᵀ / √d) v for each head.
// Blocks of queries meet blocks of keys with a running softmax (Dao et al. 2022, "FlashAttention"), so scores exist for
// one pair of blocks at a time.

#include "attention.h"

#define LEAST_SPLIT 8          // blocks of keys that a task takes at least
#define NOTHING_SEEN (-1e30f)  // maximum of no scores

/// What a block of queries has gathered so far: Σ p v [width, lane] over e^(its maximum), the maxima and Σ p.
typedef struct {
  float *mixed, *maximum, *total;
} Gathered;

static size_t gathered_floats(const Attention *x) { return (x->width + 2) * BLOCK_LANES; }

static Gathered gathered_at(float *memory, const Attention *x) {
  return (Gathered){memory, memory + x->width * BLOCK_LANES, memory + (x->width + 1) * BLOCK_LANES};
}

/// The largest of `before` and of a column of scores. Four chains, as comparing takes its time.
static Floats column_maximum(const float *column, size_t rows, size_t lanes, Floats before) {
  Floats a = before, b = before, c = before, d = before;
  size_t j = 0;
  for (; j + 4 <= rows; j += 4, column += 4 * lanes) {
    a = larger(load(column), a);
    b = larger(load(column + lanes), b);
    c = larger(load(column + 2 * lanes), c);
    d = larger(load(column + 3 * lanes), d);
  }
  for (; j < rows; j++, column += lanes) a = larger(load(column), a);
  return larger(larger(a, b), larger(c, d));
}

/// Scores [rows, lane] become weights e^(score − maximum); keep = e^(old maximum − new maximum).
static void running_softmax(float *scores, size_t rows, size_t vectors, Gathered so_far, float *keep) {
  size_t lanes = vectors * LANES;
  for (size_t v = 0; v < lanes; v += LANES) {
    Floats before = load(so_far.maximum + v), maximum = column_maximum(scores + v, rows, lanes, before), sum = {0};
    for (size_t at = v; at < rows * lanes; at += lanes) {
      Floats weight = exponential(load(scores + at) - maximum);
      store(scores + at, weight);
      sum += weight;
    }
    Floats kept = exponential(before - maximum);
    store(keep + v, kept);
    store(so_far.maximum + v, maximum);
    store(so_far.total + v, load(so_far.total + v) * kept + sum);
  }
}

typedef struct {
  Attention attention;
  float *out, *statistics;  // [B, Sq, H, d], [B, Sq, H, 2]
  size_t splits;            // tasks that share the keys of one block of queries
  float *gathered;          // [tasks, width + 2, lane] when there are several splits, else one for each thread
  float *memory;            // of each thread
  size_t memory_floats;
} Forward;

/// Ends a block: adds up its splits, divides by Σ p, and writes out and the statistics, maximum and 1 / Σ p. `rows` is
/// memory for [lane, width].
static void finish_block(const Forward *f, const QueryBlock *block, float *gathered, size_t splits, float *rows) {
  const Attention *x = &f->attention;
  size_t lanes = block->vectors * LANES;
  Gathered sum = gathered_at(gathered, x);
  for (size_t s = 1; s < splits; s++) {
    Gathered more = gathered_at(gathered + s * gathered_floats(x), x);
    for (size_t v = 0; v < lanes; v += LANES) {
      Floats a = load(sum.maximum + v), b = load(more.maximum + v), maximum = larger(a, b);
      Floats keep = exponential(a - maximum), add = exponential(b - maximum);
      for (size_t at = v; at < x->d * lanes; at += lanes)
        store(sum.mixed + at, load(sum.mixed + at) * keep + load(more.mixed + at) * add);
      store(sum.maximum + v, maximum);
      store(sum.total + v, load(sum.total + v) * keep + load(more.total + v) * add);
    }
  }
  for (size_t v = 0; v < lanes; v += LANES) {
    Floats total = load(sum.total + v);
    Floats share = choose((Ints)(total == 0.0f), all(0), 1.0f / total);
    store(sum.total + v, share);
    for (size_t at = v; at < x->d * lanes; at += lanes) store(sum.mixed + at, load(sum.mixed + at) * share);
  }
  turn(sum.mixed, x->width, lanes, rows);
  put_rows(x, block, rows, 1, f->out);
  for (size_t n = 0; n < block->count; n++) {
    float *statistics = f->statistics + 2 * block->place[n];
    statistics[0] = sum.maximum[n];
    statistics[1] = sum.total[n];
  }
}

/// Fewer rows than fill a good part of a vector, as when a token is generated: lanes are channels and then keys instead.
static bool few_rows(const Attention *x) { return x->queries * x->ratio <= LANES / 2 && x->width == x->d; }

/// The sum of the vector's quarters, or of its halves; itself where it has four lanes.
static inline Quad fold(Floats x) {
  const Quad *parts = (const Quad *)&x;
  Quad sum = parts[0];
  for (size_t i = 1; i < LANES / 4; i++) sum += parts[i];
  return sum;
}

/// scores[n, key] = Σ_c rows[n, c] k[key, c], four keys at a time; the last may count more than once.
static void score_few(const Attention *x, const QueryBlock *block, KeyRange range, const float *rows, float *scores) {
  for (size_t j = range.first; j < range.end; j += 4) {
    const float *key[4];
    for (size_t i = 0; i < 4; i++) key[i] = x->k + key_place(x, block, lesser(j + i, range.end - 1));
    for (size_t n = 0; n < block->count; n++) {
      Floats a = {0}, b = {0}, c = {0}, d = {0};
      for (size_t at = 0; at < x->d; at += LANES) {
        Floats q = load(rows + n * x->d + at);
        a = add_product(a, q, load(key[0] + at));
        b = add_product(b, q, load(key[1] + at));
        c = add_product(c, q, load(key[2] + at));
        d = add_product(d, q, load(key[3] + at));
      }
      Quad p = fold(a), q = fold(b), r = fold(c), s = fold(d);
      Quad pq = __builtin_shufflevector(p, q, 0, 4, 1, 5) + __builtin_shufflevector(p, q, 2, 6, 3, 7);
      Quad rs = __builtin_shufflevector(r, s, 0, 4, 1, 5) + __builtin_shufflevector(r, s, 2, 6, 3, 7);
      *(Quad *)(scores + n * BLOCK_KEYS + j - range.first) =
          __builtin_shufflevector(pq, rs, 0, 1, 4, 5) + __builtin_shufflevector(pq, rs, 2, 3, 6, 7);
    }
  }
}

/// Row n's scores become weights, and 0 for keys that it may not see and up to a whole vector.
/// @returns e^(old maximum − new maximum).
static float softmax_few(const Attention *x, const QueryBlock *block, KeyRange range, size_t n, float *scores,
                         Gathered so_far) {
  const int32_t *segment = x->key_segment + block->b * x->keys + range.first;
  size_t count = range.end - range.first, padded = attention_parts(count, LANES) * LANES;
  for (size_t j = 0; range.hidden && j < count; j++) {
    int32_t back = block->position[0][n] - (int32_t)(range.first + j);
    if (back < 0 || back >= x->window || segment[j] != block->segment[0][n]) scores[j] = HIDDEN_SCORE;
  }
  for (size_t j = count; j < padded; j++) scores[j] = HIDDEN_SCORE;
  Floats top = all(so_far.maximum[n]), sum = {0};
  for (size_t j = 0; j < padded; j += LANES) top = larger(load(scores + j), top);
  float maximum = top[0], total = 0;
  for (size_t i = 1; i < LANES; i++) maximum = top[i] > maximum ? top[i] : maximum;
  for (size_t j = 0; j < padded; j += LANES) {
    Floats weight = exponential(load(scores + j) - maximum);
    store(scores + j, weight);
    sum += weight;
  }
  for (size_t i = 0; i < LANES; i++) total += sum[i];
  float keep = exponential(all(so_far.maximum[n] - maximum))[0];
  so_far.maximum[n] = maximum;
  so_far.total[n] = so_far.total[n] * keep + total;
  return keep;
}

/// row[c] = keep row[c] + Σ_key weights[key] v[key, c].
static void mix_few(const Attention *x, const QueryBlock *block, KeyRange range, const float *weights, float keep,
                    float *row) {
  size_t count = range.end - range.first, step = x->groups * x->d;
  for (size_t c = 0; c < x->d; c += LANES) {
    const float *v = x->v + key_place(x, block, range.first) + c;
    Floats sum[4] = {load(row + c) * keep};
    size_t j = 0;
    for (; j + 4 <= count; j += 4, v += 4 * step)
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) sum[i] = add_product(sum[i], all(weights[j + i]), load(v + i * step));
    for (; j < count; j++, v += step) sum[0] = add_product(sum[0], all(weights[j]), load(v));
    store(row + c, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

/// Memory of a thread in the forward pass: rows of q / √d [lane, width] and what comes of them as columns [width, lane],
/// scores [key, lane], and a factor for each lane.
typedef struct {
  float *rows, *columns, *scores, *keep;
} ForwardMemory;

static size_t forward_floats(const Attention *x) { return (2 * x->width + BLOCK_KEYS + 1) * BLOCK_LANES; }

static ForwardMemory forward_memory(const Forward *f, unsigned thread) {
  size_t wide = f->attention.width * BLOCK_LANES;
  float *at = f->memory + thread * f->memory_floats;
  return (ForwardMemory){at, at + wide, at + 2 * wide, at + 2 * wide + BLOCK_KEYS * BLOCK_LANES};
}

/// Keys of blocks `index` … end − 1, for rows that are few.
static void gather_few(const Attention *x, const QueryBlock *block, size_t index, size_t end, ForwardMemory m,
                       Gathered so_far) {
  float *mixed_rows = m.columns;
  __builtin_memset(mixed_rows, 0, LANES * x->d * sizeof(float));
  for (; index < end; index++) {
    KeyRange range = key_range(x, block, index);
    if (range.first >= range.end) continue;
    score_few(x, block, range, m.rows, m.scores);
    for (size_t n = 0; n < block->count; n++) {
      float *scores = m.scores + n * BLOCK_KEYS;
      float keep = softmax_few(x, block, range, n, scores, so_far);
      mix_few(x, block, range, scores, keep, mixed_rows + n * x->d);
    }
  }
  turn(mixed_rows, LANES, x->d, so_far.mixed);
}

/// Keys of blocks `index` … end − 1.
static void gather(const Attention *x, const QueryBlock *block, size_t index, size_t end, ForwardMemory m,
                   Gathered so_far) {
  turn(m.rows, block->vectors * LANES, x->width, m.columns);
  for (; index < end; index++) {
    KeyRange range = key_range(x, block, index);
    if (range.first >= range.end) continue;
    score(x, block, range, x->k, m.columns, m.scores);
    if (range.hidden) hide(x, block, range, m.scores);
    running_softmax(m.scores, range.end - range.first, block->vectors, so_far, m.keep);
    mix(x, block, range, x->v, m.scores, so_far.mixed, m.keep);
  }
}

/// One block of queries against all keys, or against one of the splits.
static void forward_task(const void *context, uint32_t task, unsigned thread) {
  const Forward *f = context;
  const Attention *x = &f->attention;
  size_t block_index = task / f->splits, split = task % f->splits, pair = block_index / x->query_blocks;
  QueryBlock block = query_block(x, pair / x->groups, pair % x->groups, block_index % x->query_blocks);
  ForwardMemory m = forward_memory(f, thread);
  float *gathered = f->gathered + (f->splits > 1 ? task : thread) * gathered_floats(x);
  Gathered so_far = gathered_at(gathered, x);
  __builtin_memset(gathered, 0, gathered_floats(x) * sizeof(float));
  for (size_t v = 0; v < BLOCK_LANES; v += LANES) store(so_far.maximum + v, all(NOTHING_SEEN));
  take_rows(x, &block, x->q, 1 / __builtin_sqrtf((float)x->d), m.rows);
  (few_rows(x) ? gather_few : gather)(x, &block, split * x->key_blocks / f->splits,
                                      (split + 1) * x->key_blocks / f->splits, m, so_far);
  if (f->splits == 1) finish_block(f, &block, gathered, 1, m.rows);
}

static void finish_task(const void *context, uint32_t task, unsigned thread) {
  const Forward *f = context;
  const Attention *x = &f->attention;
  size_t pair = task / x->query_blocks;
  QueryBlock block = query_block(x, pair / x->groups, pair % x->groups, task % x->query_blocks);
  finish_block(f, &block, f->gathered + (size_t)task * f->splits * gathered_floats(x), f->splits,
               forward_memory(f, thread).rows);
}

/// attention(q [B, Sq, H, d], k and v [B, Sk, G, d], out [B, Sq, H, d], statistics [B, Sq, H, 2],
///           query segments [B, Sq], key segments [B, Sk], B, Sq, Sk, H, G, d, window)
/// The statistics are each row's largest score, and 1 / Σ e^(score − largest) or 0 where it sees nothing.
KERNEL(attention) {
  Forward f = {.out = x[3].floats, .statistics = x[4].floats, .splits = 1};
  Attention *a = &f.attention;
  if (!read_attention(a, x, 5)) return false;
  size_t blocks = a->batch * a->groups * a->query_blocks;
  if (blocks == 0) return true;
  if (blocks < LEAST_TASKS) f.splits = lesser(attention_parts(LEAST_TASKS, blocks), a->key_blocks / LEAST_SPLIT);
  if (f.splits == 0) f.splits = 1;
  f.memory_floats = forward_floats(a);
  f.memory = scratch(thread_count() * f.memory_floats);
  f.gathered = scratch((f.splits > 1 ? blocks * f.splits : thread_count()) * gathered_floats(a));
  if (!f.memory || !f.gathered) return false;
  parallel(forward_task, &f, (uint32_t)(blocks * f.splits));
  if (f.splits > 1) parallel(finish_task, &f, (uint32_t)blocks);
  return true;
}
