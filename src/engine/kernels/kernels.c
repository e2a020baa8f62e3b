// All kernels in one translation unit, compiled once per instruction set, and the table by which they are found.

#include "kernels.h"

#include "gemm.c"
#include "half.c"
#include "sums.c"
#include "elementwise.c"
#include "rms-norm.c"
#include "rope.c"
#include "cross-entropy.c"
#include "adamw.c"
#include "rows.c"
#include "columns.c"
#include "attention.c"
#include "attention-gradient.c"

#define EACH_KERNEL(X) \
  X(gemm) X(grouped_gemm) X(grouped_gemm_input) X(grouped_gemm_weight) \
  X(gemm_half) X(grouped_gemm_half) X(embedding_half) \
  X(add) X(subtract) X(multiply) X(divide) X(exponential_each) X(logarithm_each) X(softmax) \
  X(swiglu) X(swiglu_gradient) \
  X(row_sum) X(column_sum) X(sum_of_squares) \
  X(rms_norm) X(rms_norm_gradient) X(rope) X(cross_entropy) X(cross_entropy_gradient) X(adamw) \
  X(embedding) X(embedding_gradient) X(gather_sum) X(combine) X(combine_gradient) \
  X(pick_columns) X(pick_columns_gradient) X(attention) X(attention_gradient)

#if defined(__wasm__)
#define EXPORT(name)                                                           \
  __attribute__((export_name(#name))) bool exported_##name(const Argument *x) { \
    reset_scratch();                                                           \
    return name(x);                                                            \
  }
EACH_KERNEL(EXPORT)
#else
#include "table.h"

#if LANES == 16
#define VARIANT(name) name##_avx512
#elif LANES == 8
#define VARIANT(name) name##_avx2
#else
#define VARIANT(name) name##_plain
#endif

#define ENTRY(name) {#name, name},
static const Entry entries[] = {EACH_KERNEL(ENTRY)};
const Table VARIANT(kernels) = {entries, sizeof entries / sizeof *entries};
#endif
