// Vectors of LANES floats, e^x on them and the logarithm of a number. Loads and stores take any address; the last ones of
// an array may be partial. Only arithmetic and bits, no library: all builds compute the same, up to fused multiply-add.

#ifndef MOE_VECTOR_H
#define MOE_VECTOR_H

#include "kernels.h"

#if defined(__SSE__)
#include <immintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float HalfFloats __attribute__((vector_size(2 * LANES)));
typedef double Doubles __attribute__((vector_size(4 * LANES))); // LANES / 2 of them
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/// One number in all lanes; it minus zero is itself, where plus zero would be one more instruction.
static inline Floats all(float value) { return value - (Floats){0}; }
/// sum + a b. WebAssembly fuses the two only when asked to.
static inline Floats add_product(Floats sum, Floats a, Floats b) {
#if defined(__wasm_relaxed_simd__)
  return (Floats)__builtin_wasm_relaxed_madd_f32x4(a, b, sum);
#else
  return sum + a * b;
#endif
}

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

/// The first half of the lanes in double precision.
static inline Doubles widen_low(Floats value) {
  HalfFloats half;
  __builtin_memcpy(&half, &value, sizeof half);
  return __builtin_convertvector(half, Doubles);
}

/// The second half of the lanes in double precision.
static inline Doubles widen_high(Floats value) {
  HalfFloats half;
  __builtin_memcpy(&half, (const char *)&value + sizeof half, sizeof half);
  return __builtin_convertvector(half, Doubles);
}

/// The first `left` floats from here on, LANES at most; the other lanes are `fill`.
static inline Floats take(const float *from, size_t left, float fill) {
  if (left >= LANES) return load(from);
  Floats value = all(fill);
  for (size_t i = 0; i < left; i++) value[i] = from[i];
  return value;
}

/// Stores the first `left` lanes, LANES at most.
static inline void put(float *to, Floats value, size_t left) {
  if (left >= LANES) store(to, value);
  else store_part(to, value, left);
}

/// Runs the statements for i = 0, LANES, 2 LANES … below n. `left`, for take() and put(), is the constant LANES except
/// in the last turn, where it is what is left of n.
#define EACH_VECTOR(n, ...)                                \
  do {                                                     \
    size_t i = 0, end_ = (n);                              \
    for (; i + LANES <= end_; i += LANES) {                \
      const size_t left = LANES;                           \
      __VA_ARGS__;                                         \
    }                                                      \
    if (i < end_) {                                        \
      const size_t left = end_ - i;                        \
      __VA_ARGS__;                                         \
    }                                                      \
  } while (0)

/// The sum of the lanes.
static inline double total(Floats value) {
  double sum = 0;
  for (int i = 0; i < LANES; i++) sum += (double)value[i];
  return sum;
}

/// Lane by lane: mask ? yes : no, where a mask is what comparing two vectors gives.
static inline Floats choose(Ints mask, Floats yes, Floats no) {
  return (Floats)((mask & (Ints)yes) | (~mask & (Ints)no));
}

/// Lane by lane a > b ? a : b, so b where either is NaN.
static inline Floats larger(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return (Floats)_mm256_max_ps(a, b);
#elif defined(__SSE__)
  return (Floats)_mm_max_ps(a, b);
#elif defined(__wasm_simd128__)
  return (Floats)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  return choose((Ints)(a > b), a, b);
#endif
}

static inline float largest(Floats value) {
  float top = value[0];
  for (int i = 1; i < LANES; i++) top = value[i] > top ? value[i] : top;
  return top;
}

static inline Floats square_root(Floats x) {
#if defined(__AVX512F__)
  return (Floats)_mm512_sqrt_ps(x);
#elif defined(__AVX2__)
  return (Floats)_mm256_sqrt_ps(x);
#elif defined(__SSE__)
  return (Floats)_mm_sqrt_ps(x);
#elif defined(__wasm_simd128__)
  return (Floats)wasm_f32x4_sqrt((v128_t)x);
#elif defined(__aarch64__)
  return (Floats)vsqrtq_f32((float32x4_t)x);
#else
  for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

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

/// ln x, off by at most 2 ulp. −∞ at 0, NaN below 0 and for NaN.
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
  return (double)n * 0x1.62e42fefa39efp-1 + (2 * s + 2 * s * sum);
}

#endif
