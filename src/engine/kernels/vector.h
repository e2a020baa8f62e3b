// Vectors of LANES floats, e^x on them and the logarithm of a number. Loads and stores take any address; the last ones of
// an array may be partial. Only arithmetic and bits, no library: all builds compute the same, up to fused multiply-add.

#ifndef MOE_VECTOR_H
#define MOE_VECTOR_H

#include "kernels.h"

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

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

/// e^x lane by lane, off by at most 1.1 ulp. 0 where e^x is subnormal (x < −87.34), infinite above 88.72, NaN for NaN.
/// e^x = 2ⁿ eʳ with n whole and |r| ≤ ln2 / 2; eʳ is a polynomial whose relative error is below 2⁻²⁸.
static inline Floats exponential(Floats x) {
  const float round = 0x1.8p23f; // added, it leaves the nearest whole number in the low bits
  Floats shifted = x * 0x1.715476p0f + round;
  Floats n = shifted - round;
  Floats r = (x - n * 0x1.63p-1f) + n * 0x1.bd0106p-13f; // ln 2 in two parts: the first product is exact
  Floats p = ((((0x1.6a23d0p-10f * r + 0x1.123a20p-7f) * r + 0x1.5558f2p-5f) * r + 0x1.555492p-3f) * r + 0x1.fffffcp-2f);
  Floats y = (p * r * r + r) + 1.0f;
  y = (Floats)((Words)y + ((Words)shifted << 23)); // times 2ⁿ; e^x stays normal, so the exponent does not run over
  Ints inside = (Ints)(x >= -0x1.5d589ep6f) & (Ints)(x <= 0x1.62e42ep6f);
  Floats outside = (Floats)(~(Ints)(x < 0.0f) & (Ints)(x * __builtin_inff())); // 0, ∞ or NaN
  return choose(inside, y, outside);
}

/// ln x, off by at most 1.8 ulp. −∞ at 0, NaN below 0 and for NaN.
/// With x = 2ⁿ f, √½ ≤ f < √2, and s = (f − 1) / (f + 1): ln f = 2 (s + s³/3 + s⁵/5 + …).
static inline double logarithm(double x) {
  if (!(x > 0)) return x == 0 ? -__builtin_inf() : __builtin_nan("");
  if (x > 0x1.fffffffffffffp1023) return x;
  int64_t n = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    n = -54;
  }
  union {
    double number;
    int64_t bits;
  } f = {x};
  int64_t rise = (f.bits - 0x3fe6a09e667f3bcd) >> 52; // √½ has the bits that are taken off
  f.bits -= rise * ((int64_t)1 << 52);
  n += rise;
  double s = (f.number - 1) / (f.number + 1), square = s * s, sum = 0;
  for (int i = 21; i >= 3; i -= 2) sum = square * (sum + 1.0 / i);
  return (double)n * 0x1.62e42fefa38p-1 + (2 * s + (2 * s * sum + (double)n * 0x1.ef35793c7673p-45));
}

#endif
