// What the kernels share: how they are called, the vector width, threads, scratch memory and matrix products.
// All matrices are fp32 and row-major. One source serves two builds: Node-API (native) and WebAssembly (wasm).

#ifndef MOE_KERNELS_H
#define MOE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__wasm__)
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
#else
#include <string.h>
#endif

/// One argument of a kernel: an array or a number. Eight bytes on every machine, so that JavaScript can write it.
typedef union {
  double number;
  float *floats;
  const int32_t *ints;
  float *const *list; // arrays of floats
  const uint16_t *halves; // bf16
  uint64_t bits;
} Argument;

/// A kernel reads its arguments and returns false when memory has run out.
typedef bool (*Kernel)(const Argument *x);
#define KERNEL(name) static bool name(const Argument *x)

static inline size_t size_of(Argument x) { return (size_t)x.number; }

/// Floats in the widest register of the instruction set that this translation unit is compiled for.
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

/// A task of a parallel loop; `thread` is below thread_count() and names the scratch memory that it may use.
typedef void (*Task)(const void *context, uint32_t task, unsigned thread);

/// Runs task 0 … count − 1, each once, on all threads, and returns when all are done. One caller at a time, and never
/// from inside a task.
void parallel(Task run, const void *context, uint32_t count);

/// Threads that parallel() uses, the caller's own included. Must change nothing but who computes what.
unsigned thread_count(void);

/// Sets the number of threads. Returns how many there are now.
unsigned set_thread_count(unsigned count);

#define MAX_THREADS 64

/// Memory for `floats` numbers, aligned to 64 bytes, not cleared, until the running kernel returns. Not from inside a
/// task. NULL when memory has run out.
float *scratch(size_t floats);

/// Takes all scratch memory back. Called before every kernel.
void reset_scratch(void);

#endif
