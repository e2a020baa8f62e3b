// RMSNorm (Zhang and Sennrich 2019, eq. 4), row by row: y = w ⊙ x r with r = 1 / √(mean(x²) + ε).
// dx = r (w ⊙ dy) − x r³ / D · Σ_d w dy x; dw = Σ_t dy ⊙ x r.

#include "blocks.h"
#include "vector.h"

static float inverse_rms(const float *x, size_t d, double epsilon) {
  return (float)(1 / __builtin_sqrt(dot(x, x, d) / (double)d + epsilon));
}

static void rms_norm_rows(const void *context, uint32_t task, unsigned thread) {
  const Argument *x = context;
  const float *w = x[1].floats;
  size_t d = size_of(x[4]);
  Range rows = block_at(task, size_of(x[3]), rows_of_block(d));
  (void)thread;
  for (size_t row = rows.start; row < rows.end; row++) {
    const float *from = x[0].floats + row * d;
    float *to = x[2].floats + row * d, r = inverse_rms(from, d, x[5].number);
    EACH_VECTOR(d, put(to + i, take(from + i, left, 0) * r * take(w + i, left, 0), left));
  }
}

/// x [rows, d], w [d], y [rows, d], rows, d, epsilon.
KERNEL(rms_norm) {
  parallel(rms_norm_rows, x, blocks_of(size_of(x[3]), rows_of_block(size_of(x[4]))));
  return true;
}

typedef struct {
  const float *x, *w, *dy;
  float *dx, *parts; // parts: dw of each block of rows
  size_t rows, d;
  double epsilon;
} NormGradient;

/// Σ_d w dy x of one row.
static double projection(const float *x, const float *w, const float *dy, size_t d) {
  double sum = 0;
  for (size_t start = 0; start < d; start += CHUNK, x += CHUNK, w += CHUNK, dy += CHUNK) {
    Floats part = {0};
    EACH_VECTOR(d - start < CHUNK ? d - start : CHUNK,
                part += take(w + i, left, 0) * take(dy + i, left, 0) * take(x + i, left, 0));
    sum += total(part);
  }
  return sum;
}

static void rms_norm_gradient_rows(const void *context, uint32_t task, unsigned thread) {
  const NormGradient *g = context;
  size_t d = g->d;
  Range rows = block_at(task, g->rows, partial_rows(d));
  const float *w = g->w;
  float *dw = g->parts + task * d;
  (void)thread;
  memset(dw, 0, d * sizeof *dw);
  for (size_t row = rows.start; row < rows.end; row++) {
    const float *x = g->x + row * d, *dy = g->dy + row * d;
    float *dx = g->dx + row * d, r = inverse_rms(x, d, g->epsilon);
    float pull = (float)(projection(x, w, dy, d) * r * r * r / (double)d);
    EACH_VECTOR(d, {
      Floats value = take(x + i, left, 0), scaled = take(dy + i, left, 0) * r;
      put(dx + i, scaled * take(w + i, left, 0) - pull * value, left);
      put(dw + i, take(dw + i, left, 0) + scaled * value, left);
    });
  }
}

/// x [rows, d], w [d], dy [rows, d], dx [rows, d], dw [d], rows, d, epsilon.
KERNEL(rms_norm_gradient) {
  NormGradient g = {x[0].floats, x[1].floats, x[2].floats, x[3].floats, NULL, size_of(x[5]), size_of(x[6]), x[7].number};
  uint32_t blocks = blocks_of(g.rows, partial_rows(g.d));
  g.parts = scratch(blocks * g.d + 1);
  if (!g.parts) return false;
  parallel(rms_norm_gradient_rows, &g, blocks);
  add_rows(g.parts, x[4].floats, blocks, g.d);
  return true;
}
