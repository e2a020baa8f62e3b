// What `moe bench dispatch` times computes what it says on every backend: each path equals the mixture written out, and the
// gradients equal their formulas. Then its byte counts and ratios by hand, and its times with a clock of ours.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { planDispatch } from '../../experts/dispatch/plan.ts';
import { referenceMixture } from '../../experts/dispatch/reference.ts';
import {
  combinations,
  type DispatchShape,
  floorBytes,
  PIECES,
  SWEEPS,
  speeds,
  timeDispatch,
} from '../../src/bench/dispatch.ts';
import {
  combineGradient,
  combineRows,
  dispatch,
  dispatchByMasks,
  dispatchBySort,
  idsFor,
  maskColumns,
  oneHotMasks,
  permute,
  permuteGradient,
  planOf,
  tensorsOf,
} from '../../src/bench/dispatch-paths.ts';
import { expertIds, LOADS } from '../../src/bench/loads.ts';
import { normals } from '../../src/bench/random.ts';
import { timesOf } from '../../src/bench/stopwatch.ts';
import { dropIntegers, readIntegers } from '../../src/engine/integers.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { dropFreeBuffers } from '../../src/engine/webgpu/drop-free-buffers.ts';
import { gpuOf } from '../../src/engine/webgpu/gpu.ts';
import { gpuMilliseconds } from '../../src/engine/webgpu/timing.ts';
import { createRng } from '../../src/train/rng.ts';
import { allBackends, use, webgpuHere } from '../engine/backends.ts';

const SHAPES: DispatchShape[] = [
  { tokens: 1, choices: 1, experts: 1, width: 4, load: 'balanced' },
  { tokens: 33, choices: 3, experts: 7, width: 5, load: 'zipf' },
  { tokens: 40, choices: 2, experts: 8, width: 8, load: 'empty' },
  { tokens: 20, choices: 2, experts: 5, width: 12, load: 'one-hot' },
  { tokens: 24, choices: 1, experts: 4, width: 6, load: 'burst' },
];

/** Rows of one array. */
const rowsOf = (values: Float32Array, width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, row) => [...values.subarray(row * width, (row + 1) * width)]);

function expectClose(got: Float32Array, want: number[], what: string): void {
  expect(got.length, what).toBe(want.length);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const worst = want.reduce((most, value, i) => Math.max(most, Math.abs(got[i] - value)), 0);
  expect(worst / largest, what).toBeLessThan(2e-6);
}

describe.each(allBackends)('%s', backend => {
  let made: Tensor[] = [];
  beforeEach(() => use(backend).then(() => undefined));
  afterEach(() => {
    tf.dispose(made);
    made = [];
  });

  test.each(SHAPES)('each path computes the mixture, each gradient its formula: %j', async shape => {
    const { tokens, choices, experts, width, load } = shape;
    const expertId_TK = expertIds(load, shape, createRng('paths'));
    const draw = normals('paths');
    const [x, y, dout, dy] = [tokens, tokens * choices, tokens, tokens * choices].map(rows => draw(rows * width, 1));
    const gate = draw(tokens * choices, 1);
    const matrix = (values: Float32Array, columns: number): Tensor2D => {
      const tensor = tf.tensor2d(values.slice(), [values.length / columns, columns]);
      made.push(tensor);
      return tensor;
    };
    const [x_TD, y_MD, dout_TD, dy_MD] = [x, y, dout, dy].map(values => matrix(values, width));
    const gate_TK = matrix(gate, choices);
    const host = planDispatch(expertId_TK, choices, experts);
    const ids = idsFor(expertId_TK, choices);
    const plan = planOf(ids, choices, experts);
    const masks = oneHotMasks(expertId_TK, gate_TK, host);
    const read = async (tensor: Tensor): Promise<Float32Array> => {
      made.push(tensor);
      return (await tensor.data<'float32'>()).slice();
    };

    for (const name of ['rank_N', 'offsets_E1', 'inverse_N', 'slot_M', 'token_M'] as const)
      expect(await readIntegers(plan[name]), name).toEqual(host[name]);

    const mixture = referenceMixture(rowsOf(x, width), expertId_TK, gate, choices, (_, x_D) => x_D).flat();
    expectClose(await read(dispatch(x_TD, gate_TK, ids, experts)), mixture, 'dispatch');
    expectClose(await read(dispatchByMasks(x_TD, masks)), mixture, 'one-hot');
    expectClose(await read(dispatchBySort(x_TD, gate_TK, ids)), mixture, 'sort');

    const [xs, ys, douts, dys] = [x, y, dout, dy].map(values => rowsOf(values, width));
    expectClose(
      await read(permute(x_TD, plan)),
      [...host.token_M].flatMap(t => xs[t]),
      'permute',
    );
    const combined = xs.map((_, t) =>
      xs[t].map((_, d) => {
        const slots = Array.from({ length: choices }, (_, j) => t * choices + j);
        return slots.reduce((sum, slot) => sum + gate[slot] * ys[host.inverse_N[slot]][d], 0);
      }),
    );
    expectClose(await read(combineRows(y_MD, gate_TK, plan)), combined.flat(), 'combine');
    const dx = xs.map((x_D, t) =>
      x_D.map((_, d) => {
        const slots = Array.from({ length: choices }, (_, j) => t * choices + j);
        return slots.reduce((sum, slot) => sum + dys[host.inverse_N[slot]][d], 0);
      }),
    );
    expectClose(await read(permuteGradient(x_TD, dy_MD, plan, choices)), dx.flat(), 'gradient of permute');
    const gradients = combineGradient(y_MD, gate_TK, dout_TD, plan);
    const dyRows = [...host.slot_M].flatMap(slot => douts[Math.floor(slot / choices)].map(value => gate[slot] * value));
    expectClose(await read(gradients[0]), dyRows, 'gradient of combine');
    const dgate = [...gate].map((_, slot) =>
      douts[Math.floor(slot / choices)].reduce((sum, value, d) => sum + value * ys[host.inverse_N[slot]][d], 0),
    );
    expectClose(await read(gradients[1]), dgate, 'gradient of the gates');
    made.push(masks.sends_TR, masks.returns_TR, ...tensorsOf(plan));
    dropIntegers(ids);
  });

  test('a combination: every piece has its times, and nothing stays', async () => {
    const before = tf.memory().numTensors;
    const shape: DispatchShape = { tokens: 12, choices: 2, experts: 3, width: 8, load: 'balanced' };
    const repeats = { repeats: 2, warmup: 1, clock: () => performance.now() };
    const result = await timeDispatch(shape, 0, repeats, { bytes: 2 ** 30, pieceMs: 10_000 });
    expect(tf.memory().numTensors).toBe(before);
    expect(Object.keys(result.times).sort()).toEqual([...PIECES].sort());
    for (const { ms, median } of Object.values(result.times)) expect([ms.length, median > 0]).toEqual([2, true]);
    expect(result).toMatchObject({ ...shape, columns: 8, imbalance: 1, skipped: {} });
    expect(result.ratios.permute).toBeGreaterThan(0);
  });
});

test('what does not fit is left out with a sentence', async () => {
  await use('wasm');
  const once = { repeats: 1, warmup: 0, clock: () => performance.now() };
  const shape: DispatchShape = { tokens: 64, choices: 1, experts: 4, width: 4, load: 'one-hot' };
  // x, dout, y and dy take 1 KiB each, two answers 2; the masks are [64, 4 · 64]: 64 KiB each.
  const tight = await timeDispatch(shape, 0, once, { bytes: 20_000, pieceMs: 1000 });
  expect(Object.keys(tight.skipped)).toEqual(['oneHot']);
  expect(tight.skipped.oneHot).toBe('masks of 64 × 256: takes 0.318 MiB, more than 0.0191 MiB');
  expect(tight.ratios.oneHot).toBeUndefined();
  expect(tight.times.sort?.ms).toHaveLength(1);
  const none = await timeDispatch(shape, 0, once, { bytes: 6143, pieceMs: 1000 });
  expect(Object.keys(none.skipped)).toEqual(PIECES);
  expect(none.times).toEqual({});
});

test('least bytes of the example: 8192 tokens, two choices, width 896 move 176 MB', () => {
  const row = 896 * 4;
  const bytes = floorBytes({ tokens: 8192, choices: 2, experts: 8, width: 896, load: 'zipf' });
  expect(bytes.permute).toBe(8192 * row + 2 * 8192 * row); // reads each token's row, writes it twice
  expect(bytes.dispatch).toBe(176_160_768);
  expect(bytes.combineGradient).toBe(5 * 8192 * row); // reads dout and the rows, writes the rows' gradient
  expect(bytes.copy).toBe(bytes.permute);
});

test('the sweeps: 8 of 7 experts is left out', () => {
  expect(combinations(SWEEPS.small)).toHaveLength(4);
  expect(combinations(SWEEPS.full)).toHaveLength((4 * 3 - 1) * 7 * 3 * 5);
  expect(combinations(SWEEPS.full).every(({ choices, experts }) => choices <= experts)).toBe(true);
  expect(SWEEPS.full.load).toEqual(LOADS);
});

test('columns of the masks: the fullest expert has as many rows as every block', () => {
  const plan = planDispatch(Int32Array.of(0, 1, 0, 2, 0, 1), 1, 4);
  expect(maskColumns(plan)).toBe(4 * 3);
});

test('rates and ratios, by the GPU’s own time where there is one', () => {
  const ms = (median: number, gpu?: number) => ({ ms: [median], median, min: median, max: median, gpu });
  const floor = { permute: 3e9, combine: 3e9, dispatch: 6e9, copy: 3e9 };
  const times = {
    permute: ms(900, 4),
    combine: ms(3),
    dispatch: ms(10),
    copy: ms(2),
    oneHot: ms(250),
    sort: ms(25),
    dense: ms(30),
    grouped: ms(40),
  };
  const { bytesPerSecond, ratios } = speeds({ times, floorBytes: floor });
  expect(bytesPerSecond).toEqual({ permute: 0.75e12, combine: 1e12, dispatch: 0.6e12, copy: 1.5e12 });
  expect(ratios).toMatchObject({ permute: 0.5, oneHot: 25, sort: 2.5, grouped: 0.75 });
  expect(ratios.combine).toBeCloseTo(2 / 3, 12);
  expect(ratios.permuteGradient).toBeUndefined();
});

test('times: warm-up is not counted, what takes too long is not repeated, what is made is disposed', async () => {
  await use('cpu');
  let now = 0;
  const took = [100, 50, 3, 1, 2];
  const work = (run: number) => {
    now += took[run];
    return [tf.zeros([2])];
  };
  const repeats = { repeats: 3, warmup: 2, clock: () => now };
  expect(await timesOf(work, repeats, 1000)).toEqual({ ms: [3, 1, 2], median: 2, min: 1, max: 3 });
  expect(await timesOf(work, repeats, 152)).toMatchObject({ ms: [3] });
  expect(await timesOf(work, repeats, 60)).toMatchObject({ ms: [100] });
});

describe.runIf(webgpuHere.works)('a GPU', () => {
  test('its own time is above zero and below the clock’s; free buffers are given back', async () => {
    await use('webgpu');
    const gpu = gpuOf(tf.backend());
    const x = tf.ones([64, 64]);
    const start = performance.now();
    const ms = await gpuMilliseconds(gpu, () => tf.dispose(tf.matMul(x as Tensor2D, x as Tensor2D)));
    const clocked = performance.now() - start;
    if (gpu.device.features.has('timestamp-query')) {
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThan(clocked);
    } else expect(ms).toBeNull();
    await dropFreeBuffers(gpu);
    const { freeBuffers } = gpu.backend.bufferManager as unknown as { freeBuffers: Map<string, GPUBuffer[]> };
    expect([...freeBuffers.values()].flat()).toEqual([]);
    const sum = tf.sum(x);
    expect(await sum.data()).toEqual(Float32Array.of(64 * 64)); // and it goes on
    tf.dispose([x, sum]);
  });
});
