// bfloat16: the upper half of a float32, 8 exponent bits and 7 mantissa bits.

/** The same numbers as float32: widening is exact. */
export function bfloat16ToFloat32(half_N: Uint16Array): Float32Array {
  const value_N = new Float32Array(half_N.length);
  const bits_N = new Uint32Array(value_N.buffer);
  for (let i = 0; i < half_N.length; i++) bits_N[i] = half_N[i] << 16;
  return value_N;
}
