// What attention and its gradient share: the problem, its blocks of queries and keys, and products of blocks.
// A lane of a vector is one query of one head; the R heads that share a key head stand side by side. Keys, values and
// channels are broadcast from where they lie: scores are columns [key, lane], sums are columns [channel, lane], and
// nothing is ever added up across lanes.

#ifndef MOE_ATTENTION_H
#define MOE_ATTENTION_H

#include "vector.h"

#define BLOCK_VECTORS 2                     // vectors side by side in a block of queries
#define BLOCK_LANES (BLOCK_VECTORS * LANES)
#define BLOCK_KEYS 64                       // the scores of a block stay in the first-level cache
#define NARROW_ROWS (LANES == 16 ? 8 : 4)   // with two vectors a row, what the registers hold
#define LEAST_TASKS 16                      // cut further, if the sizes allow it, when there are fewer tasks
#define HIDDEN_SCORE (-1e38f)               // finite, and e^ of it is 0 whatever maximum is taken off

/// The whole problem. q, out and the like are [B, Sq, H, d]; k and v are [B, Sk, G, d]; R = H / G.
typedef struct {
  const float *q, *k, *v;
  const int32_t *query_segment, *key_segment; // [B, Sq], [B, Sk]
  size_t batch, queries, keys, heads, groups, ratio, d;
  size_t width;                               // d, up to whole vectors
  int32_t window;                             // keys that a query sees back, its own included
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
  int32_t forgotten = block->first_position - x->window; // the last key that no row sees any more
  if (forgotten >= (int32_t)range.first) range.first = lesser((size_t)forgotten + 1, range.end);
  while (range.first < range.end && (segment[range.first] < low || segment[range.first] > high)) range.first++;
  while (range.first < range.end && (segment[range.end - 1] < low || segment[range.end - 1] > high)) range.end--;
  range.hidden = block->padding || lowest != highest || low != high || (int32_t)range.end - 1 > block->first_position ||
                 (int32_t)range.first <= block->last_position - x->window;
  return range;
}

/// Overwrites the scores of keys that a lane may not see.
static void hide(const Attention *x, const QueryBlock *block, KeyRange range, float *scores) {
  const int32_t *segment = x->key_segment + block->b * x->keys;
  bool one_segment = block->lowest_segment == block->highest_segment && !block->padding;
  for (size_t j = range.first; j < range.end; j++, scores += block->vectors * LANES) {
    int32_t key = (int32_t)j;
    bool near = key <= block->first_position && key > block->last_position - x->window;
    if (one_segment && near && segment[j] == block->lowest_segment) continue;
    for (size_t v = 0; v < block->vectors; v++) {
      Ints seen = (Ints)(block->position[v] >= key) & (Ints)(block->position[v] - key < x->window) &
                  (Ints)(block->segment[v] == segment[j]);
      store(scores + v * LANES, choose(seen, load(scores + v * LANES), all(HIDDEN_SCORE)));
    }
  }
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
      for (int v = 0; v < vectors; v++) sum[r][v] = add_product(sum[r][v], all(a[r][at]), row[v]);
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

/// Reads q, k, v and then, from argument `sizes` on, the segments and B, Sq, Sk, H, G, d, window. False without memory.
static bool read_attention(Attention *a, const Argument *x, int sizes) {
  *a = (Attention){
      .q = x[0].floats, .k = x[1].floats, .v = x[2].floats,
      .query_segment = x[sizes].ints, .key_segment = x[sizes + 1].ints,
      .batch = size_of(x[sizes + 2]), .queries = size_of(x[sizes + 3]), .keys = size_of(x[sizes + 4]),
      .heads = size_of(x[sizes + 5]), .groups = size_of(x[sizes + 6]), .d = size_of(x[sizes + 7]),
      .window = (int32_t)x[sizes + 8].number,
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

#endif
