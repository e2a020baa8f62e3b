// Products x Wᵀ and rows of an embedding with weights in bf16, the upper halves of fp32 numbers. They are read where
// they lie and widened in registers, which is exact; sums are taken in the order of gemm.c, so that they have the bits
// of its products with the widened weights. kernels.c includes gemm.c before.

#include "blocks.h"
#include "pack.h"

/// A product whose B is the transpose of `weights` [n, k]; b and its strides are not used. x is contiguous in k.
typedef struct {
  Product product;
  const uint16_t *weights;
} HalfProduct;

typedef uint16_t HalfLanes __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t Pairs __attribute__((vector_size(4 * SIDE), aligned(2), may_alias)); // the first one low

static inline float widen_one(uint16_t half) {
  union {
    uint32_t bits;
    float number;
  } wide = {(uint32_t)half << 16};
  return wide.number;
}

/// to[i] = from[i] for i < n, widened.
static void widen(const uint16_t *from, size_t n, float *to) {
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    store(to + i, (Floats)(__builtin_convertvector(*(const HalfLanes *)(from + i), Words) << 16));
  for (; i < n; i++) to[i] = widen_one(from[i]);
}

// A few rows: SIDE rows of weights at a time are turned in registers, two terms in each 32-bit word.

#define FEW_HALF_ROWS SIDE // beyond, widening into the cache costs less than turning again for every four rows

/// sum[i] += x[i, p + q] w[·, p + q] for q = 0 … 2 SIDE − 1, one after the other.
INLINE void add_pairs(int rows, size_t p, const float *const *x, const uint16_t *const *w, Side *sum) {
  Side block[SIDE];
  UNROLL
  for (size_t r = 0; r < SIDE; r++) block[r] = (Side)*(const Pairs *)(w[r] + p);
  transpose(block);
  UNROLL
  for (size_t r = 0; r < SIDE; r++) {
    Side first = (Side)((Pairs)block[r] << 16), second = (Side)((Pairs)block[r] & 0xffff0000u);
    UNROLL
    for (int i = 0; i < rows; i++) {
      sum[i] = add_product_side(sum[i], x[i][p + 2 * r], first);
      sum[i] = add_product_side(sum[i], x[i][p + 2 * r + 1], second);
    }
  }
}

INLINE void add_one(int rows, size_t p, const float *const *x, const uint16_t *const *w, Side *sum) {
  Side column = {0};
  for (size_t r = 0; r < SIDE; r++) column[r] = widen_one(w[r][p]);
  UNROLL
  for (int i = 0; i < rows; i++) sum[i] = add_product_side(sum[i], x[i][p], column);
}

#define STRETCH (4 * SIDE) // terms at once: a line of the cache, which rows a power of two apart push out again

/// The terms [p, end) of `rows` rows of x with `groups` groups of SIDE rows of weights. Meanwhile it asks for as many
/// rows of weights at `ahead`, which may lie beyond the last one.
INLINE void sum_pairs(int rows, int groups, size_t p, size_t end, const float *const *x, const uint16_t *const *w,
                      const uint16_t *ahead, Side *sum) {
  UNROLL
  for (int i = 0; i < rows * groups; i++) sum[i] = (Side){0};
  for (; p + STRETCH <= end; p += STRETCH) {
    const uint16_t *lines = ahead + p * (size_t)groups * SIDE;
    UNROLL
    for (int i = 0; i < groups * SIDE * STRETCH; i += 2 * LINE) __builtin_prefetch(lines + i, 0, 2);
    UNROLL
    for (int g = 0; g < groups; g++)
      UNROLL
      for (size_t q = 0; q < STRETCH; q += 2 * SIDE) add_pairs(rows, p + q, x, w + g * SIDE, sum + g * rows);
  }
  for (; p < end; p++)
    UNROLL
    for (int g = 0; g < groups; g++) add_one(rows, p, x, w + g * SIDE, sum + g * rows);
}

/// Writes the sums of rows of weights from `column` on, below `end`: sum[group * rows + i].
static void write_few(const Product *product, size_t row, size_t rows, size_t column, size_t end, const float *sum) {
  for (size_t i = 0; i < rows && row + i < product->m; i++)
    for (size_t j = 0; column + j < end; j++)
      product->c[(row + i) * product->c_row + column + j] = sum[(j / SIDE * rows + i) * SIDE + j % SIDE];
}

/// ROWS rows of x from `row` on, with rows of weights from `column` on, below `end` and no more than GROUPS * SIDE; the
/// last ones again for those that are not there.
#define FEW(NAME, ROWS, GROUPS)                                                                              \
  static void NAME(const HalfProduct *half, size_t row, size_t column, size_t end) {                         \
    const Product *product = &half->product;                                                                 \
    size_t k = product->k, next = least(column + (GROUPS) * SIDE, product->n - 1);                           \
    const float *x[ROWS];                                                                                    \
    const uint16_t *w[(GROUPS) * SIDE];                                                                      \
    Side all[(ROWS) * (GROUPS)], sum[(ROWS) * (GROUPS)], bias[GROUPS];                                       \
    for (size_t i = 0; i < (ROWS); i++) x[i] = product->a + least(row + i, product->m - 1) * product->a_row; \
    for (size_t j = 0; j < (GROUPS) * SIDE; j++) {                                                           \
      size_t at = least(column + j, end - 1);                                                                \
      w[j] = half->weights + at * k;                                                                         \
      bias[j / SIDE][j % SIDE] = product->bias ? product->bias[at] : 0;                                      \
    }                                                                                                        \
    for (size_t from = 0; from < k; from += K_BLOCK) {                                                       \
      sum_pairs(ROWS, GROUPS, from, least(from + K_BLOCK, k), x, w, half->weights + next * k, sum);          \
      UNROLL                                                                                                 \
      for (int i = 0; i < (ROWS) * (GROUPS); i++) {                                                          \
        if (from > 0) sum[i] += all[i];                                                                      \
        else if (product->bias) sum[i] += bias[i / (ROWS)];                                                  \
        all[i] = sum[i];                                                                                     \
      }                                                                                                      \
    }                                                                                                        \
    write_few(product, row, ROWS, column, end, (const float *)all);                                          \
  }
#define ONE_ROW_GROUPS (16 / SIDE)
FEW(run_one_row, 1, ONE_ROW_GROUPS)
FEW(run_two_rows, 2, 2)
FEW(run_four_rows, 4, 1)

static void run_few_half(const HalfProduct *half, size_t column, size_t end) {
  size_t m = half->product.m, width = (m == 1 ? ONE_ROW_GROUPS : m == 2 ? 2 : 1) * SIDE;
  for (; column < end; column += width)
    for (size_t row = 0; row < m; row += 4)
      (m == 1 ? run_one_row : m == 2 ? run_two_rows : run_four_rows)(half, row, column, least(column + width, end));
}

// Many rows: TILE_ROWS rows of weights at a time are widened into the first-level cache, as gemm.c copies them.

/// TILE_ROWS rows of weights, the terms [from, from + k), COPY_ROW apart; zeros for those not there.
static void widen_rows(const HalfProduct *half, size_t row, size_t from, size_t k, float *copy) {
  for (size_t i = row; i < row + TILE_ROWS; i++, copy += COPY_ROW) {
    if (i < half->product.n) widen(half->weights + i * half->product.k + from, k, copy);
    else memset(copy, 0, k * sizeof *copy);
  }
}

/// Rows [row, row + m) of x, no more than ROW_BLOCK, with the rows [column, end) of weights.
static void run_many_half(const HalfProduct *half, size_t row, size_t m, size_t column, size_t end, float *memory) {
  size_t all_k = half->product.k, full = m / TILE_COLUMNS * TILE_COLUMNS;
  size_t last = m - full <= LANES ? LANES : TILE_COLUMNS; // rows of the panel behind the full ones
  float *copy = memory, *panels = memory + TILE_ROWS * COPY_ROW;
  for (size_t from = 0; from < all_k; from += K_BLOCK) {
    size_t k = least(K_BLOCK, all_k - from);
    Product part = part_of(&half->product, row, m, 0, end, from, k);
    for (size_t i = 0; i < m; i += TILE_COLUMNS)
      pack_panel(part.a + i * part.a_row, part.a_row, 1, least(TILE_COLUMNS, m - i), k, i < full ? TILE_COLUMNS : last,
                 panels + i * k);
    for (size_t j = column; j < end; j += TILE_ROWS) {
      const uint16_t *next = half->weights + least(j + TILE_ROWS, end - 1) * all_k + from;
      Ahead ahead = {(const float *)(const void *)next, all_k / 2, LINE / 2};
      widen_rows(half, j, from, k, copy);
      for (size_t i = 0; i < m; i += TILE_COLUMNS)
        (i == full && last == LANES ? run_copied_narrow_tile : run_copied_tile)(
            k, copy, 0, panels + i * k, i == 0 ? ahead : nothing_ahead(copy),
            corner_at(&part, i, j, TILE_COLUMNS, TILE_ROWS));
    }
  }
}

/// How one product is cut: `columns` rows of weights in a task, `across` tasks for them all, numbered from `first` on.
typedef struct {
  const HalfProduct *half;
  size_t columns, across;
  uint32_t first;
} HalfCut;

typedef struct {
  HalfCut *cuts;
  float *memory; // MEMORY floats for each thread
} HalfBatch;

static void half_task(const void *context, uint32_t task, unsigned thread) {
  const HalfBatch *batch = context;
  const HalfCut *cut = batch->cuts;
  while (task >= cut[1].first) cut++;
  const Product *product = &cut->half->product;
  size_t number = task - cut->first, row = number / cut->across * ROW_BLOCK;
  size_t column = number % cut->across * cut->columns, end = least(column + cut->columns, product->n);
  if (product->m <= FEW_HALF_ROWS) run_few_half(cut->half, column, end);
  else run_many_half(cut->half, row, least(ROW_BLOCK, product->m - row), column, end, batch->memory + thread * MEMORY);
}

/// A task's rows of weights: whole groups of a few rows, or whole tiles.
static size_t half_columns(const Product *product, double wanted) {
  size_t unit = product->m <= FEW_HALF_ROWS ? 4 * SIDE : 4 * TILE_ROWS, down = parts(product->m, ROW_BLOCK);
  size_t columns = wanted > (double)down ? (size_t)((double)product->n * (double)down / wanted) + 1 : product->n;
  return parts(columns, unit) * unit;
}

/// Runs `count` products on all threads, whose outputs lie apart. False when memory has run out.
static bool run_half_products(const HalfProduct *products, size_t count) {
  HalfBatch batch = {scratch_bytes((count + 1) * sizeof(HalfCut)), scratch(thread_count() * MEMORY)};
  if (!batch.cuts || !batch.memory) return false;
  HalfCut *cut = batch.cuts;
  uint32_t tasks = 0;
  double work = 0;
  for (size_t i = 0; i < count; i++) work += work_of(&products[i].product);
  for (size_t i = 0; i < count; i++) {
    const Product *product = &products[i].product;
    if (product->k == 0) run_empty(product);
    if (product->m == 0 || product->n == 0 || product->k == 0) continue;
    size_t columns = half_columns(product, TASKS_PER_THREAD * thread_count() * work_of(product) / work);
    *cut = (HalfCut){&products[i], columns, parts(product->n, columns), tasks};
    tasks += (uint32_t)(parts(product->m, ROW_BLOCK) * cut++->across);
  }
  *cut = (HalfCut){.first = tasks};
  if (work > SMALL_WORK) parallel(half_task, &batch, tasks);
  else for (uint32_t task = 0; task < tasks; task++) half_task(&batch, task, 0);
  return true;
}

static HalfProduct half_product(const float *x, const uint16_t *weights, const float *bias, float *y, size_t m,
                                size_t n, size_t k) {
  Product product = {.a = x, .bias = bias, .c = y, .m = m, .n = n, .k = k, .a_row = k, .a_column = 1, .c_row = n};
  return (HalfProduct){product, weights};
}

/// gemm_half(x_MK, w_NK in bf16, y_MN, bias_N or 0, m, n, k): y = x wᵀ (+ bias).
KERNEL(gemm_half) {
  HalfProduct product = half_product(x[0].floats, x[1].halves, x[3].bits ? x[3].floats : NULL, x[2].floats,
                                     size_of(x[4]), size_of(x[5]), size_of(x[6]));
  return run_half_products(&product, 1);
}

/// grouped_gemm_half(x_ND, w_EFD list in bf16, offsets_E1, y_NF, E, d, f): y[r] = x[r] w[e]ᵀ for
/// offsets[e] ≤ r < offsets[e + 1].
KERNEL(grouped_gemm_half) {
  size_t experts = size_of(x[4]), d = size_of(x[5]), f = size_of(x[6]);
  HalfProduct *products = scratch_bytes(experts * sizeof(HalfProduct));
  if (!products) return false;
  for (size_t e = 0; e < experts; e++) {
    size_t start = (size_t)x[2].ints[e], end = (size_t)x[2].ints[e + 1];
    products[e] = half_product(x[0].floats + start * d, (const uint16_t *)(const void *)x[1].list[e], NULL,
                               x[3].floats + start * f, end - start, f, d);
  }
  return run_half_products(products, experts);
}

static void embedding_half_tokens(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  size_t d = size_of(x[4]);
  Range tokens = block_at(task, size_of(x[3]), rows_of_block(d));
  (void)thread;
  for (size_t t = tokens.start; t < tokens.end; t++)
    widen(x[0].halves + (size_t)x[1].ints[t] * d, d, x[2].floats + t * d);
}

/// embedding_half(w [·, d] in bf16, id [tokens], y [tokens, d], tokens, d): y[t] = w[id[t]].
KERNEL(embedding_half) {
  parallel(embedding_half_tokens, x, blocks_of(size_of(x[3]), rows_of_block(size_of(x[4]))));
  return true;
}
