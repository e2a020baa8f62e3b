// The native C kernels against loops in double precision: every transpose, ragged shapes, groups with empty segments,
// every instruction set of this machine. The bound is that of a sum of k products in fp32, (k + 3) 2⁻²⁴ Σ|a b|.
// Outputs lie between canaries, which must live; inputs lie between NaNs, which must not be read into a result.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { afterAll, afterEach, test as anywhere, beforeAll, describe, expect } from 'vitest';
import { loadNative, type NativeKernels } from '../../src/engine/native/load.ts';

let kernels: NativeKernels;
const cache = mkdtempSync(join(tmpdir(), 'moe-native-'));
const loaded = loadNative({ cache });
// Where there is no C compiler, native-backend.test.ts asserts the sentence that says so.
const test = anywhere.runIf(loaded.works);
if (loaded.works) kernels = loaded.kernels;
afterEach(() => {
  kernels.setInstructions(best);
  kernels.setThreads(1);
});
afterAll(() => rmSync(cache, { recursive: true, force: true }));
let best = 'plain';
beforeAll(() => {
  best = kernels.info().isa;
});

const GUARD = 37;
const CANARY = 12345.5;
const random = seedrandom('native');
const whole = (below: number): number => Math.floor(random() * below);

/** Values between two walls, at an odd place in memory. */
function walled(length: number, wall: number, value: () => number): Float32Array {
  const memory = new Float32Array(length + 2 * GUARD).fill(wall);
  for (let i = 0; i < length; i++) memory[GUARD + i] = value();
  return memory.subarray(GUARD, GUARD + length);
}
const input = (length: number): Float32Array => walled(length, Number.NaN, () => random() * 2 - 1);
const output = (length: number): Float32Array => walled(length, CANARY, () => random() * 2 - 1);
function expectCanaries(values: Float32Array): void {
  const memory = new Float32Array(values.buffer);
  const walls = [...memory.subarray(0, GUARD), ...memory.subarray(GUARD + values.length)];
  expect(walls.every(value => value === CANARY)).toBe(true);
}

interface Operands {
  a: Float32Array;
  b: Float32Array;
  m: number;
  n: number;
  k: number;
  turnA: boolean;
  turnB: boolean;
}

/** The largest error of `c`, in units of its bound; `start` is what is added to each element. */
function worst({ a, b, m, n, k, turnA, turnB }: Operands, c: Float32Array, start: (at: number) => number[]): number {
  let largest = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const terms = start(i * n + j);
      let sum = terms.reduce((x, y) => x + y, 0);
      let size = terms.reduce((x, y) => x + Math.abs(y), 0);
      for (let p = 0; p < k; p++) {
        const term = a[turnA ? p * m + i : i * k + p] * b[turnB ? j * k + p : p * n + j];
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(c[i * n + j] - sum);
      if (error > 0 || Number.isNaN(error)) largest = Math.max(largest, error / ((k + 3) * 2 ** -24 * size));
    }
  }
  return largest;
}

function multiply(shape: [number, number, number], turnA: boolean, turnB: boolean, accumulate: boolean, bias: boolean) {
  const [m, n, k] = shape;
  const operands = { a: input(m * k), b: input(k * n), m, n, k, turnA, turnB };
  const c = output(m * n);
  const before = c.slice();
  const bias_N = bias ? input(n) : null;
  kernels.gemm(operands.a, operands.b, c, m, n, k, turnA, turnB, accumulate, bias_N);
  expectCanaries(c);
  return worst(operands, c, at => [accumulate ? before[at] : 0, bias_N ? bias_N[at % n] : 0]);
}

const EDGES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 63, 65, 95, 96, 97, 129];
const edge = (): number => EDGES[whole(EDGES.length)];
const turns = [false, true].flatMap(turnA => [false, true].map(turnB => [turnA, turnB] as const));

describe.each(['avx512', 'avx2', 'plain'])('%s tiles', isa => {
  test.each(turns)('products of random shapes, a turned %s, b turned %s', (turnA, turnB) => {
    if (!kernels.setInstructions(isa)) return expect(isa).not.toBe('plain');
    kernels.setThreads(2);
    for (let trial = 0; trial < 60; trial++) {
      const shape: [number, number, number] = [edge(), edge(), edge()];
      const [accumulate, bias] = [random() < 0.5, random() < 0.5];
      expect(multiply(shape, turnA, turnB, accumulate, bias), `${shape} ${accumulate} ${bias}`).toBeLessThanOrEqual(1);
    }
  });

  test.each([
    [1, 70, 2500],
    [70, 1, 2049],
    [3, 2100, 40],
    [1000, 9, 257],
    [97, 20, 4100],
  ])('tall, wide and deep: m %i, n %i, k %i', (m, n, k) => {
    if (!kernels.setInstructions(isa)) return expect(isa).not.toBe('plain');
    kernels.setThreads(2);
    for (const [turnA, turnB] of turns) {
      for (const add of [false, true]) expect(multiply([m, n, k], turnA, turnB, add, add)).toBeLessThanOrEqual(1);
    }
  });
});

test('a product worked by hand', () => {
  const c = new Float32Array([100, 200]);
  kernels.gemm(Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6), c, 2, 1, 2, false, false, false, Float32Array.of(1));
  expect([...c]).toEqual([18, 40]); // 1·5 + 2·6 + 1, 3·5 + 4·6 + 1
  kernels.gemm(Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6), c, 2, 1, 2, true, false, true, null);
  expect([...c]).toEqual([41, 74]); // + 1·5 + 3·6, + 2·5 + 4·6
});

test('without terms a product is zero, the bias, or what was there', () => {
  const none = new Float32Array(0);
  const c = Float32Array.of(7, 8, 9, 10);
  kernels.gemm(none, none, c, 2, 2, 0, false, false, true, Float32Array.of(1, 2));
  expect([...c]).toEqual([8, 10, 10, 12]);
  kernels.gemm(none, none, c, 2, 2, 0, false, false, false, Float32Array.of(1, 2));
  expect([...c]).toEqual([1, 2, 1, 2]);
  kernels.gemm(none, none, c, 2, 2, 0, false, false, false, null);
  expect([...c]).toEqual([0, 0, 0, 0]);
});

/** Rows of x by expert: empty, one row, a tile and one, many. */
function groups(counts: number[]) {
  const offsets_E1 = Int32Array.from([0, ...counts]);
  for (let e = 0; e < counts.length; e++) offsets_E1[e + 1] += offsets_E1[e];
  return { offsets_E1, rows: offsets_E1[counts.length] };
}

test.each([
  ['one without rows', [0], 5, 7],
  ['none', [], 5, 7],
  ['some empty', [0, 3, 0, 0, 13, 1, 0], 17, 33],
  ['uneven', [97, 0, 12, 200], 64, 40],
  ['no inputs', [5, 9], 0, 3],
  ['more rows than one block of the sum', [300, 1, 259], 31, 65],
  ['three hundred small ones', Array.from({ length: 300 }, () => whole(4)), 5, 9],
])('grouped products and their gradients, experts: %s', (_, counts, d, f) => {
  const { offsets_E1, rows } = groups(counts);
  const x = input(rows * d);
  const dy = input(rows * f);
  const w = counts.map(() => input(d * f));
  for (const threads of [1, 2]) {
    kernels.setThreads(threads);
    const [y, dx, dw] = [output(rows * f), output(rows * d), counts.map(() => output(d * f))];
    kernels.groupedGemm(x, w, offsets_E1, y, d, f);
    kernels.groupedGemmInput(dy, w, offsets_E1, dx, d, f);
    kernels.groupedGemmWeight(dy, x, offsets_E1, dw, d, f);
    for (const values of [y, dx, ...dw]) expectCanaries(values);
    counts.forEach((m, e) => {
      const [start, end] = [offsets_E1[e], offsets_E1[e + 1]];
      const of = (matrix: Float32Array, width: number) => matrix.subarray(start * width, end * width);
      const none = () => [];
      const forward = { a: of(x, d), b: w[e], m, n: f, k: d, turnA: false, turnB: true };
      const toInput = { a: of(dy, f), b: w[e], m, n: d, k: f, turnA: false, turnB: false };
      const toWeight = { a: of(dy, f), b: of(x, d), m: f, n: d, k: m, turnA: true, turnB: false };
      expect(worst(forward, of(y, f), none)).toBeLessThanOrEqual(1);
      expect(worst(toInput, of(dx, d), none)).toBeLessThanOrEqual(1);
      expect(worst(toWeight, dw[e], none)).toBeLessThanOrEqual(1);
    });
  }
});

test('the same bits on 1 and 2 threads, over 20 repeats, for a row alone, and on both kinds of fused tiles', () => {
  const [m, n, k] = [211, 150, 700];
  const [a, b] = [input(m * k), input(k * n)];
  const run = (rows: number): Float32Array => {
    const c = new Float32Array(rows * n);
    kernels.gemm(a.subarray((m - rows) * k), b, c, rows, n, k, false, false, false, null);
    return c;
  };
  const expected = run(m);
  for (let repeat = 0; repeat < 20; repeat++) {
    kernels.setThreads(1 + (repeat % 3));
    expect(run(m)).toEqual(expected);
  }
  expect(run(1)).toEqual(expected.slice((m - 1) * n));
  if (best === 'avx512' && kernels.setInstructions('avx2')) expect(run(m)).toEqual(expected);
});

test('what does not fit is refused', () => {
  const of = (length: number) => new Float32Array(length);
  const gemm = (a: unknown, b: unknown, c: unknown, bias: unknown = null, m: unknown = 2) =>
    kernels.gemm(
      a as Float32Array,
      b as Float32Array,
      c as Float32Array,
      m as number,
      3,
      4,
      false,
      false,
      false,
      bias as null,
    );
  gemm(of(8), of(12), of(6));
  expect(() => gemm(of(7), of(12), of(6))).toThrow('a has the wrong length.');
  expect(() => gemm(of(8), of(13), of(6))).toThrow('b has the wrong length.');
  expect(() => gemm(of(8), of(12), of(5))).toThrow('c has the wrong length.');
  expect(() => gemm(of(8), of(12), of(6), of(2))).toThrow('bias has the wrong length.');
  expect(() => gemm(new Float64Array(8), of(12), of(6))).toThrow('a must be a Float32Array.');
  expect(() => gemm([1, 2], of(12), of(6))).toThrow('a must be a Float32Array.');
  for (const m of [-1, 1.5, Number.NaN, 2 ** 31, '2', null]) {
    expect(() => gemm(of(8), of(12), of(6), null, m)).toThrow('m must be a whole number');
  }
  const shared = of(18);
  expect(() => gemm(of(8), shared.subarray(0, 12), shared.subarray(11, 17))).toThrow('c must not share memory');
  expect(() => (kernels.gemm as (...given: unknown[]) => void)(of(1))).toThrow('The number of arguments is wrong.');

  const grouped = (offsets: number[], y = of(12), w = [of(6), of(6)]) =>
    kernels.groupedGemm(of(8), w, Int32Array.from(offsets), y, 2, 3);
  grouped([0, 1, 4]);
  expect(() => grouped([0, 4])).toThrow('one more entry');
  expect(() => grouped([1, 1, 4])).toThrow('must begin with 0');
  expect(() => grouped([0, 5, 4])).toThrow('must not decrease');
  expect(() => grouped([0, 1, 5])).toThrow('input has the wrong length.');
  expect(() => grouped([0, 1, 4], of(11))).toThrow('output has the wrong length.');
  expect(() => grouped([0, 1, 4], of(12), [of(6), of(5)])).toThrow('weight has the wrong length.');
  const twice = of(6);
  expect(() => kernels.groupedGemmWeight(of(12), of(8), Int32Array.of(0, 1, 4), [twice, twice], 2, 3)).toThrow(
    'share memory',
  );
  expect(() => kernels.setThreads(0)).toThrow('threads must be from 1 to 64.');
});
