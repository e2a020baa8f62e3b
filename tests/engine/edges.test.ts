// Where operations break first: no rows, blocks and tiles that do not divide, a heap that grows, ids out of range,
// weights that change under the matrix product, gradients of computations that run twice.
import { beforeAll, describe, expect, it } from 'vitest';
import type { BackendName } from '../../src/engine/backend.ts';
import { adamw } from '../../src/engine/ops/adamw.ts';
import { attention } from '../../src/engine/ops/attention.ts';
import { checkpointed } from '../../src/engine/ops/checkpointed.ts';
import { combine } from '../../src/engine/ops/combine.ts';
import { crossEntropy } from '../../src/engine/ops/cross-entropy.ts';
import { embedding } from '../../src/engine/ops/embedding.ts';
import { gatherRows } from '../../src/engine/ops/gather-rows.ts';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { matmul } from '../../src/engine/ops/matmul.ts';
import { pickColumns } from '../../src/engine/ops/pick-columns.ts';
import { rmsNorm } from '../../src/engine/ops/rms-norm.ts';
import { rope } from '../../src/engine/ops/rope.ts';
import { swiglu } from '../../src/engine/ops/swiglu.ts';
import { swigluNetwork } from '../../src/engine/ops/swiglu-network.ts';
import { attentionReference } from '../../src/engine/reference/attention.ts';
import { groupedLinearReference } from '../../src/engine/reference/grouped-linear.ts';
import { linearReference, matmulReference } from '../../src/engine/reference/matmul.ts';
import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { allBackends, use } from './backends.ts';
import { expectClose, generator } from './judge.ts';
import { read, scoped } from './scope.ts';

type Any = (...inputs: Tensor[]) => Tensor;
const any = (f: unknown): Any => f as Any;

function random(shape: number[], seed: number): Tensor {
  const next = generator(seed);
  return tf.tensor(Float32Array.from({ length: tf.util.sizeFromShape(shape) }, next), shape);
}

async function gradientsOf(f: Any, shapes: number[][]): Promise<Float32Array[]> {
  const tensors = tf.tidy(() => {
    const inputs = shapes.map((shape, i) => random(shape, i + 1));
    const upstream = random(f(...inputs).shape, 99);
    const { value, grads } = tf.valueAndGrads(f)(inputs, upstream);
    return [value, ...grads];
  });
  const values = await Promise.all(tensors.map(read));
  tf.dispose(tensors);
  return values;
}

/** `f` as on the running backend, `reference` as on cpu: a GPU compiles a program for each of its shapes. */
async function expectSame(f: Any, reference: Any, shapes: number[][]): Promise<void> {
  const backend = tf.getBackend() as BackendName;
  const got = await gradientsOf(f, shapes);
  await use('cpu');
  const want = await gradientsOf(reference, shapes);
  await use(backend);
  want.forEach((values, i) => {
    expectClose(i === 0 ? 'value' : `gradient ${i - 1}`, got[i], values, 2e-4);
  });
}

describe.each(allBackends)('on %s', backend => {
  beforeAll(async () => {
    await use(backend);
  });

  it('no rows in, no rows out, and gradients of zero', async () => {
    const none = new Int32Array(0);
    const cases: [string, Any, number[][]][] = [
      [
        'matmul',
        any(matmul),
        [
          [0, 3],
          [3, 2],
        ],
      ],
      ['linear', any(linear), [[0, 3], [2, 3], [2]]],
      ['rmsNorm', any((x: never, w: never) => rmsNorm(x, w, 1e-5)), [[0, 3], [3]]],
      ['rope', any((x: never) => rope(x, none, 10)), [[0, 2, 4]]],
      [
        'swiglu',
        any(swiglu),
        [
          [0, 3],
          [0, 3],
        ],
      ],
      [
        'attention',
        any((q: never, k: never, v: never) => attention(q, k, v, none, none)),
        [
          [0, 4, 2, 2],
          [0, 4, 1, 2],
          [0, 4, 1, 2],
        ],
      ],
      ['embedding', any((w: never) => embedding(w, none)), [[4, 3]]],
      ['crossEntropy', any((x: never) => crossEntropy(x, none)), [[0, 5]]],
      ['gatherRows', any((x: never) => gatherRows(x, none)), [[4, 3]]],
      ['gatherRows of none', any((x: never) => gatherRows(x, none, none)), [[0, 3]]],
      [
        'combine',
        any((y: never, g: never) => combine(y, none, g)),
        [
          [0, 3],
          [0, 2],
        ],
      ],
      [
        'groupedLinear',
        any((x: never, ...w: never[]) => groupedLinear(x, w, Int32Array.of(0, 0, 0))),
        [
          [0, 3],
          [2, 3],
          [2, 3],
        ],
      ],
    ];
    for (const [name, f, shapes] of cases) {
      const [value, ...gradients] = await gradientsOf(f, shapes);
      expect(value.length, name).toBe(0);
      gradients.forEach((gradient, i) => {
        expect([...gradient], `${name} gradient ${i}`).toEqual(Array(tf.util.sizeFromShape(shapes[i])).fill(0));
      });
    }
  });

  it('an inner dimension of zero gives zeros', async () => {
    const [product] = await gradientsOf(any(matmul), [
      [2, 0],
      [0, 3],
    ]);
    expect([...product]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('products over several tiles, wide and narrow', async () => {
    for (const [m, k, n] of [
      [70, 37, 5],
      [5, 67, 70],
      [33, 1, 65],
    ]) {
      for (const turnA of [false, true]) {
        for (const turnB of [false, true]) {
          const shapes = [turnA ? [k, m] : [m, k], turnB ? [n, k] : [k, n]];
          const product = any((a: never, b: never) => matmul(a, b, turnA, turnB));
          await expectSame(
            product,
            any((a: never, b: never) => matmulReference(a, b, turnA, turnB)),
            shapes,
          );
        }
      }
      await expectSame(any(linear), any(linearReference), [[m, k], [n, k], [n]]);
    }
  });

  it('attention over several blocks of rows', async () => {
    const layouts: [number, number, number, number, (i: number) => number][] = [
      [150, 150, 2, 2, i => Math.floor(i / 40)],
      [150, 150, 4, 1, () => 0],
      [70, 160, 6, 2, () => 3],
      [130, 130, 3, 1, i => (i < 60 ? 0 : i < 129 ? -1 : 5)],
    ];
    for (const [queries, keys, heads, groups, segmentAt] of layouts) {
      const key_S = Int32Array.from({ length: keys }, (_, j) => segmentAt(j));
      const query_S = key_S.slice(keys - queries);
      const shapes = [
        [1, queries, heads, 6],
        [1, keys, groups, 6],
        [1, keys, groups, 6],
      ];
      await expectSame(
        any((q: never, k: never, v: never) => attention(q, k, v, query_S, key_S)),
        any((q: never, k: never, v: never) => attentionReference(q, k, v, query_S, key_S)),
        shapes,
      );
    }
  });

  it(
    'one token with a cache gives the last row of the whole',
    scoped(async () => {
      const [q, k, v] = [random([1, 9, 4, 6], 1), random([1, 9, 2, 6], 2), random([1, 9, 2, 6], 3)] as Tensor4D[];
      const segment = new Int32Array(9);
      const whole = await read(attention(q, k, v, segment, segment));
      const last = attention(tf.slice4d(q, [0, 8, 0, 0], [1, 1, 4, 6]), k, v, segment.slice(8), segment);
      expectClose('last row', await read(last), whole.subarray(8 * 24), 1e-6);
    }),
  );

  it('grouped products of uneven segments', async () => {
    const offsets = Int32Array.of(0, 1, 1, 70, 80);
    const shapes = [
      [80, 33],
      [40, 33],
      [40, 33],
      [40, 33],
      [40, 33],
    ];
    await expectSame(
      any((x: never, ...w: never[]) => groupedLinear(x, w, offsets)),
      any((x: never, ...w: never[]) => groupedLinearReference(x, w, offsets)),
      shapes,
    );
  });

  it(
    'scores of thousands stay finite in attention and cross-entropy',
    scoped(async () => {
      const big = tf.mul(random([1, 5, 1, 4], 1), 1000) as Tensor4D;
      const segment = new Int32Array(5);
      const [value, dq] = await gradientsOf(
        any((v: never) => attention(big, big, v, segment, segment)),
        [[1, 5, 1, 4]],
      );
      expect([...value, ...dq].every(Number.isFinite)).toBe(true);
      const logits = tf.tensor2d([[-2000, 3000, 0]]);
      const upstream = tf.tensor1d([1]);
      const { value: loss, grads } = tf.valueAndGrads(any((x: never) => crossEntropy(x, Int32Array.of(0))))(
        [logits],
        upstream,
      );
      expect([...(await read(loss))]).toEqual([5000]);
      expect([...(await read(grads[0]))]).toEqual([-1, 1, 0]);
    }),
  );

  it(
    'refuses ids, labels and shapes that do not fit',
    scoped(async () => {
      const w = tf.zeros([4, 2]) as Tensor2D;
      expect(() => embedding(w, Int32Array.of(0, 4))).toThrow('embedding: id 4 at place 1 is outside 0..3');
      expect(() => crossEntropy(w, Int32Array.of(0, 0, 2, 0))).toThrow('label 2 at place 2 is outside 0..1');
      expect(() => matmul(w, w)).toThrow('right side of a product has shape [4, 2], wanted [2, 2]');
      expect(() => linear(w, w, tf.zeros([3]))).toThrow('bias has shape [3], wanted [4]');
      expect(() => rmsNorm(w, tf.zeros([3]), 1e-5)).toThrow('rmsNorm: weight has shape [3], wanted [2]');
      expect(() => swiglu(w, tf.zeros([2, 2]))).toThrow('swiglu: up has shape [2, 2], wanted [4, 2]');
      expect(() => rope(tf.zeros([1, 1, 3]), Int32Array.of(0), 10)).toThrow('rope: 3 channels per head are not pairs');
      expect(() => gatherRows(w, Int32Array.of(0, -2))).toThrow('gatherRows: index -2 at place 1 is outside 0..3');
      expect(() => combine(w, Int32Array.of(0), w)).toThrow('combine: inverse has shape [1], wanted [8]');
      expect(() => groupedLinear(w, [w, w], Int32Array.of(0, 5, 4))).toThrow('do not fit 2 weights');
      const [q, k] = [tf.zeros([1, 2, 3, 2]) as Tensor4D, tf.zeros([1, 2, 2, 2]) as Tensor4D];
      const two = new Int32Array(2);
      expect(() => attention(q, k, k, two, two)).toThrow('3 query heads do not divide over 2 key heads');
      expect(() => attention(q, q, k, two, two)).toThrow('attention: v has shape [1, 2, 2, 2], wanted [1, 2, 3, 2]');
      expect(() => attention(q, q, q, two, new Int32Array(3))).toThrow('key segments has shape [3], wanted [2]');
      expect(() => groupedLinear(w, [w], Int32Array.of(0, 3))).toThrow('do not fit 1 weights and 4 rows');
    }),
  );

  it('outside of any tidy an operation leaves its result behind and nothing else', async () => {
    const w = tf.ones([4, 2]) as Tensor2D;
    const [q, cube] = [tf.ones([1, 2, 2, 2]) as Tensor4D, tf.ones([2, 2, 2]) as Tensor3D];
    const row = tf.ones([2]) as Tensor1D;
    const two = new Int32Array(2);
    const four = Int32Array.of(0, 1, 1, 0);
    const whole = Int32Array.of(0, 4);
    const square = tf.ones([2, 2]) as Tensor2D;
    const operations = {
      matmul: () => matmul(w, square),
      linear: () => linear(w, square, row),
      rmsNorm: () => rmsNorm(w, row, 1e-5),
      swiglu: () => swiglu(w, w),
      rope: () => rope(cube, two, 10),
      attention: () => attention(q, q, q, two, two),
      embedding: () => embedding(w, four),
      crossEntropy: () => crossEntropy(w, four),
      gatherRows: () => gatherRows(w, four),
      combine: () => combine(w, four, square),
      groupedLinear: () => groupedLinear(w, [square], whole),
      swigluNetwork: () => swigluNetwork(w, [square], [square], [square], whole),
      pickColumns: () => pickColumns(w, four, 1),
    };
    for (const [name, run] of Object.entries(operations)) {
      const before = tf.memory().numTensors;
      const result = run();
      expect(tf.memory().numTensors - before, name).toBe(1);
      result.dispose();
    }
    for (const tensor of [w, q, cube, row, square]) tensor.dispose();
  });

  it('adamw leaves copies alone, and the next product sees the new weights', async () => {
    const parameter = tf.tidy(() => tf.variable(tf.ones([2, 2]) as Tensor2D));
    const [m, v] = tf.tidy(() => [tf.variable(tf.zeros([2, 2])), tf.variable(tf.zeros([2, 2]))]);
    await scoped(async () => {
      const identity = tf.tensor2d([
        [1, 0],
        [0, 1],
      ]);
      const copy = parameter.clone();
      expect([...(await read(matmul(identity, parameter as Tensor as Tensor2D)))]).toEqual([1, 1, 1, 1]);
      const hyper = { learningRate: 0.5, beta1: 0.9, beta2: 0.9, epsilon: 0, weightDecay: 0, step: 1 };
      adamw(parameter, tf.ones([2, 2]), m, v, hyper);
      expectClose('product', await read(matmul(identity, parameter as Tensor as Tensor2D)), [0.5, 0.5, 0.5, 0.5], 1e-6);
      expect([...(await read(copy))]).toEqual([1, 1, 1, 1]);
    })();
    tf.dispose([parameter, m, v]);
  });

  it('checkpointed gives the same bits, and zeros for an input that is not used', async () => {
    const block = any((x: Tensor2D, w: Tensor2D, u: Tensor2D) =>
      tf.add(x, matmul(swiglu(linear(x, w), linear(x, u)), w)),
    );
    const again: Any = (x, ...w) => checkpointed(block, [checkpointed(block, [x, w[0], w[1]]), w[2], w[3]]);
    const direct: Any = (x, ...w) => block(block(x, w[0], w[1]), w[2], w[3]);
    const shapes = [[3, 4], ...Array(4).fill([5, 4])];
    expect(await gradientsOf(again, shapes)).toEqual(await gradientsOf(direct, shapes));
    const [, , unused] = await gradientsOf((x, w) => checkpointed(a => tf.square(a), [x, w]), [[2, 2], [3]]);
    expect([...unused]).toEqual([0, 0, 0]);
  });

  it('checkpointed works on variables inside variableGrads and leaves nothing behind', async () => {
    const w = tf.tidy(() => tf.variable(random([4, 4], 5)));
    const loss = (wrap: boolean) => () => {
      const f = any((x: Tensor2D, a: Tensor2D) => rmsNorm(matmul(x, a), tf.ones([4]), 1e-5));
      const x = random([3, 4], 6);
      return tf.sum(tf.square(wrap ? checkpointed(f, [x, w]) : f(x, w))) as Scalar;
    };
    const gradient = async (wrap: boolean): Promise<Float32Array> => {
      const { value, grads } = tf.variableGrads(loss(wrap), [w]);
      const values = await read(grads[w.name]);
      tf.dispose([value, grads]);
      return values;
    };
    const [direct, again] = [await gradient(false), await gradient(true)];
    expect(again).toEqual(direct);
    w.dispose();
  });
});

describe('memory of the wasm backend', () => {
  beforeAll(async () => {
    await use('wasm');
  });

  it('a kernel survives the growth of the heap between its allocations', () => {
    tf.tidy(() => {
      const [rows, columns] = [4096, 1024];
      const [gate, up] = [tf.fill([rows, columns], 2), tf.fill([rows, columns], 3)] as Tensor2D[];
      const silu = 2 / (1 + Math.exp(-2));
      const { value, grads } = tf.valueAndGrads(any(swiglu))([gate, up], tf.ones([rows, columns]));
      const last = rows * columns - 1;
      expectClose('y', [value.dataSync()[last]], [3 * silu], 1e-6);
      expectClose('dup', [grads[1].dataSync()[last]], [silu], 1e-6);
      const sum = matmul(gate, tf.ones([columns, 2])).dataSync();
      expect([sum[0], sum[2 * rows - 1]]).toEqual([2 * columns, 2 * columns]);
    });
  });

  it('forty steps of a small network leave the heap as it was', () => {
    const w = tf.tidy(() => tf.variable(random([8, 8], 5)));
    const [m, v] = tf.tidy(() => [tf.variable(tf.zeros([8, 8])), tf.variable(tf.zeros([8, 8]))]);
    const step = (n: number) => {
      const { value, grads } = tf.variableGrads(() => {
        const x = random([16, 8], 6) as Tensor2D;
        const kept = w as Tensor as Tensor2D;
        return tf.mean(crossEntropy(checkpointed(any(linear), [swiglu(x, x), kept]) as Tensor2D, new Int32Array(16)));
      }, [w]);
      adamw(w, grads[w.name], m, v, {
        learningRate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay: 0.1,
        step: n,
      });
      tf.dispose([value, grads]);
    };
    step(1);
    const before = tf.memory();
    const buffers = tf.backend().numDataIds();
    for (let n = 2; n <= 40; n++) step(n);
    expect(tf.memory()).toEqual(before);
    expect(tf.backend().numDataIds()).toBe(buffers);
    tf.dispose([w, m, v]);
  });
});
