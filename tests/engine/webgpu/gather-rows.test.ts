// Rows that move on a GPU against loops in double precision: values and gradients within 1e-5, every element written, the same bits
// on repeat. Rows of whole 16-byte values and others, short rows that share a workgroup and long ones, plans with room to spare.
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Integers } from '../../../src/engine/integers.ts';
import { runKernel } from '../../../src/engine/kernel.ts';
import { type Tensor, tf } from '../../../src/engine/tf.ts';
import { fill } from '../../../src/engine/webgpu/fill.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import { use, webgpuHere } from '../backends.ts';
import { expectClose } from '../judge.ts';
import { poison } from './poison.ts';

const TOLERANCE = 1e-5;

interface Drawn {
  rows: number;
  tokens: number;
  k: number;
  width: number;
  y: Float32Array;
  gate: Float32Array;
  dout: Float32Array;
  inverse: Int32Array;
  slot: Int32Array;
}

/** T·k slots on rows in random order, some of them dropped, and rows that no slot reads. */
function draw(seed: string, [tokens, k, width]: number[], dropped: number, spare: number): Drawn {
  const random = seedrandom(seed);
  const number = () => random() * 4 - 2;
  const rows = tokens * k + spare;
  const free = Array.from({ length: rows }, (_, row) => row);
  const inverse = Int32Array.from({ length: tokens * k }, () =>
    random() < dropped ? -1 : free.splice(Math.floor(random() * free.length), 1)[0],
  );
  const slot = new Int32Array(rows).fill(-1);
  inverse.forEach((row, n) => {
    if (row >= 0) slot[row] = n;
  });
  const [y, gate, dout] = [rows * width, tokens * k, tokens * width].map(size =>
    Float32Array.from({ length: size }, number),
  );
  return { rows, tokens, k, width, y, gate, dout, inverse, slot };
}

/** The combination and its gradients, as loops. */
function combine64({ rows, tokens, k, width, y, gate, dout, inverse }: Drawn) {
  const out = new Float64Array(tokens * width);
  const dy = new Float64Array(rows * width);
  const dgate = new Float64Array(tokens * k);
  inverse.forEach((row, slot) => {
    const t = Math.floor(slot / k);
    for (let d = 0; row >= 0 && d < width; d++) {
      out[t * width + d] += gate[slot] * y[row * width + d];
      dy[row * width + d] = gate[slot] * dout[t * width + d];
      dgate[slot] += dout[t * width + d] * y[row * width + d];
    }
  });
  return { out, dy, dgate };
}

/** Runs a kernel in memory that held other numbers, and reads what it gives. */
async function outputsOf(
  name: string,
  inputs: Record<string, [Float32Array, number[]]>,
  attributes: object,
): Promise<Float32Array[]> {
  const given = Object.fromEntries(
    Object.entries(inputs).map(([key, [values, shape]]) => [key, tf.tensor(values, shape)]),
  );
  await Promise.all(Object.values(given).map(tensor => tensor.data())); // none of them in poisoned memory
  const first = runKernel(name, given, attributes);
  const shapes = first.map(({ shape }) => shape);
  tf.dispose(first);
  await poison(shapes, 4);
  const runs = [runKernel(name, given, attributes), runKernel(name, given, attributes)];
  const [once, again] = await Promise.all(runs.map(run => Promise.all(run.map(values))));
  tf.dispose([...Object.values(given), ...runs.flat()]);
  expect(again, 'the same bits on repeat').toEqual(once);
  return once;
}

/** Puts zeros, which are rows and slots like any other, into the memory of the next tensors of this shape. */
async function clear(shape: number[]): Promise<void> {
  const gpu = gpuOf(tf.backend());
  const tensors = Array.from({ length: 4 }, () => gpu.allocate(shape, 'int32'));
  for (const tensor of tensors) fill(gpu, tensor, 0);
  await gpu.finished();
  gpu.release(...tensors);
}

const values = async (tensor: Tensor) => (await tensor.data<'float32'>()).slice();

/** [tokens, k, width]: none, one, short rows, rows of odd length, rows longer than a workgroup, more choices than are unrolled. */
const SIZES = [
  [0, 2, 8],
  [1, 1, 1],
  [3, 2, 4],
  [67, 1, 4],
  [33, 3, 7],
  [19, 2, 64],
  [9, 8, 260],
  [5, 2, 257],
  [6, 2, 896],
  [4, 17, 12],
  [2, 40, 3],
];

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => {
    await use('webgpu');
  });

  describe.each([
    ['no slot dropped', 0, 0],
    ['dropped slots and spare rows', 0.3, 5],
    ['all slots dropped', 1, 3],
  ])('%s', (_, dropped, spare) => {
    it.each(SIZES)('combines %d tokens, k %d, width %d, and its gradients', async (...size) => {
      const drawn = draw(String(size), size, dropped, spare);
      const { rows, tokens, k, width, y, gate, dout, inverse, slot } = drawn;
      const want = combine64(drawn);
      const inputs: Record<string, [Float32Array, number[]]> = { y: [y, [rows, width]], gate: [gate, [tokens, k]] };
      const [out] = await outputsOf('MoeCombine', inputs, { inverse_TK: inverse });
      expectClose('out', out, want.out, TOLERANCE);
      inputs.gradient = [dout, [tokens, width]];
      const given = await outputsOf('MoeCombineGrad', inputs, { inverse_TK: inverse, slot_N: slot });
      expectClose('dy', given[0], want.dy, TOLERANCE);
      expectClose('dgate', given[1], want.dgate, TOLERANCE);
      await clear([rows]);
      const found = await outputsOf('MoeCombineGrad', inputs, { inverse_TK: inverse });
      expect(found, 'the same without the slots of rows').toEqual(given);
    });

    it.each(SIZES)('gathers and sums for %d tokens, k %d, width %d', async (...size) => {
      const { rows, tokens, k, width, y, inverse } = draw(String(size), size, dropped, spare);
      const want = new Float64Array(tokens * width);
      inverse.forEach((row, slot) => {
        for (let d = 0; row >= 0 && d < width; d++) want[Math.floor(slot / k) * width + d] += y[row * width + d];
      });
      const [got] = await outputsOf('MoeGatherSum', { x: [y, [rows, width]] }, { index_MR: inverse, width: k });
      expectClose('sums', got, want, TOLERANCE);
    });
  });

  it('moves more rows than a grid has workgroups in one dimension', async () => {
    const [rows, width] = [70_001, 33]; // more than 32 values: a workgroup per row
    const x = Float32Array.from({ length: 7 * width }, (_, i) => i + 1);
    const index_MR = Int32Array.from({ length: rows }, (_, row) => ((row * 5) % 8) - 1);
    const x_ND = tf.tensor2d(x, [7, width]);
    await poison([[rows, width]]);
    const [moved] = runKernel('MoeGatherSum', { x: x_ND }, { index_MR, width: 1 });
    const y = await values(moved);
    tf.dispose([x_ND, moved]);
    const wrong = y.findIndex((value, i) => {
      const source = index_MR[Math.floor(i / width)];
      return value !== (source < 0 ? 0 : x[source * width + (i % width)]);
    });
    expect([y.length, wrong]).toEqual([rows * width, -1]);
  });

  it('takes integers that are on the GPU', async () => {
    const { rows, tokens, k, width, y, gate, dout, inverse, slot } = draw('device', [9, 2, 12], 0.2, 3);
    const inputs: Record<string, [Float32Array, number[]]> = {
      y: [y, [rows, width]],
      gate: [gate, [tokens, k]],
      gradient: [dout, [tokens, width]],
    };
    const onHost = await outputsOf('MoeCombineGrad', inputs, { inverse_TK: inverse, slot_N: slot });
    const [inverse_TK, slot_N]: Integers[] = [tf.tensor1d(inverse, 'int32'), tf.tensor1d(slot, 'int32')];
    expect(await outputsOf('MoeCombineGrad', inputs, { inverse_TK, slot_N })).toEqual(onHost);
    tf.dispose([inverse_TK, slot_N] as Tensor[]);
  });

  it('refuses slots of other rows than there are', () => {
    const [y, gate] = [tf.zeros([3, 4]), tf.zeros([2, 1])];
    const attributes = { inverse_TK: Int32Array.of(0, 1), slot_N: Int32Array.of(0, 1) };
    expect(() => runKernel('MoeCombineGrad', { y, gate, gradient: y }, attributes)).toThrow(
      '2 slots are given for 3 rows',
    );
    tf.dispose([y, gate]);
  });

  it.each([
    [0, 3, 2],
    [1, 1, 1],
    [50, 7, 3],
    [3, 130, 20],
  ])('picks columns of %d rows of %d, %d of each, and its gradient', async (rows, width, picks) => {
    const random = seedrandom(String([rows, width, picks]));
    const [x, dy] = [rows * width, rows * picks].map(size => Float32Array.from({ length: size }, random));
    const index_TK = Int32Array.from({ length: rows * picks }, () => Math.floor(random() * (width + 1)) - 1);
    const want = Float64Array.from(index_TK, (e, slot) => (e < 0 ? 0 : x[Math.floor(slot / picks) * width + e]));
    const wantGradient = new Float64Array(rows * width);
    index_TK.forEach((e, slot) => {
      if (e >= 0) wantGradient[Math.floor(slot / picks) * width + e] += dy[slot];
    });
    const [y] = await outputsOf('MoePickColumns', { x: [x, [rows, width]] }, { index_TK });
    expectClose('picked', y, want, 0);
    const [dx] = await outputsOf('MoePickColumnsGrad', { gradient: [dy, [rows, picks]] }, { index_TK, width });
    expectClose('dx', dx, wantGradient, TOLERANCE);
  });
});
