// Matrix products in fp32: both operands are packed into panels, then a register tile runs down each pair of panels.
// Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with the work cut into tasks.
// An element is the sum over blocks of K_BLOCK of sums taken in order of k: the same bits for every split of the work.

#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define K_BLOCK 256                  // k in one pass of a tile: a panel of B stays in the first-level cache
#define ROW_BLOCK 96                 // rows of A that a task packs: they stay in the second-level cache
#define SLICE_K (8 * K_BLOCK)        // a slice of B is packed whole: [SLICE_K, SLICE_COLUMNS] at most, 16 MiB
#define SLICE_COLUMNS 2048
#define PACKED_FLOATS (SLICE_K * SLICE_COLUMNS)
#define PACK_GROUP 4                 // panels of B that one packing task takes
#define SMALL_WORK (48.0 * 48 * 48)  // below this many multiply-adds, waking a thread costs more than it saves

typedef struct {
  float *c;
  const float *bias;
  size_t stride, rows, columns;
  bool accumulate;
} Corner;

static void write_part(const float *sum, size_t width, Corner corner) {
  for (size_t i = 0; i < corner.rows; i++) {
    for (size_t j = 0; j < corner.columns; j++) {
      float *c = corner.c + i * corner.stride + j;
      float value = sum[i * width + j];
      if (corner.bias) value += corner.bias[j];
      if (corner.accumulate) value += *c;
      *c = value;
    }
  }
}

#define NAME plain
#define TARGET
#define LANES 4
#define ROWS 4
#define WIDE 2
#include "tile.h"

#if defined(__x86_64__)
#define NAME avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define WIDE 2
#include "tile.h"

#define NAME avx512
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define ROWS 12
#define WIDE 2
#include "tile.h"
#endif

typedef struct {
  const char *name;
  size_t rows, columns;
  void (*run)(size_t k, const float *a, const float *b, Corner corner);
} Tile;

static Tile tiles[3], tile; // those that this processor can run, best first, and the one in use
static size_t tile_count;
static pthread_once_t tiles_listed = PTHREAD_ONCE_INIT;

static void list_tiles(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) tiles[tile_count++] = (Tile){"avx512", 12, 32, tile_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tiles[tile_count++] = (Tile){"avx2", 6, 16, tile_avx2};
#endif
  tiles[tile_count++] = (Tile){"plain", 4, 8, tile_plain};
  tile = tiles[0];
}

const char *instruction_set(void) {
  pthread_once(&tiles_listed, list_tiles);
  return tile.name;
}

bool use_instruction_set(const char *name) {
  pthread_once(&tiles_listed, list_tiles);
  for (size_t i = 0; i < tile_count; i++) {
    if (strcmp(tiles[i].name, name) != 0) continue;
    tile = tiles[i];
    return true;
  }
  return false;
}

/// A part of a product that is packed and run at once: columns [column, column + columns), terms [from, from + k).
typedef struct {
  const Product *product;
  size_t column, columns, from, k;
  float *packed;      // panels of B: block of k, then panel, then [k, tile.columns]
  size_t pieces;      // column pieces that the tile tasks are cut into
  uint32_t pack_task; // number of its first packing task, and of its first tile task
  uint32_t tile_task;
} Slice;

typedef struct {
  Slice *slices;
  size_t count;
  uint32_t pack_tasks, tile_tasks;
} Batch;

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t parts(size_t whole, size_t part) { return (whole + part - 1) / part; }
static size_t panels_of(const Slice *slice) { return parts(slice->columns, tile.columns); }
static size_t packed_size(const Slice *slice) { return panels_of(slice) * tile.columns * slice->k; }

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
static void pack_panel(const float *in, size_t i_stride, size_t p_stride, size_t count, size_t k, size_t width, float *out) {
  if (count < width) memset(out, 0, width * k * sizeof(float));
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
  (void)thread;
  const Slice *slice = batch->slices;
  while (slice + 1 < batch->slices + batch->count && slice[1].pack_task <= task) slice++;
  const Product *product = slice->product;
  size_t groups = parts(panels_of(slice), PACK_GROUP);
  size_t block = (task - slice->pack_task) / groups, first = (task - slice->pack_task) % groups * PACK_GROUP;
  size_t from = block * K_BLOCK, k = least(K_BLOCK, slice->k - from);
  float *out = slice->packed + from * panels_of(slice) * tile.columns;
  for (size_t panel = first; panel < least(first + PACK_GROUP, panels_of(slice)); panel++) {
    size_t column = panel * tile.columns;
    const float *b = product->b + (slice->from + from) * product->b_row + (slice->column + column) * product->b_column;
    pack_panel(b, product->b_column, product->b_row, least(tile.columns, slice->columns - column), k, tile.columns,
               out + column * k);
  }
}

static float *scratch[MAX_THREADS]; // packed rows of A, [K_BLOCK, ROW_BLOCK] for each thread

/// All tiles of one block of rows, one block of k and a run of panels.
static void run_block(const Slice *slice, size_t row, size_t rows, size_t from, size_t k, size_t panel, size_t end,
                      const float *packed_a) {
  const Product *product = slice->product;
  const float *packed_b = slice->packed + from * panels_of(slice) * tile.columns;
  bool first = slice->from + from == 0;
  for (; panel < end; panel++) {
    size_t in_slice = panel * tile.columns, column = slice->column + in_slice;
    for (size_t i = 0; i < rows; i += tile.rows) {
      Corner corner = {
          .c = product->c + (row + i) * product->n + column,
          .bias = first && product->bias ? product->bias + column : NULL,
          .stride = product->n,
          .rows = least(tile.rows, rows - i),
          .columns = least(tile.columns, slice->columns - in_slice),
          .accumulate = product->accumulate || !first,
      };
      tile.run(k, packed_a + i * k, packed_b + in_slice * k, corner);
    }
  }
}

static void tile_task(const void *context, uint32_t task, unsigned thread) {
  const Batch *batch = context;
  const Slice *slice = batch->slices;
  while (slice + 1 < batch->slices + batch->count && slice[1].tile_task <= task) slice++;
  const Product *product = slice->product;
  size_t row = (task - slice->tile_task) / slice->pieces * ROW_BLOCK, piece = (task - slice->tile_task) % slice->pieces;
  size_t rows = least(ROW_BLOCK, product->m - row), panels = panels_of(slice);
  for (size_t from = 0; from < slice->k; from += K_BLOCK) {
    size_t k = least(K_BLOCK, slice->k - from);
    const float *a = product->a + row * product->a_row + (slice->from + from) * product->a_column;
    for (size_t i = 0; i < rows; i += tile.rows)
      pack_panel(a + i * product->a_row, product->a_row, product->a_column, least(tile.rows, rows - i), k, tile.rows,
                 scratch[thread] + i * k);
    run_block(slice, row, rows, from, k, piece * panels / slice->pieces, (piece + 1) * panels / slice->pieces,
              scratch[thread]);
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
    float *c = product->c + i * product->n;
    for (size_t j = 0; j < product->n; j++)
      c[j] = (product->accumulate ? c[j] : 0) + (product->bias ? product->bias[j] : 0);
  }
}

static float *packed_b;
static size_t packed_capacity;

static float *allocate(size_t floats) {
  void *memory = NULL;
  return posix_memalign(&memory, 64, floats * sizeof(float)) == 0 ? memory : NULL;
}

static bool reserve(size_t floats) {
  for (unsigned thread = 0; thread < thread_count(); thread++)
    if (!scratch[thread] && !(scratch[thread] = allocate((ROW_BLOCK + 16) * K_BLOCK))) return false;
  if (floats <= packed_capacity) return true;
  free(packed_b);
  packed_b = allocate(floats);
  packed_capacity = packed_b ? floats : 0;
  return packed_b != NULL;
}

#define BATCH_SLICES 256

typedef struct {
  Slice slices[BATCH_SLICES];
  size_t count, floats;
} Pending;

static bool flush(Pending *pending) {
  if (pending->count == 0) return true;
  if (!reserve(pending->floats)) return false;
  float *packed = packed_b;
  for (size_t s = 0; s < pending->count; s++) {
    pending->slices[s].packed = packed;
    packed += packed_size(&pending->slices[s]);
  }
  run_batch(&(Batch){.slices = pending->slices, .count = pending->count});
  pending->count = pending->floats = 0;
  return true;
}

/// Slices wait until they fill the packing buffer; one that adds to what an earlier slice wrote must not wait with it.
static bool add_slice(Pending *pending, Slice slice) {
  size_t floats = packed_size(&slice);
  bool full = pending->count == BATCH_SLICES || pending->floats + floats > PACKED_FLOATS;
  if ((full || slice.from > 0) && !flush(pending)) return false;
  pending->slices[pending->count++] = slice;
  pending->floats += floats;
  return true;
}

bool run_products(const Product *products, size_t count) {
  instruction_set();
  static Pending pending; // the caller holds the lock of the kernels
  pending.count = pending.floats = 0;
  for (const Product *product = products; product < products + count; product++) {
    if (product->m == 0 || product->n == 0) continue;
    if (product->k == 0) run_empty(product);
    for (size_t column = 0; column < product->n; column += SLICE_COLUMNS) {
      for (size_t from = 0; from < product->k; from += SLICE_K) {
        Slice slice = {.product = product, .column = column, .from = from};
        slice.columns = least(SLICE_COLUMNS, product->n - column);
        slice.k = least(SLICE_K, product->k - from);
        if (!add_slice(&pending, slice)) return false;
      }
    }
  }
  return flush(&pending);
}
