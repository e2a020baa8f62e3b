// How long arrays and many rows are cut into tasks for parallel(): by size alone, never by the number of threads, so
// that sums over the pieces have one order. What fits one piece runs on the caller and wakes nobody.

#ifndef MOE_BLOCKS_H
#define MOE_BLOCKS_H

#include "kernels.h"

#define BLOCK 16384 // floats in a task, about 10 µs of work

/// Elements or rows start … end − 1, `count` of them.
typedef struct {
  size_t start, end, count;
} Range;

/// How many pieces of `size` elements cover n elements.
static inline uint32_t blocks_of(size_t n, size_t size) { return (uint32_t)((n + size - 1) / size); }

/// The elements of one piece; the last piece may be short.
static inline Range block_at(uint32_t block, size_t n, size_t size) {
  size_t start = block * size, count = n - start < size ? n - start : size;
  return (Range){start, start + count, count};
}

/// Rows of `width` floats that make up about one block, at least 1.
static inline size_t rows_of_block(size_t width) { return width < BLOCK ? BLOCK / (width ? width : 1) : 1; }

#endif
