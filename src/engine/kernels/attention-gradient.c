// The gradient of attention. Weights p are computed again from the scores and the statistics of the forward pass, block
// by block: dv = pᵀ dy, dp = dy vᵀ, ds = p ⊙ (dp − Σ_key p dp), dq = ds k / √d, dk = dsᵀ q / √d.

#include "attention.h"

#define LEAST_CHUNK 4    // blocks of queries that a task takes at least
#define SUM_FLOATS 4096  // of dk and dv that one task adds up

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
      mean = add_product(mean, load(m.dq + at), load(m.gradient + at)); // as dp is added up: equal for a lone key
    store(m.mean + v, mean);
  }
  for (size_t v = 0; v < BLOCK_LANES; v += LANES) store(m.ones + v, all(1)); // channels take it too, all lanes of it
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
///                    query segments, key segments, B, Sq, Sk, H, G, d, window), shapes as in attention()
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
