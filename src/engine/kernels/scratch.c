// Scratch memory: one block that grows to what the hungriest kernel has needed so far, so that steps stop allocating.

#include "kernels.h"

#define ALIGNMENT 16 // floats

#if defined(__wasm__)
// The heap belongs to JavaScript: allocate() gives an address that is aligned to 64 bytes, or 0.
__attribute__((import_module("heap"), import_name("allocate"))) float *allocate(size_t floats);
__attribute__((import_module("heap"), import_name("free"))) void release(float *memory);
#else
#include <stdlib.h>

static float *allocate(size_t floats) {
  void *memory = NULL;
  return posix_memalign(&memory, ALIGNMENT * sizeof(float), floats * sizeof(float)) == 0 ? memory : NULL;
}

static void release(float *memory) { free(memory); }
#endif

#define MAX_EXTRA 64

static float *block, *extra[MAX_EXTRA]; // extra blocks serve until the kernel ends; then one block takes their place
static size_t capacity, used, wanted;
static unsigned extras;

void reset_scratch(void) {
  for (unsigned i = 0; i < extras; i++) release(extra[i]);
  if (extras > 0) {
    release(block);
    block = allocate(wanted);
    capacity = block ? wanted : 0;
  }
  extras = 0;
  used = wanted = 0;
}

float *scratch(size_t floats) {
  floats = (floats + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  wanted += floats;
  if (used + floats <= capacity) {
    used += floats;
    return block + used - floats;
  }
  if (extras == MAX_EXTRA) return NULL;
  float *memory = allocate(floats);
  if (memory) extra[extras++] = memory;
  return memory;
}
