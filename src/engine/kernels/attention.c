// Grouped-query attention (Ainslie et al. 2023), causal inside equal segments: softmax(q kᵀ / √d) v for each head, and
// its gradient. Blocks of queries meet blocks of keys with a running softmax (Dao et al. 2022, "FlashAttention"), so
// scores exist for one pair of blocks at a time. A lane of a vector is one query of one head; the R heads that share a
// key head stand side by side. Keys, values and channels are broadcast from where they lie: scores are columns
// [key, lane], sums are columns [channel, lane], and nothing is ever added up across lanes.

#include "kernels.h"

#include "vector.h"

#define BLOCK_VECTORS 2                       // vectors side by side in a block of queries
#define BLOCK_LANES (BLOCK_VECTORS * LANES)
#define BLOCK_KEYS 64                         // the scores of a block stay in the first-level cache
#define NARROW_ROWS (LANES == 16 ? 8 : 4)       // with two vectors a row, what the registers hold
#define LEAST_TASKS 16                        // cut further, if the sizes allow it, when there are fewer tasks
#define LEAST_SPLIT 8                         // blocks of keys that a task of the forward pass takes at least
#define LEAST_CHUNK 4                         // blocks of queries that a task of the backward pass takes at least
#define HIDDEN_SCORE (-1e38f)                 // finite, and e^ of it is 0 whatever maximum is taken off
#define NOTHING_SEEN (-1e30f)                 // maximum of no scores

/// The whole problem. q, out and the like are [B, Sq, H, d]; k and v are [B, Sk, G, d]; R = H / G.
typedef struct {
  const float *q, *k, *v;
  const int32_t *query_segment, *key_segment; // [B, Sq], [B, Sk]
  size_t batch, queries, keys, heads, groups, ratio, d;
  size_t width;                               // d, up to whole vectors
  size_t query_blocks, key_blocks;            // of one sequence and key head
  int32_t *lowest_segment, *highest_segment;  // [B, key_blocks], of all keys of the block
} Attention;

/// `count` rows of the Sq · R that share the key head `group` of sequence `b`, from row `first`; row n is query n / R of
/// the group's head n % R. Lanes past `count` see nothing.
typedef struct {
  size_t b, group, first, count, vectors;
  size_t place[BLOCK_LANES];                                // of each row, in a tensor [B, Sq, H]
  Ints position[BLOCK_VECTORS], segment[BLOCK_VECTORS];     // the last key that a lane may see, and its segment
  int32_t first_position, last_position, lowest_segment, highest_segment; // of the lanes that are not padding
  bool padding;                                             // whether some row is
} QueryBlock;

/// Keys first … end − 1 of the block's sequence; some are hidden from some row if `hidden`.
typedef struct {
  size_t first, end;
  bool hidden;
} KeyRange;

static size_t attention_parts(size_t whole, size_t part) { return (whole + part - 1) / part; }
static size_t lesser(size_t x, size_t y) { return x < y ? x : y; }

/// Where key j of the block's sequence and key head lies in k and v, in floats.
static size_t key_place(const Attention *x, const QueryBlock *block, size_t j) {
  return ((block->b * x->keys + j) * x->groups + block->group) * x->d;
}

static QueryBlock query_block(const Attention *x, size_t b, size_t group, size_t index) {
  QueryBlock block = {.b = b, .group = group, .first = index * BLOCK_LANES};
  block.count = lesser(BLOCK_LANES, x->queries * x->ratio - block.first);
  block.vectors = attention_parts(block.count, LANES);
  block.first_position = block.lowest_segment = INT32_MAX;
  block.last_position = block.highest_segment = -1;
  size_t query = block.first / x->ratio, head = block.first % x->ratio;
  for (size_t n = 0; n < BLOCK_LANES; n++) {
    int32_t position = -1, segment = -1;
    if (n < block.count) {
      block.place[n] = (b * x->queries + query) * x->heads + group * x->ratio + head;
      segment = x->query_segment[b * x->queries + query];
      if (segment < 0) block.padding = true;
      else position = (int32_t)x->keys - (int32_t)x->queries + (int32_t)query;
      if (++head == x->ratio) {
        head = 0;
        query++;
      }
    }
    block.position[n / LANES][n % LANES] = position;
    block.segment[n / LANES][n % LANES] = segment;
    if (segment < 0) continue;
    if (position < block.first_position) block.first_position = position;
    if (position > block.last_position) block.last_position = position;
    if (segment < block.lowest_segment) block.lowest_segment = segment;
    if (segment > block.highest_segment) block.highest_segment = segment;
  }
  return block;
}

/// The keys of block `index` that rows of the block may see, without those at both ends that none may.
static KeyRange key_range(const Attention *x, const QueryBlock *block, size_t index) {
  KeyRange range = {.first = index * BLOCK_KEYS, .end = lesser((index + 1) * BLOCK_KEYS, x->keys)};
  const int32_t *segment = x->key_segment + block->b * x->keys;
  int32_t low = block->lowest_segment, high = block->highest_segment;
  int32_t lowest = x->lowest_segment[block->b * x->key_blocks + index];
  int32_t highest = x->highest_segment[block->b * x->key_blocks + index];
  if (highest < low || lowest > high || block->last_position < 0) return (KeyRange){0};
  range.end = lesser(range.end, (size_t)block->last_position + 1);
  while (range.first < range.end && (segment[range.first] < low || segment[range.first] > high)) range.first++;
  while (range.first < range.end && (segment[range.end - 1] < low || segment[range.end - 1] > high)) range.end--;
  range.hidden = block->padding || lowest != highest || low != high || (int32_t)range.end - 1 > block->first_position;
  return range;
}

/// Overwrites the scores of keys that a lane may not see.
static void hide(const Attention *x, const QueryBlock *block, KeyRange range, float *scores) {
  const int32_t *segment = x->key_segment + block->b * x->keys;
  bool one_segment = block->lowest_segment == block->highest_segment && !block->padding;
  for (size_t j = range.first; j < range.end; j++, scores += block->vectors * LANES) {
    if (one_segment && (int32_t)j <= block->first_position && segment[j] == block->lowest_segment) continue;
    for (size_t v = 0; v < block->vectors; v++) {
      Ints seen = (Ints)(block->position[v] >= (int32_t)j) & (Ints)(block->segment[v] == segment[j]);
      store(scores + v * LANES, choose(seen, load(scores + v * LANES), all(HIDDEN_SCORE)));
    }
  }
}

/// sum + a b. WebAssembly fuses the two only when asked to.
static inline Floats plus_product(Floats sum, Floats a, Floats b) {
#if defined(__wasm_relaxed_simd__)
  return (Floats)__builtin_wasm_relaxed_madd_f32x4(a, b, sum);
#else
  return sum + a * b;
#endif
}

/// out[i, l] = keep[l] out[i, l] + Σ_p a[i, p] b[p, l], for i < rows and l < columns ≤ BLOCK_LANES. a[i, p] is at
/// a[i · a_row + p · a_term], and a row of b fills whole vectors. `keep` NULL: out is only written.
typedef struct {
  const float *a, *b, *keep;
  float *out;
  size_t rows, columns, terms, a_row, a_term, b_term, out_row;
} Narrow;

/// Rows i … i + NARROW_ROWS − 1 of the product, those past its end being computed from its last and not written.
static inline __attribute__((always_inline)) void narrow_tile(const Narrow *x, size_t i, const int vectors) {
  const float *a[NARROW_ROWS], *b = x->b;
  Floats sum[NARROW_ROWS][BLOCK_VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < NARROW_ROWS; r++) {
    a[r] = x->a + lesser(i + (size_t)r, x->rows - 1) * x->a_row;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) sum[r][v] = (Floats){0};
  }
  size_t step = x->a_term, b_term = x->b_term;
  for (size_t p = 0, at = 0; p < x->terms; p++, at += step, b += b_term) {
    Floats row[BLOCK_VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) row[v] = load(b + v * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < NARROW_ROWS; r++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) sum[r][v] = plus_product(sum[r][v], all(a[r][at]), row[v]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < NARROW_ROWS; r++) {
    if (i + (size_t)r >= x->rows) return;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      float *out = x->out + (i + (size_t)r) * x->out_row + v * LANES;
      size_t width = x->columns - (size_t)v * LANES;
      Floats value = sum[r][v];
      if (x->keep) value += load(x->keep + v * LANES) * (width >= LANES ? load(out) : load_part(out, width));
      if (width >= LANES) store(out, value);
      else store_part(out, value, width);
    }
  }
}

static void narrow_product(Narrow x) {
  if (x.columns > LANES)
    for (size_t i = 0; i < x.rows; i += NARROW_ROWS) narrow_tile(&x, i, 2);
  else
    for (size_t i = 0; i < x.rows; i += NARROW_ROWS) narrow_tile(&x, i, 1);
}

/// scores[key, lane] = Σ_c rows[key, c] columns[c, lane], with `rows` k or v.
static void score(const Attention *x, const QueryBlock *block, KeyRange range, const float *rows, const float *columns,
                  float *scores) {
  size_t lanes = block->vectors * LANES;
  narrow_product((Narrow){
      .a = rows + key_place(x, block, range.first), .a_row = x->groups * x->d, .a_term = 1,
      .b = columns, .b_term = lanes,
      .out = scores, .out_row = lanes,
      .rows = range.end - range.first, .columns = lanes, .terms = x->d,
  });
}

/// columns[c, lane] = keep[lane] columns[c, lane] + Σ_key rows[key, c] weights[key, lane], with `rows` k or v.
static void mix(const Attention *x, const QueryBlock *block, KeyRange range, const float *rows, const float *weights,
                float *columns, const float *keep) {
  size_t lanes = block->vectors * LANES;
  narrow_product((Narrow){
      .a = rows + key_place(x, block, range.first), .a_row = 1, .a_term = x->groups * x->d,
      .b = weights, .b_term = lanes,
      .out = columns, .out_row = lanes, .keep = keep,
      .rows = x->d, .columns = lanes, .terms = range.end - range.first,
  });
}

typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));

/// to[p * to_row + i] = from[i * from_row + p] for four i and four p.
static inline void turn_quad(const float *from, size_t from_row, float *to, size_t to_row) {
  Quad a = *(const Quad *)from, b = *(const Quad *)(from + from_row);
  Quad c = *(const Quad *)(from + 2 * from_row), d = *(const Quad *)(from + 3 * from_row);
  Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  Quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(Quad *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(Quad *)(to + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(Quad *)(to + 2 * to_row) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
  *(Quad *)(to + 3 * to_row) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

/// to[p, i] = from[i, p] for i < rows and p < columns, both whole vectors.
static void turn(const float *from, size_t rows, size_t columns, float *to) {
  for (size_t p = 0; p < columns; p += 4)
    for (size_t i = 0; i < rows; i += 4) turn_quad(from + i * columns + p, columns, to + p * rows + i, rows);
}

/// rows[n, c] = factor · the block's rows of a tensor [B, Sq, H, d]; zeros where it has none, up to whole vectors.
static void take_rows(const Attention *x, const QueryBlock *block, const float *tensor, float factor, float *rows) {
  for (size_t n = 0; n < block->count; n++, rows += x->width) {
    const float *from = tensor + block->place[n] * x->d;
    size_t c = 0;
    for (; c + LANES <= x->d; c += LANES) store(rows + c, load(from + c) * factor);
    if (c < x->d) store(rows + c, load_part(from + c, x->d - c) * factor);
  }
  __builtin_memset(rows, 0, (block->vectors * LANES - block->count) * x->width * sizeof(float));
}

/// The way back, also times a factor.
static void put_rows(const Attention *x, const QueryBlock *block, const float *rows, float factor, float *tensor) {
  for (size_t n = 0; n < block->count; n++, rows += x->width) {
    float *to = tensor + block->place[n] * x->d;
    size_t c = 0;
    for (; c + LANES <= x->d; c += LANES) store(to + c, load(rows + c) * factor);
    if (c < x->d) store_part(to + c, load(rows + c) * factor, x->d - c);
  }
}

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
  float *memory;            // of each thread: rows, columns of q, scores, and a factor for each lane
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

/// One block of queries against all keys, or against one of the splits.
static void forward_task(const void *context, uint32_t task, unsigned thread) {
  const Forward *f = context;
  const Attention *x = &f->attention;
  size_t block_index = task / f->splits, split = task % f->splits, pair = block_index / x->query_blocks;
  QueryBlock block = query_block(x, pair / x->groups, pair % x->groups, block_index % x->query_blocks);
  float *rows = f->memory + thread * f->memory_floats, *columns = rows + x->width * BLOCK_LANES;
  float *scores = columns + x->width * BLOCK_LANES, *keep = scores + BLOCK_KEYS * BLOCK_LANES;
  float *gathered = f->gathered + (f->splits > 1 ? task : thread) * gathered_floats(x);
  Gathered so_far = gathered_at(gathered, x);
  __builtin_memset(gathered, 0, gathered_floats(x) * sizeof(float));
  for (size_t v = 0; v < BLOCK_LANES; v += LANES) store(so_far.maximum + v, all(NOTHING_SEEN));
  take_rows(x, &block, x->q, 1 / __builtin_sqrtf((float)x->d), rows);
  turn(rows, block.vectors * LANES, x->width, columns);
  for (size_t index = split * x->key_blocks / f->splits; index < (split + 1) * x->key_blocks / f->splits; index++) {
    KeyRange range = key_range(x, &block, index);
    if (range.first >= range.end) continue;
    score(x, &block, range, x->k, columns, scores);
    if (range.hidden) hide(x, &block, range, scores);
    running_softmax(scores, range.end - range.first, block.vectors, so_far, keep);
    mix(x, &block, range, x->v, scores, so_far.mixed, keep);
  }
  if (f->splits == 1) finish_block(f, &block, gathered, 1, rows);
}

static void finish_task(const void *context, uint32_t task, unsigned thread) {
  const Forward *f = context;
  const Attention *x = &f->attention;
  size_t pair = task / x->query_blocks;
  QueryBlock block = query_block(x, pair / x->groups, pair % x->groups, task % x->query_blocks);
  finish_block(f, &block, f->gathered + (size_t)task * f->splits * gathered_floats(x), f->splits,
               f->memory + thread * f->memory_floats);
}

/// Reads q, k, v and then, from argument `sizes` on, the segments and B, Sq, Sk, H, G, d. False without memory.
static bool read_attention(Attention *a, const Argument *x, int sizes) {
  *a = (Attention){
      .q = x[0].floats, .k = x[1].floats, .v = x[2].floats,
      .query_segment = x[sizes].ints, .key_segment = x[sizes + 1].ints,
      .batch = size_of(x[sizes + 2]), .queries = size_of(x[sizes + 3]), .keys = size_of(x[sizes + 4]),
      .heads = size_of(x[sizes + 5]), .groups = size_of(x[sizes + 6]), .d = size_of(x[sizes + 7]),
  };
  a->ratio = a->groups ? a->heads / a->groups : 0;
  a->width = attention_parts(a->d, LANES) * LANES;
  a->query_blocks = attention_parts(a->queries * a->ratio, BLOCK_LANES);
  a->key_blocks = attention_parts(a->keys, BLOCK_KEYS);
  size_t blocks = a->batch * a->key_blocks;
  a->lowest_segment = (int32_t *)scratch(blocks + 1);
  a->highest_segment = (int32_t *)scratch(blocks + 1);
  if (!a->lowest_segment || !a->highest_segment) return false;
  for (size_t i = 0; i < blocks; i++) {
    const int32_t *segment = a->key_segment + i / a->key_blocks * a->keys;
    size_t first = i % a->key_blocks * BLOCK_KEYS, end = lesser(first + BLOCK_KEYS, a->keys);
    int32_t lowest = segment[first], highest = lowest;
    for (size_t j = first; j < end; j++) {
      if (segment[j] < lowest) lowest = segment[j];
      if (segment[j] > highest) highest = segment[j];
    }
    a->lowest_segment[i] = lowest;
    a->highest_segment[i] = highest;
  }
  return true;
}

/// attention(q [B, Sq, H, d], k and v [B, Sk, G, d], out [B, Sq, H, d], statistics [B, Sq, H, 2],
///           query segments [B, Sq], key segments [B, Sk], B, Sq, Sk, H, G, d)
/// The statistics are each row's largest score, and 1 / Σ e^(score − largest) or 0 where it sees nothing.
KERNEL(attention) {
  Forward f = {.out = x[3].floats, .statistics = x[4].floats, .splits = 1};
  Attention *a = &f.attention;
  if (!read_attention(a, x, 5)) return false;
  size_t blocks = a->batch * a->groups * a->query_blocks;
  if (blocks == 0) return true;
  if (blocks < LEAST_TASKS) f.splits = lesser(attention_parts(LEAST_TASKS, blocks), a->key_blocks / LEAST_SPLIT);
  if (f.splits == 0) f.splits = 1;
  f.memory_floats = (2 * a->width + BLOCK_KEYS + 1) * BLOCK_LANES;
  f.memory = scratch(thread_count() * f.memory_floats);
  f.gathered = scratch((f.splits > 1 ? blocks * f.splits : thread_count()) * gathered_floats(a));
  if (!f.memory || !f.gathered) return false;
  parallel(forward_task, &f, (uint32_t)(blocks * f.splits));
  if (f.splits > 1) parallel(finish_task, &f, (uint32_t)blocks);
  return true;
}

typedef struct {
  Attention attention;
  const float *out, *statistics, *gradient;
  float *dq, *dk, *dv;
  size_t chunks;  // tasks that share the queries of one sequence and key head
  float *partial; // [chunks − 1, 2, B, Sk, G, d]: dk and dv of all chunks but the first
  float *memory;
  size_t memory_floats;
} Backward;

/// The memory of one thread: columns [width, lane] of q / √d, of the gradient and of dq; rows [lane, width] of the first
/// two and of one more; weights and their gradients [key, lane]; and four values for each lane.
typedef struct {
  float *q, *gradient, *dq, *q_rows, *gradient_rows, *rows, *weights, *d_weights, *maximum, *share, *mean, *ones;
} BackwardMemory;

static size_t backward_floats(const Attention *x) { return (6 * x->width + 2 * BLOCK_KEYS + 4) * BLOCK_LANES; }

static BackwardMemory backward_memory(float *at, const Attention *x) {
  BackwardMemory m;
  float **wide[] = {&m.q, &m.gradient, &m.dq, &m.q_rows, &m.gradient_rows, &m.rows};
  float **scores[] = {&m.weights, &m.d_weights}, **lanes[] = {&m.maximum, &m.share, &m.mean, &m.ones};
  for (int i = 0; i < 6; i++, at += x->width * BLOCK_LANES) *wide[i] = at;
  for (int i = 0; i < 2; i++, at += BLOCK_KEYS * BLOCK_LANES) *scores[i] = at;
  for (int i = 0; i < 4; i++, at += BLOCK_LANES) *lanes[i] = at;
  return m;
}

/// All that a block of queries needs before it meets the keys. mean = Σ_c gradient out = Σ_key p dp.
static void start_backward(const Backward *f, const QueryBlock *block, BackwardMemory m) {
  const Attention *x = &f->attention;
  size_t lanes = block->vectors * LANES;
  take_rows(x, block, x->q, 1 / __builtin_sqrtf((float)x->d), m.q_rows);
  take_rows(x, block, f->gradient, 1, m.gradient_rows);
  take_rows(x, block, f->out, 1, m.rows);
  turn(m.q_rows, lanes, x->width, m.q);
  turn(m.gradient_rows, lanes, x->width, m.gradient);
  turn(m.rows, lanes, x->width, m.dq);
  for (size_t v = 0; v < lanes; v += LANES) {
    Floats mean = {0};
    for (size_t at = v; at < x->d * lanes; at += lanes)
      mean = plus_product(mean, load(m.dq + at), load(m.gradient + at)); // as dp is added up: equal for a lone key
    store(m.mean + v, mean);
    store(m.ones + v, all(1));
  }
  __builtin_memset(m.dq, 0, x->d * lanes * sizeof(float));
  for (size_t n = 0; n < lanes; n++) {
    const float *statistics = f->statistics + 2 * block->place[lesser(n, block->count - 1)];
    m.maximum[n] = n < block->count ? statistics[0] : 0;
    m.share[n] = n < block->count ? statistics[1] : 0;
  }
}

/// Scores become weights p, and dp becomes ds = p (dp − mean).
static void weights_backward(BackwardMemory m, size_t rows, size_t vectors) {
  size_t lanes = vectors * LANES;
  for (size_t v = 0; v < lanes; v += LANES) {
    Floats maximum = load(m.maximum + v), share = load(m.share + v), mean = load(m.mean + v);
    for (size_t at = v; at < rows * lanes; at += lanes) {
      Floats p = exponential(load(m.weights + at) - maximum) * share;
      store(m.weights + at, p);
      store(m.d_weights + at, p * (load(m.d_weights + at) - mean));
    }
  }
}

/// out[key, c] += Σ_n weights[key, n] rows[n, c], with `out` the place of the first key in dk or dv.
static void add_to_keys(const Attention *x, const QueryBlock *block, size_t keys, const float *weights,
                        const float *rows, const float *ones, float *out) {
  size_t lanes = block->vectors * LANES;
  for (size_t c = 0; c < x->d; c += BLOCK_LANES)
    narrow_product((Narrow){
        .a = weights, .a_row = lanes, .a_term = 1,
        .b = rows + c, .b_term = x->width,
        .out = out + c, .out_row = x->groups * x->d, .keep = ones,
        .rows = keys, .columns = lesser(BLOCK_LANES, x->d - c), .terms = block->count,
    });
}

/// Every `chunks`-th block of the queries that share one key head: dq of its rows, and their part of dk and dv.
static void backward_task(const void *context, uint32_t task, unsigned thread) {
  const Backward *f = context;
  const Attention *x = &f->attention;
  size_t chunk = task % f->chunks, pair = task / f->chunks, all_keys = x->batch * x->keys * x->groups * x->d;
  float *dk = chunk ? f->partial + (chunk - 1) * 2 * all_keys : f->dk;
  float *dv = chunk ? f->partial + (chunk - 1) * 2 * all_keys + all_keys : f->dv;
  BackwardMemory m = backward_memory(f->memory + thread * f->memory_floats, x);
  QueryBlock block = {.b = pair / x->groups, .group = pair % x->groups};
  for (size_t j = 0; j < x->keys; j++) {
    __builtin_memset(dk + key_place(x, &block, j), 0, x->d * sizeof(float));
    __builtin_memset(dv + key_place(x, &block, j), 0, x->d * sizeof(float));
  }
  for (size_t index = chunk; index < x->query_blocks; index += f->chunks) {
    block = query_block(x, pair / x->groups, pair % x->groups, index);
    start_backward(f, &block, m);
    for (size_t keys = 0; keys < x->key_blocks; keys++) {
      KeyRange range = key_range(x, &block, keys);
      if (range.first >= range.end) continue;
      size_t count = range.end - range.first, place = key_place(x, &block, range.first);
      score(x, &block, range, x->k, m.q, m.weights);
      if (range.hidden) hide(x, &block, range, m.weights);
      score(x, &block, range, x->v, m.gradient, m.d_weights);
      weights_backward(m, count, block.vectors);
      mix(x, &block, range, x->k, m.d_weights, m.dq, m.ones);
      add_to_keys(x, &block, count, m.weights, m.gradient_rows, m.ones, dv + place);
      add_to_keys(x, &block, count, m.d_weights, m.q_rows, m.ones, dk + place);
    }
    turn(m.dq, x->width, block.vectors * LANES, m.rows);
    put_rows(x, &block, m.rows, 1 / __builtin_sqrtf((float)x->d), f->dq);
  }
}

#define SUM_FLOATS 4096 // of dk and dv that one task adds up

static void sum_chunks_task(const void *context, uint32_t task, unsigned thread) {
  const Backward *f = context;
  const Attention *x = &f->attention;
  (void)thread;
  size_t all_keys = x->batch * x->keys * x->groups * x->d, first = task * (size_t)SUM_FLOATS;
  size_t end = lesser(first + SUM_FLOATS, all_keys);
  for (size_t chunk = 1; chunk < f->chunks; chunk++) {
    const float *dk = f->partial + (chunk - 1) * 2 * all_keys, *dv = dk + all_keys;
    for (size_t i = first; i < end; i++) f->dk[i] += dk[i];
    for (size_t i = first; i < end; i++) f->dv[i] += dv[i];
  }
}

/// attention_gradient(q, k, v, out, statistics, gradient of out, dq, dk, dv,
///                    query segments, key segments, B, Sq, Sk, H, G, d), shapes as in attention()
/// dv = pᵀ dy, dp = dy vᵀ, ds = p ⊙ (dp − Σ_key p dp), dq = ds k / √d, dk = dsᵀ q / √d.
KERNEL(attention_gradient) {
  Backward f = {
      .out = x[3].floats, .statistics = x[4].floats, .gradient = x[5].floats,
      .dq = x[6].floats, .dk = x[7].floats, .dv = x[8].floats, .chunks = 1,
  };
  Attention *a = &f.attention;
  if (!read_attention(a, x, 9)) return false;
  size_t pairs = a->batch * a->groups, all_keys = a->batch * a->keys * a->groups * a->d;
  if (pairs < LEAST_TASKS && pairs > 0)
    f.chunks = lesser(attention_parts(LEAST_TASKS, pairs), a->query_blocks / LEAST_CHUNK);
  if (f.chunks == 0) f.chunks = 1;
  f.memory_floats = backward_floats(a);
  f.memory = scratch(thread_count() * f.memory_floats);
  f.partial = scratch((f.chunks - 1) * 2 * all_keys + 1);
  if (!f.memory || !f.partial) return false;
  parallel(backward_task, &f, (uint32_t)(pairs * f.chunks));
  if (f.chunks > 1) parallel(sum_chunks_task, &f, (uint32_t)attention_parts(all_keys, SUM_FLOATS));
  return true;
}
