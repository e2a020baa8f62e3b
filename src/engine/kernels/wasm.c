// The little of the C library that compilers call by themselves, for the wasm build, which has none.

#include "kernels.h"

#if defined(__wasm__)

__attribute__((no_builtin("memcpy"))) void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

__attribute__((no_builtin("memset"))) void *memset(void *to, int value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) ((char *)to)[i] = (char)value;
  return to;
}

#endif
