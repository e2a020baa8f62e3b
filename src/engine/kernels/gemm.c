// Matrix products in fp32, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
// rows of A are packed into panels that stay in the second-level cache, columns of B into one that stays in the first,
// and a register tile runs down both. C is cut into parts, one task each. B is packed once, before, where many rows
// share it; else each part packs what it needs, and for few rows a B is the left side of transposed tiles.
// An element is the sum over blocks of K_BLOCK of sums taken in the order of k: the same bits for every cut, every
// tile and every number of rows beside it.

#include "tile.h"

#define ROW_BLOCK 192                // rows of A that are packed at once
#define PANEL (K_BLOCK * TILE_COLUMNS)
#define SHARED_FLOATS (8u << 20)     // packed B of one call: 32 MiB at most, what is beyond is packed part by part
#define FEW_ROWS 3                   // up to so many rows are taken one by one
#define TURNED_ROWS 64               // up to so many rows a row-major B is not worth packing
#define SMALL_WORK (48.0 * 48 * 48)  // below this many multiply-adds, waking a thread costs more than it saves

/// C[m,n] = (accumulate ? C : 0) + A[m,k] B[k,n] (+ bias[n]).
/// A[i,p] = a[i * a_row + p * a_column], B[p,j] = b[p * b_row + j * b_column], one stride of each being 1;
/// C[i,j] = c[i * c_row + j].
typedef struct {
  const float *a, *b, *bias;
  float *c;
  size_t m, n, k;
  size_t a_row, a_column, b_row, b_column, c_row;
  bool accumulate;
} Product;

static size_t least(size_t x, size_t y) { return x < y ? x : y; }
static size_t parts(size_t whole, size_t part) { return (whole + part - 1) / part; }

static Corner corner_at(const Product *product, size_t row, size_t column, size_t rows, size_t columns) {
  return (Corner){
      .c = product->c + row * product->c_row + column,
      .bias = product->bias ? product->bias + column : NULL,
      .stride = product->c_row,
      .rows = least(rows, product->m - row),
      .columns = least(columns, product->n - column),
      .accumulate = product->accumulate,
  };
}

/// Panels [k, height] of all rows of A.
static void pack_rows(const Product *product, size_t height, float *panels) {
  for (size_t row = 0; row < product->m; row += height)
    pack_panel(product->a + row * product->a_row, product->a_row, product->a_column, least(height, product->m - row),
               product->k, height, panels + row * product->k);
}

/// Panels [k, TILE_COLUMNS] of the columns [column, end) of B.
static void pack_columns(const Product *product, size_t column, size_t end, float *panels) {
  for (; column < end; column += TILE_COLUMNS, panels += TILE_COLUMNS * product->k)
    pack_panel(product->b + column * product->b_column, product->b_column, product->b_row,
               least(TILE_COLUMNS, end - column), product->k, TILE_COLUMNS, panels);
}

static Ahead nothing_ahead(const float *here) { return (Ahead){here, 0, 0}; }

/// The C that the next tile will write: it is asked for while this one computes.
static Ahead next_tile(const Product *product, size_t row, size_t column, size_t end) {
  const float *here = product->c + row * product->c_row + column;
  const float *below = product->c + (row + TILE_ROWS) * product->c_row;
  return (Ahead){column + TILE_COLUMNS < end ? here + TILE_COLUMNS : below, product->c_row, LINE};
}

/// While the first tiles of a panel of B are computed, each asks for one line of every row of the next panel.
static Ahead next_panel(const Product *product, size_t row, size_t column) {
  size_t line = row / TILE_ROWS * LINE;
  if (line >= TILE_COLUMNS || column + TILE_COLUMNS + line >= product->n) return nothing_ahead(product->b);
  return (Ahead){product->b + column + TILE_COLUMNS + line, product->b_row, LINE * product->b_row};
}

/// Many rows: panels of A, and as many panels of B at a time as fill the one of K_BLOCK. B may be packed already.
static void run_packed(const Product *product, const float *packed, float *memory) {
  size_t k = product->k, group = K_BLOCK / k * TILE_COLUMNS;
  float *panels_a = memory, *panels_b = memory + parts(product->m, TILE_ROWS) * TILE_ROWS * k;
  pack_rows(product, TILE_ROWS, panels_a);
  for (size_t first = 0; first < product->n; first += group) {
    size_t end = least(first + group, product->n);
    if (!packed) pack_columns(product, first, end, panels_b);
    const float *panels = packed ? packed + first * k : panels_b;
    for (size_t row = 0; row < product->m; row += TILE_ROWS)
      for (size_t column = first; column < end; column += TILE_COLUMNS)
        run_tile(k, panels_a + row * k, panels + (column - first) * k, TILE_COLUMNS,
                 packed ? next_tile(product, row, column, end) : next_panel(product, row, column),
                 corner_at(product, row, column, TILE_ROWS, TILE_COLUMNS));
  }
}

typedef void (*Tile)(size_t k, const float *a, const float *b, size_t b_row, Ahead ahead, Corner corner);

/// B row-major, no more rows than a tile has: B is read once, where it lies, but for its last few columns.
static void run_in_place(const Product *product, float *memory) {
  bool flat = product->m == 1, low = product->m <= LOW_ROWS;
  size_t k = product->k, column = 0, height = flat ? 1 : low ? LOW_ROWS : TILE_ROWS;
  size_t width = LANES * (flat ? FLAT_WIDE : low ? LOW_WIDE : TILE_WIDE);
  Tile tile = flat ? run_flat_tile : low ? run_low_tile : run_tile;
  Tile narrow = flat ? run_flat_narrow_tile : low ? run_low_narrow_tile : run_narrow_tile;
  float *panel_a = memory, *panel_b = memory + height * k;
  pack_rows(product, height, panel_a);
  Ahead ahead = nothing_ahead(memory);
  for (; column + width <= product->n; column += width)
    tile(k, panel_a, product->b + column, product->b_row, ahead, corner_at(product, 0, column, height, width));
  for (; column + LANES <= product->n; column += LANES)
    narrow(k, panel_a, product->b + column, product->b_row, ahead, corner_at(product, 0, column, height, LANES));
  if (column == product->n) return;
  pack_panel(product->b + column, 1, product->b_row, product->n - column, k, LANES, panel_b);
  narrow(k, panel_a, panel_b, LANES, ahead, corner_at(product, 0, column, height, LANES));
}

typedef void (*TurnedTile)(size_t k, const float *b, size_t b_row, const float *a, Ahead ahead, Corner corner);

/// Columns [column, column + TILE_ROWS) of a B that is contiguous in k, COPY_ROW apart; zeros for those not there.
static void copy_columns(const Product *product, size_t column, float *copy) {
  for (size_t i = 0; i < TILE_ROWS; i++, copy += COPY_ROW) {
    const float *from = product->b + (column + i) * product->b_column;
    if (column + i < product->n) pack_runs(from, 0, product->k, 1, 0, copy);
    else for (size_t p = 0; p < product->k; p++) copy[p] = 0;
  }
}

/// TILE_ROWS columns of B as a transposed tile reads them.
typedef struct {
  const float *b;
  size_t b_row;
  Ahead ahead; // the next columns
} Columns;

/// A row-major B is read where it lies, but for its last few columns; one that is contiguous in k is copied.
static Columns columns_at(const Product *product, size_t column, float *copy) {
  const float *here = product->b + column * product->b_column;
  bool lies = product->b_column == 1, last = column + TILE_ROWS >= product->n;
  Columns columns = {.b = copy, .b_row = TILE_ROWS, .ahead = nothing_ahead(copy)};
  if (!lies) copy_columns(product, column, copy);
  else if (column + TILE_ROWS <= product->n) columns.b = here, columns.b_row = product->b_row;
  else pack_panel(here, 1, product->b_row, product->n - column, product->k, TILE_ROWS, copy);
  if (last) return columns;
  here += TILE_ROWS * product->b_column;
  columns.ahead = lies ? (Ahead){here + LINE - 1, product->b_row, LINE * product->b_row}
                       : (Ahead){here, product->b_column, LINE};
  return columns;
}

/// Some rows: transposed tiles, with panels of rows of A.
static void run_turned(const Product *product, float *memory) {
  size_t m = product->m, k = product->k, full = m / TILE_COLUMNS * TILE_COLUMNS;
  size_t last = m - full <= LANES ? LANES : TILE_COLUMNS; // rows of the panel behind the full ones
  float *copy = memory, *panels = memory + TILE_ROWS * COPY_ROW;
  bool lies = product->b_column == 1;
  for (size_t row = 0; row < m; row += TILE_COLUMNS)
    pack_panel(product->a + row * product->a_row, product->a_row, product->a_column, least(TILE_COLUMNS, m - row), k,
               row < full ? TILE_COLUMNS : last, panels + row * k);
  TurnedTile tile = lies ? run_lying_tile : run_copied_tile;
  TurnedTile narrow = lies ? run_lying_narrow_tile : run_copied_narrow_tile;
  for (size_t column = 0; column < product->n; column += TILE_ROWS) {
    Columns columns = columns_at(product, column, copy);
    for (size_t row = 0; row < m; row += TILE_COLUMNS)
      (row == full && last == LANES ? narrow : tile)(k, columns.b, columns.b_row, panels + row * k,
                                                     row == 0 ? columns.ahead : nothing_ahead(copy),
                                                     corner_at(product, row, column, TILE_COLUMNS, TILE_ROWS));
  }
}

/// A product without terms: zeros, what was there, or the bias.
static void run_empty(const Product *product) {
  for (size_t i = 0; i < product->m; i++) {
    float *c = product->c + i * product->c_row;
    for (size_t j = 0; j < product->n; j++)
      c[j] = (product->accumulate ? c[j] : 0) + (product->bias ? product->bias[j] : 0);
  }
}

/// Rows [row, row + m), columns [column, column + n) and terms [from, from + k) of a product, as one of its own.
static Product part_of(const Product *product, size_t row, size_t m, size_t column, size_t n, size_t from, size_t k) {
  Product part = *product;
  part.a += row * product->a_row + from * product->a_column;
  part.b += from * product->b_row + column * product->b_column;
  part.c += row * product->c_row + column;
  part.bias = product->bias && from == 0 ? product->bias + column : NULL;
  part.accumulate = product->accumulate || from > 0;
  part.m = m;
  part.n = n;
  part.k = k;
  return part;
}

#define MEMORY (ROW_BLOCK * K_BLOCK + PANEL) // floats that run_rows() needs

#define CACHE_STRIDE 512 // columns of B so many floats apart, or a multiple, have two places in the first-level cache

/// B stored transposed, a few rows that are contiguous in k: all of some columns of B, then the next ones. No more
/// columns at a time than the cache has room for.
static void run_few(const Product *product) {
  size_t width = product->b_column % CACHE_STRIDE == 0 ? SIDE : DOT_COLUMNS;
  for (size_t column = 0; column < product->n; column += width) {
    for (size_t from = 0; from < product->k; from += K_BLOCK) {
      Product part = part_of(product, 0, product->m, 0, product->n, from, least(K_BLOCK, product->k - from));
      const float *columns[DOT_COLUMNS]; // the last one again for those that are not there
      for (size_t i = 0; i < width; i++) columns[i] = part.b + least(column + i, part.n - 1) * part.b_column;
      for (size_t row = 0; row < part.m; row++)
        (width == SIDE ? run_half_dots : run_dots)(part.k, part.a + row * part.a_row, columns,
                                                   corner_at(&part, row, column, 1, width));
    }
  }
}

/// Where the panels of a B are that has been packed, for each block of k those of `wide` columns in all; the panels
/// from `column` on are meant. NULL: it has not been packed.
typedef struct {
  const float *panels;
  size_t wide, column;
} Packed;

/// No more than ROW_BLOCK rows of a product, on the calling thread.
static void run_rows(const Product *product, Packed packed, float *memory) {
  bool turned = product->b_column != 1;
  if (product->k == 0) return run_empty(product);
  if (turned && product->m <= FEW_ROWS && product->a_column == 1) return run_few(product);
  for (size_t from = 0; from < product->k; from += K_BLOCK) {
    Product part = part_of(product, 0, product->m, 0, product->n, from, least(K_BLOCK, product->k - from));
    if (packed.panels) run_packed(&part, packed.panels + from * packed.wide + packed.column * part.k, memory);
    else if (!turned && part.m <= TILE_ROWS) run_in_place(&part, memory);
    else if (turned || part.m <= TURNED_ROWS) run_turned(&part, memory);
    else run_packed(&part, NULL, memory);
  }
}

/// How one product is cut into parts, [rows, columns] each, numbered row by row from `first` on, and where its B is
/// packed beforehand (NULL: nowhere), in tasks numbered from `first_pack` on.
typedef struct {
  const Product *product;
  size_t rows, columns, across, shared; // shared: floats of the packed B
  float *packed;
  uint32_t first, first_pack;
} Cut;

typedef struct {
  Cut *cuts;
  size_t count;
  float *memory; // MEMORY floats for each thread
  uint32_t tasks, packs;
} Batch;

static size_t padded_columns(const Product *product) { return parts(product->n, TILE_COLUMNS) * TILE_COLUMNS; }

/// Block of k and PACK_COLUMNS of them.
#define PACK_COLUMNS (4 * TILE_COLUMNS)
static uint32_t packs_of(const Product *product) {
  return (uint32_t)(parts(product->k, K_BLOCK) * parts(product->n, PACK_COLUMNS));
}

static void pack_task(const void *context, uint32_t task, unsigned thread) {
  const Batch *batch = context;
  const Cut *cut = batch->cuts;
  (void)thread;
  while (!cut->packed || task - cut->first_pack >= packs_of(cut->product)) cut++;
  const Product *product = cut->product;
  size_t across = parts(product->n, PACK_COLUMNS), number = task - cut->first_pack;
  size_t from = number / across * K_BLOCK, column = number % across * PACK_COLUMNS;
  Product part = part_of(product, 0, 0, 0, product->n, from, least(K_BLOCK, product->k - from));
  pack_columns(&part, column, least(column + PACK_COLUMNS, product->n),
               cut->packed + from * padded_columns(product) + column * part.k);
}

static void part_task(const void *context, uint32_t task, unsigned thread) {
  const Batch *batch = context;
  size_t low = 0, high = batch->count; // the last cut that begins at or before this task
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (batch->cuts[middle].first <= task) low = middle;
    else high = middle;
  }
  const Cut *cut = &batch->cuts[low];
  const Product *product = cut->product;
  size_t number = task - cut->first;
  size_t row = number / cut->across * cut->rows, column = number % cut->across * cut->columns;
  Product part = part_of(product, row, least(cut->rows, product->m - row), column,
                         least(cut->columns, product->n - column), 0, product->k);
  run_rows(&part, (Packed){cut->packed, padded_columns(product), column}, batch->memory + thread * MEMORY);
}

#define SHARED_ROWS 48 // of a part whose B is packed already
#define TASKS_PER_THREAD 8

/// Rows first, as each part packs its rows anew for its columns; columns where there are not enough rows.
static void cut_product(Cut *cut, double wanted) {
  const Product *product = cut->product;
  cut->rows = cut->packed ? SHARED_ROWS : ROW_BLOCK;
  double pieces = wanted / (double)parts(product->m, cut->rows);
  size_t unit = cut->packed || product->b_column == 1 ? TILE_COLUMNS : TILE_ROWS;
  size_t least_columns = product->m <= TILE_ROWS || product->a_row == 1 ? 64 : 128; // else packing A would tell
  size_t most = product->n / least_columns;
  size_t across = pieces < (double)most ? (size_t)pieces + 1 : most;
  if (across < 1 || pieces <= 1) across = 1;
  cut->columns = parts(parts(product->n, across), unit) * unit;
  cut->across = parts(product->n, cut->columns);
}

static double work_of(const Product *product) {
  return (double)product->m * (double)product->n * (double)(product->k + 8); // 8: writing C is work too
}

/// Scratch memory in bytes, never none.
static void *scratch_bytes(size_t bytes) { return scratch(bytes / sizeof(float) + 1); }

/// B is packed beforehand where several parts would pack it.
static bool share_columns(Batch *batch) {
  size_t shared = 0;
  for (Cut *cut = batch->cuts; cut < batch->cuts + batch->count; cut++) {
    size_t floats = padded_columns(cut->product) * cut->product->k;
    if (cut->product->m <= ROW_BLOCK || floats == 0 || shared + floats > SHARED_FLOATS) continue;
    cut->shared = floats;
    cut->first_pack = batch->packs;
    batch->packs += packs_of(cut->product);
    shared += floats;
  }
  float *packed = scratch(shared + 1);
  for (Cut *cut = batch->cuts; packed && cut < batch->cuts + batch->count; packed += cut->shared, cut++)
    if (cut->shared) cut->packed = packed;
  return packed != NULL;
}

static void run_each(Task run, const Batch *batch, uint32_t count, double work) {
  if (work > SMALL_WORK) parallel(run, batch, count);
  else for (uint32_t task = 0; task < count; task++) run(batch, task, 0);
}

/// Runs `count` products on all threads, none of which may write where another reads or writes. False when memory has
/// run out.
static bool run_products(const Product *products, size_t count) {
  Batch batch = {.cuts = scratch_bytes(count * sizeof(Cut)), .memory = scratch(thread_count() * MEMORY)};
  if (!batch.cuts || !batch.memory) return false;
  double work = 0;
  for (size_t i = 0; i < count; i++) {
    if (products[i].m == 0 || products[i].n == 0) continue;
    batch.cuts[batch.count++] = (Cut){.product = &products[i]};
    work += work_of(&products[i]);
  }
  if (!share_columns(&batch)) return false;
  for (Cut *cut = batch.cuts; cut < batch.cuts + batch.count; cut++) {
    cut_product(cut, TASKS_PER_THREAD * thread_count() * work_of(cut->product) / work);
    cut->first = batch.tasks;
    batch.tasks += (uint32_t)(parts(cut->product->m, cut->rows) * cut->across);
  }
  run_each(pack_task, &batch, batch.packs, work);
  run_each(part_task, &batch, batch.tasks, work);
  return true;
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
                         size_t inner, size_t outer, bool turned, bool accumulate) {
  Product *products = scratch_bytes(experts * sizeof(Product));
  if (!products) return false;
  for (size_t e = 0; e < experts; e++) {
    size_t start = (size_t)offsets[e], end = (size_t)offsets[e + 1];
    products[e] = (Product){
        .a = in + start * inner, .b = weights[e], .c = out + start * outer,
        .m = end - start, .n = outer, .k = inner,
        .a_row = inner, .a_column = 1, .b_row = turned ? 1 : outer, .b_column = turned ? inner : 1, .c_row = outer,
        .accumulate = accumulate,
    };
  }
  return run_products(products, experts);
}

/// grouped_gemm(x_ND, w_EFD list, offsets_E1, y_NF, E, d, f): y[r] = x[r] w[e]ᵀ for offsets[e] ≤ r < offsets[e + 1].
KERNEL(grouped_gemm) {
  size_t d = size_of(x[5]), f = size_of(x[6]);
  return grouped_rows(x[0].floats, x[1].list, x[2].ints, x[3].floats, size_of(x[4]), d, f, true, false);
}

/// grouped_gemm_input(dy_NF, w_EFD list, offsets_E1, dx_ND, E, d, f, accumulate): dx[r] = (accumulate ? dx[r] : 0) +
/// dy[r] w[e] for the rows of e.
KERNEL(grouped_gemm_input) {
  size_t d = size_of(x[5]), f = size_of(x[6]);
  return grouped_rows(x[0].floats, x[1].list, x[2].ints, x[3].floats, size_of(x[4]), f, d, false, x[7].number != 0);
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
