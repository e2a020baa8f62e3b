// Weights in bf16: read in place, to the bits of the same products with widened weights, which float64 confirms; half the
// memory; whatever else reads them sees them widened; training is refused. Whole models from a checkpoint in BF16.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bytesTokenizer } from '../../src/data/tokenizer/bytes.ts';
import { bfloat16ToFloat32 } from '../../src/engine/bfloat16.ts';
import { halfTensor, isHalf } from '../../src/engine/half.ts';
import type { Library } from '../../src/engine/library/library.ts';
import type { KernelMemory } from '../../src/engine/memory.ts';
import { embedding } from '../../src/engine/ops/embedding.ts';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { type Tensor, type Tensor1D, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { generate } from '../../src/eval/generate.ts';
import { float32ToBfloat16 } from '../../src/hub/half.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';
import { toConfigJson } from '../../src/model/config-json.ts';
import { tensorSpecs } from '../../src/model/spec.ts';
import { disposeModel, type Model } from '../../src/model/weights.ts';
import { openForInference, openModel } from '../../src/train/open.ts';
import { collected, EOS, logitsOf, sequenceInput, toyMap, toySpec, toyWeights, valuesOf } from '../model/toy.ts';
import { backends, kernelBackends, use } from './backends.ts';
import { expectClose, generator } from './judge.ts';

const numbers = (length: number, seed: number): Float32Array => Float32Array.from({ length }, generator(seed));
const halvesOf = (length: number, seed: number): Uint16Array => float32ToBfloat16(numbers(length, seed));
type Kernels = KernelMemory & { library: Library };
const kernels = (): Kernels => tf.backend() as unknown as Kernels;

/** The values of what `make` answers, and nothing left. */
const computed = (make: () => Tensor): Float32Array => {
  const made = tf.tidy(make);
  const values = valuesOf(made);
  made.dispose();
  return values;
};

const SIZES = [0, 1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 33, 64, 97];
/** m, n, k: rows taken together, four at a time and many; tasks; blocks of k. */
const SHAPES = [
  ...SIZES.map((m, i) => [m, SIZES[(5 * i + 3) % SIZES.length], SIZES[(3 * i + 1) % SIZES.length]]),
  ...SIZES.map((n, i) => [SIZES[(3 * i + 2) % SIZES.length], n, SIZES[(5 * i + 4) % SIZES.length]]),
  ...[1, 2, 3, 4, 7, 8, 9, 40, 200].map(m => [m, 130, 515]),
  ...[1, 2, 4, 8, 9].map(m => [m, 2049, 96]),
];

describe.each(kernelBackends)('%s', name => {
  beforeAll(() => use(name));
  afterAll(() => use('cpu'));

  it.each(SHAPES)('x Wᵀ of m %i, n %i, k %i', (m, n, k) => {
    const [x, w, bias] = [numbers(m * k, 1), halvesOf(n * k, 2), numbers(n, 3)];
    const wide = bfloat16ToFloat32(w);
    const through = (weights: () => Tensor, withBias: boolean): Float32Array =>
      computed(() => linear(tf.tensor2d(x, [m, k]), weights() as Tensor2D, withBias ? tf.tensor1d(bias) : undefined));
    for (const withBias of [false, true]) {
      const want = new Float64Array(m * n);
      for (let i = 0; i < m * n; i++) {
        const [row, column] = [Math.floor(i / n), i % n];
        for (let p = 0; p < k; p++) want[i] += x[row * k + p] * wide[column * k + p];
        if (withBias) want[i] += bias[column];
      }
      kernels().library.setThreads(1);
      const widened = through(() => tf.tensor2d(wide, [n, k]), withBias);
      expectClose('y', widened, want, 1e-5);
      for (const threads of [1, 2, 3]) {
        kernels().library.setThreads(threads);
        expect(
          through(() => halfTensor(w, [n, k]), withBias),
          `on ${threads} threads`,
        ).toEqual(widened);
      }
    }
  });

  it.each([
    ['some without rows', [0, 5, 0, 1, 12, 0], 24, 40],
    ['many rows of one', [300, 2], 33, 65],
    ['narrow', [3, 4], 1, 1],
  ])('experts, %s', (_, counts, f, d) => {
    const offsets_E1 = Int32Array.from([0, ...counts.map((_, e) => counts.slice(0, e + 1).reduce((a, b) => a + b))]);
    const rows = offsets_E1[counts.length];
    const x = numbers(rows * d, 1);
    const weights = counts.map((_, e) => halvesOf(f * d, 10 + e));
    const through = (weight: (w: Uint16Array) => Tensor): Float32Array =>
      computed(() => groupedLinear(tf.tensor2d(x, [rows, d]), weights.map(weight) as Tensor2D[], offsets_E1));
    const widened = through(w => tf.tensor2d(bfloat16ToFloat32(w), [f, d]));
    expect(widened.some(value => value !== 0)).toBe(true);
    expect(through(w => halfTensor(w, [f, d]))).toEqual(widened);
    const mixed = (w: Uint16Array): Tensor =>
      w === weights[0] ? tf.tensor2d(bfloat16ToFloat32(w), [f, d]) : halfTensor(w, [f, d]);
    expect(through(mixed), 'and where not all are in bf16').toEqual(widened);
  });

  it('rows of an embedding, exactly', () => {
    for (const d of [1, 7, 16, 33]) {
      const table = halvesOf(11 * d, 4);
      const ids = Int32Array.of(10, 0, 3, 3, 7);
      const wide = bfloat16ToFloat32(table);
      const want = Float32Array.from({ length: 5 * d }, (_, i) => wide[ids[Math.floor(i / d)] * d + (i % d)]);
      expect(computed(() => embedding(halfTensor(table, [11, d]) as Tensor2D, ids))).toEqual(want);
    }
  });

  it('infinities, NaN, zeros of both signs and subnormal numbers are the same in both', () => {
    const special = Uint16Array.of(0x7f80, 0xff80, 0x7fc0, 0, 0x8000, 1, 0x8001, 0x3f80);
    const x = new Float32Array(8).fill(1);
    const through = (w: () => Tensor): Float32Array => computed(() => linear(tf.tensor2d(x, [8, 1]), w() as Tensor2D));
    const wide = [Infinity, -Infinity, NaN, 0, -0, 2 ** -133, -(2 ** -133), 1];
    expect([...bfloat16ToFloat32(special)]).toEqual(wide);
    expect(through(() => halfTensor(special, [8, 1]))).toEqual(through(() => tf.tensor2d(wide, [8, 1])));
  });

  it('everything else sees the widened numbers', () => {
    const w = halvesOf(6, 5);
    const wide = bfloat16ToFloat32(w);
    const read = (f: (x: Tensor) => Tensor): Float32Array => computed(() => f(halfTensor(w, [2, 3])));
    const plain = (f: (x: Tensor) => Tensor): Float32Array => computed(() => f(tf.tensor2d(wide, [2, 3])));
    expect(read(x => x)).toEqual(wide);
    for (const f of [
      (x: Tensor) => tf.add(x, 1),
      (x: Tensor) => tf.slice(x, [1, 0], [1, 2]),
      (x: Tensor) => tf.transpose(x),
      (x: Tensor) => tf.matMul(x, x, true, false),
      (x: Tensor) => linear(x as Tensor2D, x as Tensor2D),
    ]) {
      expect(read(f)).toEqual(plain(f));
    }
    const shared = tf.tidy(() => halfTensor(w, [2, 3]).reshape([3, 2]));
    expect(isHalf(shared)).toBe(true);
    expect(valuesOf(shared)).toEqual(wide);
    shared.dispose();
  });

  it('gradients and changes in place are refused', () => {
    const w = halfTensor(halvesOf(6, 6), [2, 3]) as Tensor2D;
    const x = tf.tensor2d(numbers(12, 7), [4, 3]);
    const keep = vi.spyOn(tf.engine(), 'keep'); // tfjs forgets what it kept for a gradient that throws
    const refused = /bf16 have no gradient: open the checkpoint for training/;
    for (const f of [
      () => tf.sum(linear(x, w)),
      () => tf.sum(linear(x, w, tf.tensor1d([1, 2]) as Tensor1D)),
      () => tf.sum(groupedLinear(x, [w], Int32Array.of(0, 4))),
      () => tf.sum(embedding(w, Int32Array.of(0, 1))),
    ]) {
      expect(() => tf.tidy(() => void tf.grads(f as never)([x, w] as never))).toThrow(refused);
    }
    expect(() => kernels().own(w)).toThrow(/bf16 cannot be changed/);
    tf.dispose([w, x, ...keep.mock.results.map(({ value }) => value as Tensor)]);
  });

  it('takes two bytes a number, and gives them back', () => {
    const counted = countMemory();
    const halves = halvesOf(40_000, 8);
    const w = halfTensor(halves, [200, 200]) as Tensor2D;
    const held = name === 'wasm' ? 80_000 : 0; // native borrows the array
    expect(counted.bytes()).toBe(held);
    expect(kernels().halves(w)!.buffer === halves.buffer).toBe(name === 'native');
    computed(() => linear(tf.ones([3, 200]) as Tensor2D, w));
    computed(() => embedding(w, Int32Array.of(3)));
    const borrowed = name === 'wasm' ? 3 * 200 * 4 : 0;
    expect(counted.most() - held, 'a product makes its output, and no wide copy of the weights').toBeLessThan(
      2 * 3 * 200 * 4 + borrowed,
    );
    expect(counted.bytes()).toBe(held);
    const copy = tf.clone(w);
    w.dispose();
    expect(valuesOf(copy)).toEqual(bfloat16ToFloat32(halves));
    expect(copy.dataSync(), 'numbers of its own for each reader: none are kept').not.toBe(copy.dataSync());
    copy.dispose();
    expect(counted.bytes()).toBe(0);
    counted.stop();
  });
});

/** Bytes that the library of the running backend has given out since. */
function countMemory() {
  const { library } = kernels();
  const { allocate, free } = library;
  let bytes = 0;
  let most = 0;
  library.allocate = floats => {
    bytes += 4 * floats;
    most = Math.max(most, bytes);
    return allocate(floats);
  };
  library.free = values => {
    bytes -= 4 * values.length;
    free(values);
  };
  return { bytes: () => bytes, most: () => most, stop: () => void Object.assign(library, { allocate, free }) };
}

describe('a checkpoint in BF16', () => {
  const spec = toySpec({ model: { shared_expert: true, tie_word_embeddings: false }, router: { bias_rate: 0.01 } });
  const tied = toySpec({ model: { tie_word_embeddings: true, moe_layers: 'none' } });
  const tokens = sequenceInput(Int32Array.from({ length: 20 }, (_, i) => (7 * i) % EOS));
  let folder = '';

  async function write(at: string, of: typeof spec): Promise<void> {
    mkdirSync(at);
    writeFileSync(join(at, 'config.json'), JSON.stringify(toConfigJson(of, toyMap, EOS)));
    writeFileSync(join(at, 'tokenizer.json'), bytesTokenizer().toJson());
    const sources = [...toyWeights(of)].map(([name, { shape, values }]) => ({
      name,
      shape,
      dtype: 'BF16' as const,
      values: () => values,
    }));
    const biases = of.layers.flatMap((kind, layer) => (kind === 'moe' && of.router.bias_rate > 0 ? [layer] : []));
    const selection = biases.map(layer => ({
      name: `model.layers.${layer}.mlp.gate.e_score_correction_bias`,
      shape: [of.numExperts],
      dtype: 'F32' as const,
      values: () => Float32Array.of(0.1, 0, 0, 0),
    }));
    await writeSafetensors(join(at, 'model.safetensors'), [...sources, ...selection]);
  }
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'moe-half-'));
    await write(join(folder, 'sparse'), spec);
    await write(join(folder, 'dense'), tied);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await use('cpu');
  });

  /** What `f` answers of the model as inference opens it, and as training does. */
  async function both<T>(which: string, f: (model: Model) => T | Promise<T>): Promise<[inference: T, training: T]> {
    const [inference, training] = [openForInference, openModel].map(open => open(join(folder, which)).model);
    const answers: [T, T] = [await f(inference), await f(training)];
    disposeModel(inference);
    disposeModel(training);
    return answers;
  }
  const halves = (model: Model): string[] => [...model.weights].flatMap(([name, w]) => (isHalf(w) ? [name] : []));

  it.each(kernelBackends)(
    '%s: matrices stay in bf16 for inference, but for routers; training widens all',
    async name => {
      await use(name);
      const [inference, training] = await both('sparse', halves);
      const matrices = tensorSpecs(spec).filter(({ shape, role }) => shape.length === 2 && role !== 'router');
      expect(inference).toEqual(matrices.map(({ name }) => name));
      expect(inference.some(name => name.includes('gate.weight'))).toBe(false);
      expect(training).toEqual([]);
    },
  );

  it.each(backends)('%s: the same logits and the same text, to the bit', async name => {
    await use(name);
    for (const which of ['sparse', 'dense']) {
      const [inference, training] = await both(which, model => logitsOf(model, tokens, { mode: 'free' }));
      expect(inference).toEqual(training);
      const settings = {
        maxTokens: 12,
        temperature: 1,
        topP: 1,
        eosIds: [],
        mode: 'free' as const,
        languageExpert: null,
      };
      const say = (model: Model) => collected(generate(model, Int32Array.of(3, 4), { ...settings, random: () => 0.4 }));
      const [said, wanted] = await both(which, say);
      expect(said).toEqual(wanted);
    }
  });

  it.each(kernelBackends)('%s: logits of cpu, up to rounding', async name => {
    const logits = async (backend: typeof name | 'cpu'): Promise<number[]> => {
      await use(backend);
      return (await both('sparse', model => logitsOf(model, tokens, { mode: 'free' })))[0].flat();
    };
    expectClose('logits', await logits(name), await logits('cpu'), 1e-5);
  });

  it('wasm: the weights take half the memory, also after they have been used', async () => {
    await use('wasm');
    const counted = countMemory();
    const [inference, training] = await both('sparse', model => {
      const before = counted.bytes();
      logitsOf(model, tokens, { mode: 'free' });
      return { before, after: counted.bytes() };
    });
    counted.stop();
    // the second model comes on top of the first, whose few fp32 tensors are then in the library as well
    const wide = tensorSpecs(spec).filter(({ shape, role }) => shape.length === 1 || role === 'router');
    const sizeOf = (specs: typeof wide): number =>
      specs.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const [all, kept] = [sizeOf(tensorSpecs(spec)), sizeOf(wide)];
    expect(inference).toEqual({ before: 2 * (all - kept), after: 2 * (all - kept) + 4 * kept });
    expect(training.after - training.before).toBe(4 * all);
    expect(inference.after / (4 * all)).toBeLessThan(0.55);
  });
});
