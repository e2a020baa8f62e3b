// The WGSL kernels of norms, losses, embeddings, sums and the optimizer against loops in double precision: sizes 0, 1, odd, those
// of workgroups ± 1, rows of whole 16 bytes and not; memory poisoned; the same bits on repeat and on a grid of two dimensions.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { runKernel } from '../../../src/engine/kernel.ts';
import { adamw } from '../../../src/engine/ops/adamw.ts';
import { sumsOfSquares } from '../../../src/engine/ops/sum-of-squares.ts';
import { type Tensor, tf } from '../../../src/engine/tf.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import { use, webgpuHere } from '../backends.ts';
import { crossEntropy64, gather64, rmsNorm64, type Values } from '../float64.ts';
import { expectClose, generator } from '../judge.ts';
import { poison } from './poison.ts';

type Input = [values: Float32Array | Int32Array, shape: number[]];

/** What a kernel answers, in memory that was full of NaN, twice, and once with its workgroups in two dimensions, some too many. */
async function run(kernel: string, given: Record<string, Input>, attributes: object = {}): Promise<Float32Array[]> {
  const sizes = (await once(kernel, given, attributes)).map(({ length }) => [length]);
  await poison([...sizes, ...Object.values(given).map(([, shape]) => shape)], 8);
  const first = await once(kernel, given, attributes);
  await poison(sizes, 8);
  const again = await once(kernel, given, attributes);
  expectSameBits(`${kernel} on repeat`, again, first);
  await poison(sizes, 8);
  const spread = await inTwoDimensions(() => once(kernel, given, attributes));
  expectSameBits(`${kernel} on a grid of two dimensions`, spread, first);
  return first;
}

/** As many workgroups need; few would do here. */
async function inTwoDimensions<T>(work: () => Promise<T>): Promise<T> {
  const gpu = gpuOf(tf.backend());
  const plain = gpu.run.bind(gpu);
  const spy = vi.spyOn(gpu, 'run').mockImplementation((program, tensors, parameters, count) => {
    plain(program, tensors, parameters, count === 0 ? 0 : [Math.ceil((count as number) / 3) + 1, 3, 1]);
  });
  const result = await work();
  spy.mockRestore();
  return result;
}

async function once(kernel: string, given: Record<string, Input>, attributes: object): Promise<Float32Array[]> {
  const inputs = Object.fromEntries(
    Object.entries(given).map(([name, [values, shape]]) => [name, tf.tensor(values.slice(), shape)]),
  );
  const outputs = runKernel(kernel, inputs, attributes);
  const read = await readAll(outputs);
  tf.dispose([Object.values(inputs), outputs]);
  return read;
}

/** As `toEqual` on long arrays, in no time. */
function expectSameBits(what: string, got: Float32Array[], want: Float32Array[]): void {
  expect(got.map(array => array.length)).toEqual(want.map(array => array.length));
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) => Buffer.from(buffer, byteOffset, byteLength);
  got.forEach((array, i) => {
    if (!bytes(array).equals(bytes(want[i]))) expect(array, `${what}, result ${i}`).toEqual(want[i]);
  });
}

/** Random floats that differ from call to call, and integers lowest … end − 1. */
function drawing(seed: number) {
  const next = generator(seed);
  return {
    floats: (length: number, scale = 1) => Float32Array.from({ length }, () => scale * next()),
    ints: (length: number, lowest: number, end: number) =>
      Int32Array.from({ length }, () => Math.min(end - 1, lowest + Math.floor(((next() + 2) / 4) * (end - lowest)))),
  };
}

const wide = (values: ArrayLike<number>): Values => Float64Array.from(values);
const sum = (values: Values): number => values.reduce((total, value) => total + value, 0);
/** f at each row and column, row by row. */
const table = (rows: number, columns: number, f: (row: number, column: number) => number): Values =>
  Float64Array.from({ length: rows * columns }, (_, i) => f(Math.floor(i / columns), i % columns));

const TOLERANCE = 2e-6;

describe.runIf(webgpuHere.works)('WGSL', () => {
  beforeAll(async () => void (await use('webgpu')));

  it.each([
    [0, 5],
    [0, 8],
    [1, 5],
    [3, 64],
    [17, 63],
    [16, 65],
    [300, 20],
    [33, 257],
    [5, 1028],
    [2, 2051],
  ])('RMSNorm and its gradient, %i rows of %i', async (rows, d) => {
    const { floats } = drawing(rows + d);
    const [x, w, dy] = [floats(rows * d), floats(d), floats(rows * d)];
    const inputs: Record<string, Input> = { x: [x, [rows, d]], weight: [w, [d]] };
    const [y] = await run('MoeRmsNorm', inputs, { epsilon: 1e-5 });
    expectClose('y', y, rmsNorm64(wide(x), wide(w), d, 1e-5), TOLERANCE);
    const scale = table(rows, 1, t => 1 / Math.sqrt(sum(table(d, 1, i => x[t * d + i] ** 2)) / d + 1e-5));
    const pull = table(rows, 1, t => (scale[t] ** 3 / d) * sum(table(d, 1, i => w[i] * dy[t * d + i] * x[t * d + i])));
    const [dx, dw] = await run('MoeRmsNormGrad', { ...inputs, gradient: [dy, [rows, d]] }, { epsilon: 1e-5 });
    const wantDx = table(rows, d, (t, i) => scale[t] * w[i] * dy[t * d + i] - pull[t] * x[t * d + i]);
    expectClose('dx', dx, wantDx, 1e-5);
    const wantDw = table(d, 1, i => sum(table(rows, 1, t => dy[t * d + i] * x[t * d + i] * scale[t])));
    expectClose('dw', dw, wantDw, 1e-5);
  });

  it.each([
    [0, 5, 1],
    [1, 1, 1],
    [5, 2, 1],
    [4, 255, 1],
    [3, 256, 10],
    [3, 1028, 10],
    [70, 1025, 4],
    [2, 4100, 100],
    [2, 151_936, 4],
    [2, 152_001, 0.01],
  ])('cross-entropy of %i tokens over %i, its gradient, and labels on the GPU', async (tokens, vocabulary, scale) => {
    const { floats, ints } = drawing(tokens + vocabulary);
    const logits = floats(tokens * vocabulary, scale);
    const label_T = ints(tokens, 0, vocabulary).map((label, t) => [label, -100, vocabulary - 1, 0, label][t % 5]);
    const inputs: Record<string, Input> = { logits: [logits, [tokens, vocabulary]] };
    const [loss, normaliser] = await run('MoeCrossEntropy', inputs, { label_T });
    const want = crossEntropy64(wide(logits), label_T, vocabulary);
    expectClose('loss', loss, want, TOLERANCE);
    const dy = floats(tokens);
    const more: typeof inputs = { ...inputs, normaliser: [normaliser, [tokens, 2]], gradient: [dy, [tokens]] };
    const [dlogits] = await run('MoeCrossEntropyGrad', more, { label_T });
    const wantGradient = table(tokens, vocabulary, (t, v) => {
      if (label_T[t] < 0) return 0;
      const share = Math.exp(logits[t * vocabulary + v] - logits[t * vocabulary + label_T[t]] - want[t]);
      return dy[t] * (share - (v === label_T[t] ? 1 : 0));
    });
    expectClose('dlogits', dlogits, wantGradient, 1e-5);
    const onGpu = tf.tensor1d(label_T, 'int32');
    expectSameBits('loss', await once('MoeCrossEntropy', inputs, { label_T: onGpu }), [loss, normaliser]);
    expectSameBits('gradient', await once('MoeCrossEntropyGrad', more, { label_T: onGpu }), [dlogits]);
    onGpu.dispose();
  });

  it('cross-entropy of shares that differ by the 100,000th part, of a late largest logit, of −∞ and of NaN', async () => {
    const vocabulary = 152_000;
    const even = new Float32Array(3 * vocabulary);
    even.fill(-Infinity, vocabulary, vocabulary + 100).fill(2, vocabulary + 100, 2 * vocabulary);
    even[2 * vocabulary - 1] = 90;
    even[2 * vocabulary + 77_777] = Number.NaN;
    const [loss] = await run(
      'MoeCrossEntropy',
      { logits: [even, [3, vocabulary]] },
      { label_T: Int32Array.of(5, vocabulary - 2, 3) },
    );
    expectClose('loss', loss.subarray(0, 2), [Math.log(vocabulary), 88], 2e-7);
    expect(loss[2], 'NaN or infinite').not.toSatisfy(Number.isFinite);
  });

  it.each([
    [0, 4, 5],
    [0, 0, 4],
    [1, 1, 1],
    [9, 5, 63],
    [40, 7, 64],
    [33, 50, 65],
    [100, 90, 260],
    [3000, 3, 4],
    [700, 66_000, 2],
  ])('embedding of %i tokens, %i rows of %i, and its gradient', async (tokens, vocabulary, d) => {
    const { floats, ints } = drawing(tokens + vocabulary + d);
    const [w, dy, id_T] = [floats(vocabulary * d), floats(tokens * d), ints(tokens, 0, vocabulary)];
    const attributes = { id_T, vocabulary };
    const inputs: Record<string, Input> = { weight: [w, [vocabulary, d]] };
    const [y] = await run('MoeEmbedding', inputs, attributes);
    expectSameBits('rows', [y], [Float32Array.from(gather64(wide(w), d, id_T, 1))]);
    const ids = tf.tensor1d(id_T, 'int32');
    expectSameBits('rows', await once('MoeEmbedding', inputs, { id_T: ids, vocabulary }), [y]);
    ids.dispose();
    const want = new Float64Array(vocabulary * d);
    dy.forEach((value, i) => {
      want[id_T[Math.floor(i / d)] * d + (i % d)] += value;
    });
    const [dw] = await run('MoeEmbeddingGrad', { gradient: [dy, [tokens, d]] }, attributes);
    expectClose('dw', dw, want, TOLERANCE);
  });

  it('the gradient of an embedding needs its ids on the host', () => {
    tf.tidy(() => {
      const attributes = { id_T: tf.tensor1d([0], 'int32'), vocabulary: 2 };
      expect(() => runKernel('MoeEmbeddingGrad', { gradient: tf.ones([1, 3]) }, attributes)).toThrow('on the host');
    });
  });

  it('sums of squares of tensors of many sizes in one', async () => {
    const { floats } = drawing(3);
    const sizes = [0, 1, 3, 4, 255, 256, 257, 0, 4095, 4097, 16_384, 16_385, 16_388, 40_003];
    const values = sizes.map((size, i) => floats(size, 10 ** (i - 8)));
    const inputs = values.map((x, i): [string, Input] => [`x${i}`, [x, [x.length]]]);
    const [sums] = await run('MoeSumsOfSquares', Object.fromEntries(inputs));
    values.forEach((x, i) => {
      expectClose(`${sizes[i]} numbers`, [sums[i]], [sum(wide(x).map(value => value * value))], 3e-7);
    });
  });

  it('sums of squares of ten million numbers keep six digits', async () => {
    const x = new Float32Array(10_000_000);
    for (let i = 0; i < x.length; i++) x[i] = i % 1000 === 0 ? 50 : ((i * 7919) % 10_007) / 5_000 - 1;
    const tensor = tf.tensor1d(x);
    const sums = sumsOfSquares([tensor]);
    let want = 0;
    for (const value of x) want += value * value;
    expectClose('sum', await sums.data(), [want], 1e-6);
    tf.dispose([tensor, sums]);
  });

  it.each([1, 3, 4, 255, 1024, 1025, 4100])('ten steps of AdamW on %i numbers, read before each', async size => {
    const { floats } = drawing(size);
    const [start, zeros] = [floats(size), new Float32Array(size)];
    const variables = tf.tidy(() => [start, zeros, zeros].map(values => tf.variable(tf.tensor1d(values))));
    const [theta, m, v] = variables;
    let want = [start, zeros, zeros].map(wide);
    for (let step = 1; step <= 10; step++) {
      const hyper = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, step };
      const g = floats(size);
      const gradient = tf.tensor1d(g);
      const [before, copies] = [await readAll(variables), variables.map(variable => variable.clone())];
      adamw(theta, gradient, m, v, { ...hyper, gradientScale: 0.5 });
      want = adamw64(want, wide(g), { ...hyper, gradientScale: 0.5 });
      const after = await readAll(variables);
      want.forEach((values, i) => {
        expectClose(`step ${step}, ${['parameter', 'm', 'v'][i]}`, after[i], values, TOLERANCE);
      });
      expect(await readAll(copies), 'clones keep the old values').toEqual(before);
      tf.dispose([gradient, copies]);
    }
    tf.dispose(variables);
    expect(tf.memory().numTensors).toBe(0);
  });

  it('AdamW alike from a state that never left the GPU, from one that was read, and from one with clones', async () => {
    const { floats } = drawing(9);
    const [start, gradients] = [floats(100), [floats(100), floats(100), floats(100)]];
    const results: Float32Array[] = [];
    for (const way of ['never read', 'read', 'cloned']) {
      const variables = tf.tidy(() => [0, 1, 2].map(i => tf.variable(tf.mul(tf.tensor1d(start), i === 0 ? 1 : 0))));
      const clones: Tensor[] = [];
      for (const [n, values] of gradients.entries()) {
        if (way === 'read') await readAll(variables);
        if (way === 'cloned') clones.push(...variables.map(variable => variable.clone()));
        const gradient = tf.tensor1d(values);
        const hyper = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, step: n + 1 };
        adamw(variables[0], gradient, variables[1], variables[2], hyper);
        gradient.dispose();
      }
      results.push(await variables[0].data<'float32'>());
      tf.dispose([variables, clones]);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(results[0]).not.toEqual(start);
  });

  it('AdamW while its parameter is being read: that read has the old values, the next one the new', async () => {
    const [theta, m, v] = tf.tidy(() => [1, 0, 0].map(value => tf.variable(tf.fill([5], value))));
    const gradient = tf.ones([5]);
    const hyper = { learningRate: 0.5, beta1: 0.9, beta2: 0.9, epsilon: 0, weightDecay: 0, step: 1 };
    const begun = theta.data();
    adamw(theta, gradient, m, v, hyper);
    expect([...(await begun)]).toEqual([1, 1, 1, 1, 1]);
    expectClose('after', await theta.data(), [0.5, 0.5, 0.5, 0.5, 0.5], TOLERANCE);
    tf.dispose([theta, m, v, gradient]);
  });

  it('AdamW lets moments end at 0 instead of at subnormal numbers', async () => {
    const tiny = Float32Array.of(1.3e-38, -1.3e-38, 2e-38);
    const variables = tf.tidy(() => [tf.zeros([3]), tf.tensor1d(tiny), tf.tensor1d(tiny)].map(x => tf.variable(x)));
    const gradient = tf.zeros([3]);
    const hyper = { learningRate: 0.01, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: 0, step: 1 };
    adamw(variables[0], gradient, variables[1], variables[2], hyper);
    const m = await variables[1].data<'float32'>();
    expect([...m].map(value => value + 0)).toEqual([0, 0, Math.fround(Math.fround(0.9) * Math.fround(2e-38))]);
    tf.dispose([variables, gradient]);
  });
});

const readAll = (tensors: Tensor[]): Promise<Float32Array[]> =>
  Promise.all(tensors.map(async tensor => (await tensor.data<'float32'>()).slice()));

function adamw64([theta, m, v]: Values[], unscaled: Values, s: Parameters<typeof adamw>[4]): Values[] {
  const g = unscaled.map(value => value * (s.gradientScale ?? 1));
  const newM = m.map((value, i) => s.beta1 * value + (1 - s.beta1) * g[i]);
  const newV = v.map((value, i) => s.beta2 * value + (1 - s.beta2) * g[i] ** 2);
  const newTheta = theta.map((value, i) => {
    const mean = newM[i] / (1 - s.beta1 ** s.step);
    const square = newV[i] / (1 - s.beta2 ** s.step);
    return value * (1 - s.learningRate * s.weightDecay) - (s.learningRate * mean) / (Math.sqrt(square) + s.epsilon);
  });
  return [newTheta, newM, newV];
}
