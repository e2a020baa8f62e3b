// Panels: the form in which a register tile reads its operands, k runs of a few numbers, one behind the other.

#ifndef MOE_PACK_H
#define MOE_PACK_H

#include "vector.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

static inline Four load_four(const float *from) { return *(const Four *)from; }
static inline void store_four(float *to, Four value) { *(Four *)to = value; }

#define SHUFFLE __builtin_shufflevector

/// Turns rows into columns: row i, lane j becomes row j, lane i.
static inline void transpose_four(Four *rows) {
  Four ab = SHUFFLE(rows[0], rows[1], 0, 4, 1, 5), AB = SHUFFLE(rows[0], rows[1], 2, 6, 3, 7);
  Four cd = SHUFFLE(rows[2], rows[3], 0, 4, 1, 5), CD = SHUFFLE(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = SHUFFLE(ab, cd, 0, 1, 4, 5);
  rows[1] = SHUFFLE(ab, cd, 2, 3, 6, 7);
  rows[2] = SHUFFLE(AB, CD, 0, 1, 4, 5);
  rows[3] = SHUFFLE(AB, CD, 2, 3, 6, 7);
}

// Squares of numbers that are turned in registers: SIDE rows of SIDE.
#if LANES == 4
#define SIDE 4
typedef Four Side;
static inline void transpose(Side *rows) { transpose_four(rows); }
#else
#define SIDE 8
typedef float Side __attribute__((vector_size(32), aligned(4), may_alias));

/// The same for eight rows of eight: within the halves of pairs, then of fours, then the halves themselves.
static inline void transpose(Side *rows) {
  Side pairs[8], fours[8];
  UNROLL
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = SHUFFLE(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = SHUFFLE(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  UNROLL
  for (int i = 0; i < 8; i += 4)
    UNROLL
    for (int j = 0; j < 2; j++) {
      fours[i + 2 * j] = SHUFFLE(pairs[i + j], pairs[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      fours[i + 2 * j + 1] = SHUFFLE(pairs[i + j], pairs[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  UNROLL
  for (int i = 0; i < 4; i++) {
    rows[i] = SHUFFLE(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = SHUFFLE(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

static inline Side load_side(const float *from) { return *(const Side *)from; }
static inline void store_side(float *to, Side value) { *(Side *)to = value; }

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

/// out[p * width + i] = in[i * i_stride + p] for i < count: a line of each row at a time, so a panel fills in order.
static void pack_turned(const float *in, size_t i_stride, size_t count, size_t k, size_t width, float *out) {
  size_t sides = count / SIDE * SIDE, fours = count / 4 * 4, lines = k / LINE * LINE;
  for (size_t line = 0; line < lines; line += LINE) {
    for (size_t i = 0; i < sides; i += SIDE)
      for (size_t p = line; p < line + LINE; p += SIDE) {
        Side rows[SIDE];
        UNROLL
        for (size_t r = 0; r < SIDE; r++) rows[r] = load_side(in + (i + r) * i_stride + p);
        transpose(rows);
        UNROLL
        for (size_t r = 0; r < SIDE; r++) store_side(out + (p + r) * width + i, rows[r]);
      }
    for (size_t i = sides; i < fours; i += 4)
      for (size_t p = line; p < line + LINE; p += 4) {
        Four rows[4];
        UNROLL
        for (size_t r = 0; r < 4; r++) rows[r] = load_four(in + (i + r) * i_stride + p);
        transpose_four(rows);
        UNROLL
        for (size_t r = 0; r < 4; r++) store_four(out + (p + r) * width + i, rows[r]);
      }
  }
  for (size_t p = lines; p < k; p++)
    for (size_t i = 0; i < fours; i++) out[p * width + i] = in[i * i_stride + p];
  for (size_t p = 0; p < k; p++)
    for (size_t i = fours; i < count; i++) out[p * width + i] = in[i * i_stride + p];
}

/// One panel: out[p * width + i] = in[i * i_stride + p * p_stride] for i < count, and zero for count ≤ i < width. One
/// of the strides is 1.
static void pack_panel(const float *in, size_t i_stride, size_t p_stride, size_t count, size_t k, size_t width,
                       float *out) {
  if (i_stride == 1) pack_runs(in, p_stride, count, k, width, out);
  else pack_turned(in, i_stride, count, k, width, out);
  if (count < width)
    for (size_t p = 0; p < k; p++)
      for (size_t i = count; i < width; i++) out[p * width + i] = 0;
}

#endif
