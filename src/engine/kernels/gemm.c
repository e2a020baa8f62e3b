// Matrix products in fp32: both operands are packed into panels, then a register tile runs down each pair of panels.
// Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with the work cut into tasks.
// An element is the sum over blocks of K_BLOCK of sums taken in order of k: the same bits for every split of the work.

#include "gemm.h"

#include "vector.h"

#define K_BLOCK 256                  // k in one pass of a tile: a panel of B stays in the first-level cache
#define ROW_BLOCK 96                 // rows of A that a task packs: they stay in the second-level cache
#define SLICE_K (8 * K_BLOCK)        // a slice of B is packed whole: [SLICE_K, SLICE_COLUMNS] at most, 16 MiB
#define SLICE_COLUMNS 2048
#define PACKED_FLOATS (SLICE_K * SLICE_COLUMNS)
#define PACKED_ROWS (ROW_BLOCK * K_BLOCK)
#define PACK_GROUP 4                 // panels of B that one packing task takes
#define SMALL_WORK (48.0 * 48 * 48)  // below this many multiply-adds, waking a thread costs more than it saves

#if LANES == 16
#define TILE_ROWS 12
#elif LANES == 8
#define TILE_ROWS 6
#else
#define TILE_ROWS 4
#endif
#define TILE_COLUMNS (2 * LANES)
#include "tile.h"

/// A part of a product that is packed and run at once: columns [column, column + columns), terms [from, from + k).
typedef struct {
  const Product *product;
  size_t column, columns, from, k;
  float *packed;      // panels of B: block of k, then panel, then [k, TILE_COLUMNS]
  size_t pieces;      // column pieces that the tile tasks are cut into
  uint32_t pack_task; // number of its first packing task, and of its first tile task
  uint32_t tile_task;
} Slice;

typedef struct {
  Slice *slices;
  size_t count;
  float *packed_rows; // PACKED_ROWS for each thread
  uint32_t pack_tasks, tile_tasks;
} Batch;

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t parts(size_t whole, size_t part) { return (whole + part - 1) / part; }
static size_t panels_of(const Slice *slice) { return parts(slice->columns, TILE_COLUMNS); }
static size_t packed_size(const Slice *slice) { return panels_of(slice) * TILE_COLUMNS * slice->k; }

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

/// out[p * width + i] = in[i * stride + p] for four i and four p.
static void transpose_four(const float *in, size_t stride, float *out, size_t width) {
  Four a = *(const Four *)in, b = *(const Four *)(in + stride);
  Four c = *(const Four *)(in + 2 * stride), d = *(const Four *)(in + 3 * stride);
  Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(Four *)out = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *(Four *)(out + width) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *(Four *)(out + 2 * width) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
  *(Four *)(out + 3 * width) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

/// One panel: out[p * width + i] = in[i * i_stride + p * p_stride] for i < count, and zero for count ≤ i < width.
static void pack_panel(const float *in, size_t i_stride, size_t p_stride, size_t count, size_t k, size_t width,
                       float *out) {
  if (count < width)
    for (size_t i = 0; i < width * k; i++) out[i] = 0;
  if (i_stride == 1) {
    for (size_t p = 0; p < k; p++) {
      const float *from = in + p * p_stride;
      float *to = out + p * width;
      size_t i = 0;
      for (; i + 4 <= count; i += 4) *(Four *)(to + i) = *(const Four *)(from + i);
      for (; i < count; i++) to[i] = from[i];
    }
    return;
  }
  size_t i_even = p_stride == 1 ? count / 4 * 4 : 0, p_even = k / 4 * 4;
  for (size_t i = 0; i < i_even; i += 4) {
    const float *from = in + i * i_stride;
    for (size_t p = 0; p < p_even; p += 4) transpose_four(from + p, i_stride, out + p * width + i, width);
    for (size_t p = p_even; p < k; p++)
      for (size_t r = 0; r < 4; r++) out[p * width + i + r] = from[r * i_stride + p];
  }
  for (size_t i = i_even; i < count; i++)
    for (size_t p = 0; p < k; p++) out[p * width + i] = in[i * i_stride + p * p_stride];
}

static void pack_task(const void *context, uint32_t task, unsigned thread) {
  const Batch *batch = context;
  const Slice *slice = batch->slices;
  (void)thread;
  while (slice + 1 < batch->slices + batch->count && slice[1].pack_task <= task) slice++;
  const Product *product = slice->product;
  size_t groups = parts(panels_of(slice), PACK_GROUP);
  size_t block = (task - slice->pack_task) / groups, first = (task - slice->pack_task) % groups * PACK_GROUP;
  size_t from = block * K_BLOCK, k = least(K_BLOCK, slice->k - from);
  float *out = slice->packed + from * panels_of(slice) * TILE_COLUMNS;
  for (size_t panel = first; panel < least(first + PACK_GROUP, panels_of(slice)); panel++) {
    size_t column = panel * TILE_COLUMNS;
    const float *b = product->b + (slice->from + from) * product->b_row + (slice->column + column) * product->b_column;
    pack_panel(b, product->b_column, product->b_row, least(TILE_COLUMNS, slice->columns - column), k, TILE_COLUMNS,
               out + column * k);
  }
}

/// All tiles of one block of rows, one block of k and a run of panels.
static void run_block(const Slice *slice, size_t row, size_t rows, size_t from, size_t k, size_t panel, size_t end,
                      const float *packed_a) {
  const Product *product = slice->product;
  const float *packed_b = slice->packed + from * panels_of(slice) * TILE_COLUMNS;
  bool first = slice->from + from == 0;
  for (; panel < end; panel++) {
    size_t in_slice = panel * TILE_COLUMNS, column = slice->column + in_slice;
    for (size_t i = 0; i < rows; i += TILE_ROWS) {
      Corner corner = {
          .c = product->c + (row + i) * product->c_row + column,
          .bias = first && product->bias ? product->bias + column : NULL,
          .stride = product->c_row,
          .rows = least(TILE_ROWS, rows - i),
          .columns = least(TILE_COLUMNS, slice->columns - in_slice),
          .accumulate = product->accumulate || !first,
      };
      run_tile(k, packed_a + i * k, packed_b + in_slice * k, corner);
    }
  }
}

static void tile_task(const void *context, uint32_t task, unsigned thread) {
  const Batch *batch = context;
  const Slice *slice = batch->slices;
  float *packed_a = batch->packed_rows + thread * PACKED_ROWS;
  while (slice + 1 < batch->slices + batch->count && slice[1].tile_task <= task) slice++;
  const Product *product = slice->product;
  size_t row = (task - slice->tile_task) / slice->pieces * ROW_BLOCK, piece = (task - slice->tile_task) % slice->pieces;
  size_t rows = least(ROW_BLOCK, product->m - row), panels = panels_of(slice);
  for (size_t from = 0; from < slice->k; from += K_BLOCK) {
    size_t k = least(K_BLOCK, slice->k - from);
    const float *a = product->a + row * product->a_row + (slice->from + from) * product->a_column;
    for (size_t i = 0; i < rows; i += TILE_ROWS)
      pack_panel(a + i * product->a_row, product->a_row, product->a_column, least(TILE_ROWS, rows - i), k, TILE_ROWS,
                 packed_a + i * k);
    run_block(slice, row, rows, from, k, piece * panels / slice->pieces, (piece + 1) * panels / slice->pieces,
              packed_a);
  }
}

static void run_batch(Batch *batch) {
  double work = 0;
  size_t all_blocks = 0;
  for (size_t s = 0; s < batch->count; s++) all_blocks += parts(batch->slices[s].product->m, ROW_BLOCK);
  size_t pieces = parts(4 * thread_count(), all_blocks);
  batch->pack_tasks = batch->tile_tasks = 0;
  for (size_t s = 0; s < batch->count; s++) {
    Slice *slice = &batch->slices[s];
    slice->pieces = least(pieces, parts(panels_of(slice), 4));
    slice->pack_task = batch->pack_tasks;
    slice->tile_task = batch->tile_tasks;
    batch->pack_tasks += (uint32_t)(parts(slice->k, K_BLOCK) * parts(panels_of(slice), PACK_GROUP));
    batch->tile_tasks += (uint32_t)(parts(slice->product->m, ROW_BLOCK) * slice->pieces);
    work += (double)slice->product->m * (double)slice->columns * (double)slice->k;
  }
  if (work > SMALL_WORK) {
    parallel(pack_task, batch, batch->pack_tasks);
    parallel(tile_task, batch, batch->tile_tasks);
    return;
  }
  for (uint32_t task = 0; task < batch->pack_tasks; task++) pack_task(batch, task, 0);
  for (uint32_t task = 0; task < batch->tile_tasks; task++) tile_task(batch, task, 0);
}

/// A product without terms: zeros, what was there, or the bias.
static void run_empty(const Product *product) {
  for (size_t i = 0; i < product->m; i++) {
    float *c = product->c + i * product->c_row;
    for (size_t j = 0; j < product->n; j++)
      c[j] = (product->accumulate ? c[j] : 0) + (product->bias ? product->bias[j] : 0);
  }
}

/// Scratch memory in bytes, never none.
static void *scratch_bytes(size_t bytes) { return scratch(bytes / sizeof(float) + 1); }

static size_t slices_of(const Product *product) {
  return parts(product->n, SLICE_COLUMNS) * parts(product->k, SLICE_K);
}

/// The slices that wait to be run together, and the memory that they are packed into.
typedef struct {
  Batch batch;
  float *packed;
  size_t capacity, used;
} Pending;

static void flush(Pending *pending) {
  if (pending->batch.count > 0) run_batch(&pending->batch);
  pending->batch.count = pending->used = 0;
}

/// Slices wait until they fill the packing memory; one that adds to what an earlier slice wrote must not wait with it.
static void add_slice(Pending *pending, Slice slice) {
  size_t floats = packed_size(&slice);
  if (pending->used + floats > pending->capacity || slice.from > 0) flush(pending);
  slice.packed = pending->packed + pending->used;
  pending->used += floats;
  pending->batch.slices[pending->batch.count++] = slice;
}

static void add_product(Pending *pending, const Product *product) {
  if (product->m == 0 || product->n == 0) return;
  if (product->k == 0) run_empty(product);
  for (size_t column = 0; column < product->n; column += SLICE_COLUMNS) {
    for (size_t from = 0; from < product->k; from += SLICE_K) {
      Slice slice = {.product = product, .column = column, .from = from};
      slice.columns = least(SLICE_COLUMNS, product->n - column);
      slice.k = least(SLICE_K, product->k - from);
      add_slice(pending, slice);
    }
  }
}

static bool run_products(const Product *products, size_t count) {
  size_t slices = 1, floats = 0;
  for (const Product *product = products; product < products + count; product++) {
    slices += slices_of(product);
    floats += parts(product->n, TILE_COLUMNS) * TILE_COLUMNS * product->k;
  }
  Pending pending = {.capacity = least(floats, PACKED_FLOATS)};
  pending.packed = scratch(pending.capacity + 1);
  pending.batch.slices = scratch_bytes(slices * sizeof(Slice));
  pending.batch.packed_rows = scratch(thread_count() * PACKED_ROWS);
  if (!pending.packed || !pending.batch.slices || !pending.batch.packed_rows) return false;
  for (const Product *product = products; product < products + count; product++) add_product(&pending, product);
  flush(&pending);
  return true;
}

static size_t small_product_scratch(size_t m, size_t n, size_t k) {
  return parts(least(m, ROW_BLOCK), TILE_ROWS) * TILE_ROWS * least(k, K_BLOCK) +
         parts(n, TILE_COLUMNS) * TILE_COLUMNS * k;
}

static void small_product(const Product *product, float *memory) {
  if (product->m == 0 || product->n == 0) return;
  if (product->k == 0) {
    run_empty(product);
    return;
  }
  size_t columns = parts(product->n, TILE_COLUMNS) * TILE_COLUMNS;
  Slice slice = {.product = product, .columns = product->n, .k = product->k, .packed = memory, .pieces = 1};
  Batch batch = {.slices = &slice, .count = 1, .packed_rows = memory + columns * product->k};
  uint32_t groups = (uint32_t)(parts(product->k, K_BLOCK) * parts(panels_of(&slice), PACK_GROUP));
  for (uint32_t task = 0; task < groups; task++) pack_task(&batch, task, 0);
  for (uint32_t task = 0; task < parts(product->m, ROW_BLOCK); task++) tile_task(&batch, task, 0);
}

/// gemm(a, b, c, bias or 0, batch, m, n, k, transposeA, transposeB, accumulate): for each of `batch` matrices that lie
/// one behind the other, c[m,n] = (accumulate ? c : 0) + op(a)[m,k] op(b)[k,n] (+ bias[n], the same one for all).
/// A transposed operand is stored [k,m] or [n,k].
KERNEL(gemm) {
  size_t batch = size_of(x[4]), m = size_of(x[5]), n = size_of(x[6]), k = size_of(x[7]);
  bool turn_a = x[8].number != 0, turn_b = x[9].number != 0;
  Product *products = scratch_bytes(batch * sizeof(Product));
  if (!products) return false;
  for (size_t i = 0; i < batch; i++)
    products[i] = (Product){
        .a = x[0].floats + i * m * k, .b = x[1].floats + i * k * n, .c = x[2].floats + i * m * n,
        .bias = x[3].bits ? x[3].floats : NULL, .m = m, .n = n, .k = k,
        .a_row = turn_a ? 1 : k, .a_column = turn_a ? m : 1,
        .b_row = turn_b ? 1 : n, .b_column = turn_b ? k : 1,
        .c_row = n, .accumulate = x[10].number != 0,
    };
  return run_products(products, batch);
}

/// in [N, inner] times each weight [f, d], turned or not, into out [N, outer].
static bool grouped_rows(const float *in, float *const *weights, const int32_t *offsets, float *out, size_t experts,
                         size_t inner, size_t outer, bool turned) {
  Product *products = scratch_bytes(experts * sizeof(Product));
  if (!products) return false;
  for (size_t e = 0; e < experts; e++) {
    size_t start = (size_t)offsets[e], end = (size_t)offsets[e + 1];
    products[e] = (Product){
        .a = in + start * inner, .b = weights[e], .c = out + start * outer,
        .m = end - start, .n = outer, .k = inner,
        .a_row = inner, .a_column = 1, .b_row = turned ? 1 : outer, .b_column = turned ? inner : 1, .c_row = outer,
    };
  }
  return run_products(products, experts);
}

/// grouped_gemm(x_ND, w_EFD list, offsets_E1, y_NF, E, d, f): y[r] = x[r] w[e]ᵀ for offsets[e] ≤ r < offsets[e + 1].
KERNEL(grouped_gemm) {
  return grouped_rows(x[0].floats, x[1].list, x[2].ints, x[3].floats, size_of(x[4]), size_of(x[5]), size_of(x[6]), true);
}

/// grouped_gemm_input(dy_NF, w_EFD list, offsets_E1, dx_ND, E, d, f): dx[r] = dy[r] w[e] for the rows of e.
KERNEL(grouped_gemm_input) {
  return grouped_rows(x[0].floats, x[1].list, x[2].ints, x[3].floats, size_of(x[4]), size_of(x[6]), size_of(x[5]), false);
}

/// grouped_gemm_weight(dy_NF, x_ND, offsets_E1, dw_EFD list, E, d, f): dw[e] = dy[rows of e]ᵀ x[rows of e], which is
/// zero for an expert without rows.
KERNEL(grouped_gemm_weight) {
  size_t experts = size_of(x[4]), d = size_of(x[5]), f = size_of(x[6]);
  Product *products = scratch_bytes(experts * sizeof(Product));
  if (!products) return false;
  for (size_t e = 0; e < experts; e++) {
    size_t start = (size_t)x[2].ints[e], end = (size_t)x[2].ints[e + 1];
    products[e] = (Product){
        .a = x[0].floats + start * f, .b = x[1].floats + start * d, .c = x[3].list[e],
        .m = f, .n = d, .k = end - start,
        .a_row = 1, .a_column = f, .b_row = d, .b_column = 1, .c_row = d,
    };
  }
  return run_products(products, experts);
}
