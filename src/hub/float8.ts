// 8-bit floats (Micikevicius et al. 2022, arXiv 2209.05433), widened exactly through a table of all 256 codes.
// E4M3: 4 exponent bits of bias 7, 3 mantissa bits, no infinities; only the codes with all other bits set are NaN, 448 is the
// largest. E5M2: the upper byte of a binary16, so 5 exponent bits, 2 mantissa bits, infinities and NaN as there.
import { float16ToFloat32 } from './half.ts';

let e4m3_256: Float32Array | null = null;
let e5m2_256: Float32Array | null = null;

export function float8E4m3ToFloat32(code_N: Uint8Array): Float32Array {
  e4m3_256 ??= Float32Array.from({ length: 256 }, (_, code) => widenE4m3(code));
  return lookUp(code_N, e4m3_256);
}

export function float8E5m2ToFloat32(code_N: Uint8Array): Float32Array {
  e5m2_256 ??= float16ToFloat32(Uint16Array.from({ length: 256 }, (_, code) => code << 8));
  return lookUp(code_N, e5m2_256);
}

function widenE4m3(code: number): number {
  if ((code & 0x7f) === 0x7f) return Number.NaN;
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10));
}

function lookUp(code_N: Uint8Array, value_256: Float32Array): Float32Array {
  const value_N = new Float32Array(code_N.length);
  for (let i = 0; i < value_N.length; i++) value_N[i] = value_256[code_N[i]];
  return value_N;
}
