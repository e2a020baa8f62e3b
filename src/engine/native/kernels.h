// What the native kernels offer each other: a matrix product, lists of them, and the threads that they run on.
// All matrices are fp32. An operand is described by two strides, so a transpose costs nothing to say.

#ifndef MOE_KERNELS_H
#define MOE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// C[m,n] = (accumulate ? C : 0) + A[m,k] B[k,n] (+ bias[n]).
/// A[i,p] = a[i * a_row + p * a_column], B[p,j] = b[p * b_row + j * b_column], one stride of each being 1; C is row-major.
typedef struct {
  const float *a, *b, *bias;
  float *c;
  size_t m, n, k;
  size_t a_row, a_column, b_row, b_column;
  bool accumulate;
} Product;

/// Runs `count` products, none of which may write where another reads or writes. False when memory has run out.
/// Each element is summed over k in one order, whatever the number of rows, columns, products and threads.
bool run_products(const Product *products, size_t count);

/// The instruction set that the tiles use.
const char *instruction_set(void);

/// Uses the tiles of "avx512", "avx2" or "plain" from now on. False where the processor cannot. For tests.
bool use_instruction_set(const char *name);

/// A task of a parallel loop; `thread` is below thread_count() and names the scratch memory that it may use.
typedef void (*Task)(const void *context, uint32_t task, unsigned thread);

/// Runs task 0 … count − 1, each once, on all threads, and returns when all are done. One caller at a time.
void parallel(Task run, const void *context, uint32_t count);

/// Sets the number of threads, the caller's own included. Returns how many there are now.
unsigned set_thread_count(unsigned count);
unsigned thread_count(void);

#define MAX_THREADS 64

#endif
