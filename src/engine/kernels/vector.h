// Vectors of LANES floats, and e^x on them. Loads and stores take any address; the last ones of an array may be partial.

#ifndef MOE_VECTOR_H
#define MOE_VECTOR_H

#include "kernels.h"

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline Floats all(float value) { return (Floats){0} + value; }
static inline Floats load(const float *from) { return *(const Floats *)from; }
static inline void store(float *to, Floats value) { *(Floats *)to = value; }

/// The first `count` < LANES floats, then zeros.
static inline Floats load_part(const float *from, size_t count) {
  Floats value = {0};
  for (size_t i = 0; i < count; i++) value[i] = from[i];
  return value;
}

static inline void store_part(float *to, Floats value, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = value[i];
}

/// Lane by lane: mask ? yes : no, where a mask is what comparing two vectors gives.
static inline Floats choose(Ints mask, Floats yes, Floats no) {
  return (Floats)((mask & (Ints)yes) | (~mask & (Ints)no));
}

static inline Floats larger(Floats a, Floats b) { return choose((Ints)(a > b), a, b); }

#endif
