import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../src/hub/half.ts';

const golden = JSON.parse(readFileSync(new URL('../golden/hub/half.json', import.meta.url), 'utf8')) as Record<
  'float32' | 'float16' | 'bfloat16',
  number[]
>;
const value_N = new Float32Array(Uint32Array.from(golden.float32).buffer);
const every_65536 = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

describe('16-bit floats', () => {
  it('round as numpy and ml_dtypes do', () => {
    expect(Array.from(float32ToFloat16(value_N))).toEqual(golden.float16);
    expect(Array.from(float32ToBfloat16(value_N))).toEqual(golden.bfloat16);
  });
  it('rounds by hand: 1 + 2^-8 is a tie and goes to the even 1, 1 + 3·2^-8 goes to 1 + 2^-6', () => {
    expect(Array.from(float32ToBfloat16(Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8)))).toEqual([0x3f80, 0x3f82]);
    expect(Array.from(float32ToFloat16(Float32Array.of(65519, 65520, 2 ** -25, 2 ** -25 * 1.001)))).toEqual([
      0x7bff, 0x7c00, 0, 1,
    ]);
  });
  it('widens and narrows every 16-bit number back to itself, a NaN to the quiet one of its sign', () => {
    const quiet = (bits: number, exponent: number, nan: number) =>
      (bits & exponent) === exponent && (bits & ~exponent & 0x7fff) !== 0 ? (bits & 0x8000) | nan : bits;
    const different = (a: Uint16Array, b: Uint16Array) => a.findIndex((bits, i) => bits !== b[i]);
    const quiet16 = every_65536.map(bits => quiet(bits, 0x7c00, 0x7e00));
    const quietB16 = every_65536.map(bits => quiet(bits, 0x7f80, 0x7fc0));
    expect(different(float32ToFloat16(float16ToFloat32(every_65536)), quiet16)).toBe(-1);
    expect(different(float32ToBfloat16(bfloat16ToFloat32(every_65536)), quietB16)).toBe(-1);
  });
  it('never errs by more than half a place', () => {
    fc.assert(
      fc.property(fc.float({ min: Math.fround(-65504), max: 65504, noNaN: true }), x => {
        const error = (back: Float32Array) => Math.abs(back[0] - x);
        const one = Float32Array.of(x);
        const size = Math.abs(x);
        expect(error(float16ToFloat32(float32ToFloat16(one)))).toBeLessThanOrEqual(Math.max(size * 2 ** -11, 2 ** -25));
        expect(error(bfloat16ToFloat32(float32ToBfloat16(one)))).toBeLessThanOrEqual(
          Math.max(size * 2 ** -8, 2 ** -134),
        );
      }),
    );
  });
});
