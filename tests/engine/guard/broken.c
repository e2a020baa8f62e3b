// Kernels that do what a kernel must not, each in one way: what runner.c has to catch.

#include "table.h"

static volatile float sink;
static size_t length_of(const Argument *x) { return size_of(x[2]); }

static void copy(const Argument *x) {
  for (size_t i = 0; i < length_of(x); i++) x[1].floats[i] = x[0].floats[i];
}

KERNEL(good) {
  copy(x);
  return true;
}

KERNEL(reads_beyond) {
  copy(x);
  sink = x[0].floats[length_of(x)];
  return true;
}

KERNEL(reads_before) {
  copy(x);
  sink = x[0].floats[-1];
  return true;
}

KERNEL(writes_beyond) {
  copy(x);
  x[1].floats[length_of(x)] = 1;
  return true;
}

KERNEL(writes_before) {
  copy(x);
  x[1].floats[-1] = 1;
  return true;
}

KERNEL(writes_input) {
  copy(x);
  x[0].floats[0] = 1;
  return true;
}

KERNEL(leaves_unwritten) {
  for (size_t i = 1; i < length_of(x); i++) x[1].floats[i] = 0;
  return true;
}

KERNEL(overruns_scratch) {
  float *memory = scratch(length_of(x));
  memory[length_of(x)] = 1;
  copy(x);
  return true;
}

static void add_one(const void *context, uint32_t task, unsigned thread) {
  (void)thread;
  ((const Argument *)context)[1].floats[0] += (float)task;
}

KERNEL(races) {
  copy(x);
  parallel(add_one, x, 20000);
  return true;
}

KERNEL(counts_threads) {
  copy(x);
  x[1].floats[0] = (float)thread_count();
  return true;
}

KERNEL(shifts_too_far) {
  copy(x);
  sink = (float)(1 << (int)(31 + length_of(x)));
  return true;
}

KERNEL(fails) {
  copy(x);
  return false;
}

#define ENTRY(name) {#name, name}
static const Entry entries[] = {
    ENTRY(good),          ENTRY(reads_beyond),     ENTRY(reads_before),     ENTRY(writes_beyond),
    ENTRY(writes_before), ENTRY(writes_input),     ENTRY(leaves_unwritten), ENTRY(overruns_scratch),
    ENTRY(races),         ENTRY(counts_threads),   ENTRY(shifts_too_far),   ENTRY(fails),
};
const Table kernels_plain = {entries, sizeof entries / sizeof *entries};
#if defined(__x86_64__)
const Table kernels_avx512 = {0}, kernels_avx2 = {0};
#endif
