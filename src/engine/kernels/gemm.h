// Matrix products for the other kernels. An operand is described by two strides, so a transpose costs nothing to say.

#ifndef MOE_GEMM_H
#define MOE_GEMM_H

#include "kernels.h"

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

/// Runs `count` products on all threads, none of which may write where another reads or writes. False when memory has
/// run out. Each element is summed over k in one order, whatever the number of rows, columns, products and threads.
static bool run_products(const Product *products, size_t count);

/// Floats of scratch memory that small_product() needs for these sizes.
static size_t small_product_scratch(size_t m, size_t n, size_t k);

/// One product on the calling thread alone, for use inside a task. `memory` is small_product_scratch() floats.
static void small_product(const Product *product, float *memory);

#endif
