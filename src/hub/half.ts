// 16-bit floats: bfloat16 (8 exponent bits, 7 mantissa bits: the upper half of a float32) and IEEE 754 binary16 (5 and 10).
// Narrowing rounds to nearest, ties to even; too large becomes infinity; every NaN becomes the quiet NaN of its sign.
// Widening is exact. All loops work on the integer bits; float32 ↔ bits by sharing one buffer.

export { bfloat16ToFloat32 } from '../engine/bfloat16.ts';

const bitsOf = (value_N: Float32Array): Uint32Array =>
  new Uint32Array(value_N.buffer, value_N.byteOffset, value_N.length);

export function float32ToBfloat16(value_N: Float32Array): Uint16Array {
  const bits_N = bitsOf(value_N);
  const half_N = new Uint16Array(value_N.length);
  for (let i = 0; i < half_N.length; i++) {
    const bits = bits_N[i];
    const notANumber = (bits & 0x7fffffff) > 0x7f800000;
    // Half of the last kept place, less one when that place is even already: the tie stays even.
    half_N[i] = notANumber ? ((bits >>> 16) & 0x8000) | 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return half_N;
}

let widened_65536: Uint32Array | null = null;

export function float16ToFloat32(half_N: Uint16Array): Float32Array {
  widened_65536 ??= Uint32Array.from({ length: 65536 }, (_, half) => widenFloat16(half));
  const value_N = new Float32Array(half_N.length);
  const bits_N = bitsOf(value_N);
  for (let i = 0; i < half_N.length; i++) bits_N[i] = widened_65536[half_N[i]];
  return value_N;
}

/** The bits of the same number as float32. */
function widenFloat16(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign | bitsOf(Float32Array.of(mantissa * 2 ** -24))[0];
  // The exponents' biases differ by 112; infinity and NaN have all exponent bits set in both.
  return sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (mantissa << 13);
}

export function float32ToFloat16(value_N: Float32Array): Uint16Array {
  const bits_N = bitsOf(value_N);
  const half_N = new Uint16Array(value_N.length);
  for (let i = 0; i < half_N.length; i++) half_N[i] = narrowFloat16(bits_N[i]);
  return half_N;
}

function narrowFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  // 65520 is half-way between the largest binary16 and the next power: from there on it rounds to infinity.
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size >= 0x38800000) {
    const rounded = size - 0x38000000 + 0xfff + ((size >>> 13) & 1);
    return sign | (rounded >>> 13);
  }
  // Below 2^−14 the last place is always 2^−24. Up to half of it becomes 0.
  if (size <= 0x33000000) return sign;
  const mantissa = (size & 0x7fffff) | 0x800000;
  const shift = 126 - (size >>> 23);
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return sign | (rest > tie || (rest === tie && kept & 1) ? kept + 1 : kept);
}
