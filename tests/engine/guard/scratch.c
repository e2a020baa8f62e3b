// Scratch memory for sanitizers, which take one large block for one array: each request is a block of its own.

#include "kernels.h"

#include <stdlib.h>

static float *blocks[4096];
static unsigned count;

void reset_scratch(void) {
  while (count > 0) free(blocks[--count]);
}

float *scratch(size_t floats) {
  void *memory = NULL;
  if (count == sizeof blocks / sizeof *blocks || posix_memalign(&memory, 64, floats * sizeof(float)) != 0) return NULL;
  blocks[count++] = memory;
  return memory;
}
