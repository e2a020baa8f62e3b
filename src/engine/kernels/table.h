// The kernels of one instruction set, by name, for the native build.

#ifndef MOE_TABLE_H
#define MOE_TABLE_H

#include "kernels.h"

typedef struct {
  const char *name;
  Kernel run;
} Entry;

typedef struct {
  const Entry *entries;
  size_t count;
} Table;

#endif
