// What a kernel's source says of itself: bindings, parameters, and the bytes that these become.
import { expect, test } from 'vitest';
import { interfaceOf, packParameters } from '../../../src/engine/webgpu/program.ts';

const code = `
struct Parameters { rows: u32, shift: i32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;`;
const program = { name: 'toy', code };

test('bindings and parameters are read off the source', () => {
  expect(interfaceOf(program)).toEqual({
    bindings: ['read-only-storage', 'storage', 'uniform'],
    parameters: [
      { name: 'rows', type: 'u32' },
      { name: 'shift', type: 'i32' },
      { name: 'epsilon', type: 'f32' },
    ],
  });
  expect(interfaceOf({ name: 'none', code: 'fn main() {}' })).toEqual({ bindings: [], parameters: [] });
  const swapped = code.replace('binding(0)', 'binding(9)');
  expect(() => interfaceOf({ name: 'toy', code: swapped })).toThrow('kernel toy: binding 9 stands at place 0');
});

test('parameters become 4-byte numbers in the order of the struct, in 16 bytes at least', () => {
  const { parameters } = interfaceOf(program);
  const bytes = packParameters(program, parameters, { epsilon: 0.5, rows: 2 ** 32 - 1, shift: -2 });
  const view = new DataView(bytes);
  expect(bytes.byteLength).toBe(16);
  expect([view.getUint32(0, true), view.getInt32(4, true), view.getFloat32(8, true)]).toEqual([2 ** 32 - 1, -2, 0.5]);
  const five = Array.from({ length: 5 }, (_, i) => ({ name: `p${i}`, type: 'u32' as const }));
  const values = Object.fromEntries(five.map(({ name }) => [name, 1]));
  expect(packParameters(program, five, values).byteLength).toBe(32);
});

test.each([
  [{ rows: 1, shift: 0 }, 'kernel toy takes parameters rows, shift, epsilon, got rows, shift'],
  [{ rows: 1, shift: 0, eps: 1 }, 'got rows, shift, eps'],
  [{ rows: 1.5, shift: 0, epsilon: 1 }, 'kernel toy: rows is 1.5, no integer'],
])('wrong parameters are refused: %o', (values, sentence) => {
  const { parameters } = interfaceOf(program);
  expect(() => packParameters(program, parameters, values as Record<string, number>)).toThrow(sentence);
});
