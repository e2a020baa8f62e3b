// Panels: the form in which a register tile reads its operands, k runs of a few numbers, one behind the other.

#ifndef MOE_PACK_H
#define MOE_PACK_H

#include "vector.h"

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

static inline Four load_four(const float *from) { return *(const Four *)from; }
static inline void store_four(float *to, Four value) { *(Four *)to = value; }

/// Turns rows into columns: row i, lane j becomes row j, lane i.
static inline void transpose_four(Four *rows) {
  Four ab = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5), AB = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  Four cd = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5), CD = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  rows[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  rows[2] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
  rows[3] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

/// out[p * width + i] = in[p * p_stride + i] for i < count.
static void pack_runs(const float *in, size_t p_stride, size_t count, size_t k, size_t width, float *out) {
  for (size_t p = 0; p < k; p++, in += p_stride, out += width) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, load(in + i));
    for (; i + 4 <= count; i += 4) store_four(out + i, load_four(in + i));
    for (; i < count; i++) out[i] = in[i];
  }
}

#define LINE 16 // floats in a line of the cache

/// out[p * width + i] = in[i * i_stride + p] for i < count: a line of each row at a time, so that a panel fills in order.
static void pack_turned(const float *in, size_t i_stride, size_t count, size_t k, size_t width, float *out) {
  size_t i_even = count / 4 * 4, p_even = k / 4 * 4;
  for (size_t line = 0; line < k; line += LINE) {
    size_t end = line + LINE < p_even ? line + LINE : p_even;
    for (size_t i = 0; i < i_even; i += 4) {
      for (size_t p = line; p < end; p += 4) {
        Four rows[4];
        for (size_t r = 0; r < 4; r++) rows[r] = load_four(in + (i + r) * i_stride + p);
        transpose_four(rows);
        for (size_t r = 0; r < 4; r++) store_four(out + (p + r) * width + i, rows[r]);
      }
    }
  }
  for (size_t p = p_even; p < k; p++)
    for (size_t i = 0; i < i_even; i++) out[p * width + i] = in[i * i_stride + p];
  for (size_t p = 0; p < k; p++)
    for (size_t i = i_even; i < count; i++) out[p * width + i] = in[i * i_stride + p];
}

/// One panel: out[p * width + i] = in[i * i_stride + p * p_stride] for i < count, and zero for count ≤ i < width. One of
/// the strides is 1.
static void pack_panel(const float *in, size_t i_stride, size_t p_stride, size_t count, size_t k, size_t width,
                       float *out) {
  if (i_stride == 1) pack_runs(in, p_stride, count, k, width, out);
  else pack_turned(in, i_stride, count, k, width, out);
  if (count < width)
    for (size_t p = 0; p < k; p++)
      for (size_t i = count; i < width; i++) out[p * width + i] = 0;
}

#endif
