// The backends native and wasm as tfjs sees them: whose memory a tensor's values are in, and for how long. What tfjs
// computes on them is what it computes on cpu.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Library } from '../../src/engine/library/library.ts';
import type { KernelMemory } from '../../src/engine/memory.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';
import { kernelBackends, use } from './backends.ts';
import { expectClose, generator } from './judge.ts';

const random = (shape: number[], seed: number): Tensor =>
  tf.tensor(Float32Array.from({ length: tf.util.sizeFromShape(shape) }, generator(seed)), shape);

describe.each(kernelBackends)('%s', name => {
  let memory: KernelMemory & { library: Library };
  beforeAll(async () => {
    await use(name);
    memory = tf.backend() as unknown as typeof memory;
  });
  afterAll(() => use('cpu'));

  /** A tensor in the library's memory: the kernels made it. */
  const made = (...values: number[]): Tensor => tf.tidy(() => tf.add(tf.tensor1d(values), tf.tensor1d([0])));
  /** Writes over all memory that is free, so that whoever still reads it gets sevens. */
  function reuse(floats: number): void {
    const tensors = Array.from({ length: 20 }, () => made(...new Array<number>(floats).fill(7)));
    tf.dispose(tensors);
  }

  describe('values that kernels of tfjs share with their input', () => {
    const rows = () => made(1, 2, 3, 4, 5, 6).reshape([3, 2]);
    it.each<[string, (x: Tensor) => Tensor[], number[][]]>([
      ['slice', x => [tf.slice(x, [1, 0], [2, 2])], [[3, 4, 5, 6]]],
      [
        'split',
        x => tf.split(x, 3, 0),
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      ],
      [
        'unstack',
        x => tf.unstack(x),
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      ],
      ['reshape', x => [tf.reshape(x, [6])], [[1, 2, 3, 4, 5, 6]]],
      ['clone', x => [tf.clone(x)], [[1, 2, 3, 4, 5, 6]]],
      ['cast', x => [tf.cast(x, 'float32')], [[1, 2, 3, 4, 5, 6]]],
    ])('%s: they live on when the input is gone and its memory is used again', (_, f, wanted) => {
      const outputs = tf.tidy(() => f(rows()));
      reuse(6);
      expect(outputs.map(output => [...output.dataSync()])).toEqual(wanted);
      tf.dispose(outputs);
    });

    it('and stay as they are when the input is changed in place', () => {
      const x = tf.tensor1d([1, 2, 3, 4]);
      const part = tf.slice(x, [1], [2]);
      memory.own(x).fill(9);
      expect([...part.dataSync()]).toEqual([2, 3]);
      expect([...x.dataSync()]).toEqual([9, 9, 9, 9]);
      tf.dispose([x, part]);
    });
  });

  describe('what JavaScript is handed', () => {
    it('dataSync and data are copies, for tensors of the kernels', async () => {
      const x = made(1, 2, 3);
      const [now, later] = [x.dataSync(), await x.data()];
      now[0] = 50;
      expect([...x.dataSync()]).toEqual([1, 2, 3]);
      x.dispose();
      reuse(3);
      expect([...now]).toEqual([50, 2, 3]);
      expect([...later]).toEqual([1, 2, 3]);
    });

    it('own: the values to change in place, of which a borrowed array becomes a copy', () => {
      const callers = Float32Array.of(1, 2, 3);
      const x = tf.tensor1d(callers);
      const values = memory.own(x);
      values[0] = 8;
      expect([...callers]).toEqual([1, 2, 3]);
      expect([...x.dataSync()]).toEqual([8, 2, 3]);
      expect(memory.own(x)).toBe(values);
      x.dispose();
    });

    it('own: not while another tensor shares the values', () => {
      const x = made(1, 2);
      const other = x.reshape([2, 1]);
      expect(() => memory.own(x)).toThrow('a tensor that shares its values cannot be changed in place');
      other.dispose();
      memory.own(x)[1] = 5;
      expect([...x.dataSync()]).toEqual([1, 5]);
      x.dispose();
    });

    it('view: of shared memory of somebody else, too', () => {
      const callers = new Float32Array(new SharedArrayBuffer(64));
      callers.fill(3);
      const x = tf.tensor1d(callers);
      const sum = tf.tidy(() => tf.add(x, x));
      expect([...sum.dataSync()]).toEqual(new Array(16).fill(6));
      tf.dispose([x, sum]);
    });

    it('view: where kernels reach it, and not a copy of a copy', () => {
      const x = tf.tensor1d([1, 2, 3]);
      expect(memory.library.reaches(memory.view(x))).toBe(true);
      expect(memory.view(x)).toBe(memory.view(x));
      x.dispose();
    });
  });

  describe('integers and booleans cast to fp32', () => {
    it('count as numbers, and stay what they were', () => {
      const ids = tf.tensor1d([16777217, -3], 'int32'); // the first is no fp32 number
      const flags = tf.tensor1d([true, false], 'bool');
      const sum = tf.tidy(() => tf.add(ids.toFloat(), flags.toFloat()));
      expect([...sum.dataSync()]).toEqual([16777216, -3]);
      expect(ids.dataSync()).toEqual(Int32Array.of(16777217, -3));
      expect(flags.dataSync()).toEqual(Uint8Array.of(1, 0));
      tf.dispose([ids, flags, sum]);
    });

    it('and their fp32 copies go with them', () => {
      const before = outstanding();
      const ids = tf.tensor1d([1, 2], 'int32');
      tf.tidy(() => void tf.mul(ids.toFloat(), ids.toFloat()));
      ids.dispose();
      expect(outstanding()).toBe(before);
    });
  });

  /** Where an array of the library starts: wasm has one memory, native many buffers. */
  const placeOf = (values: Float32Array) => `${name === 'wasm' ? 0 : bufferId(values)} ${values.byteOffset}`;

  let given: Map<string, Float32Array> | undefined;
  /** How many arrays the library has given out, counted from the first call on. None is ever given out twice. */
  function outstanding(): number {
    if (given) return given.size;
    const arrays = new Map<string, Float32Array>();
    given = arrays;
    const { library } = memory;
    const { allocate, free } = library;
    Object.assign(library, {
      allocate(floats: number) {
        const values = allocate(floats);
        if (arrays.has(placeOf(values))) throw new Error('given out twice');
        arrays.set(placeOf(values), values);
        return values;
      },
      free(values: Float32Array) {
        arrays.delete(placeOf(values));
        free(values);
      },
    });
    return 0;
  }

  describe('memory', () => {
    const round = () =>
      tf.tidy(() => {
        const [x, w] = [random([17, 33], 1), random([33, 9], 2)];
        const y = tf.matMul(x as never, w as never) as Tensor;
        const loss = (v: Tensor) => tf.softmax(tf.add(tf.mul(v, v), 1)).sum() as never;
        tf.grad(loss)(y);
        tf.concat([tf.slice(y, [0, 0], [3, 9]), tf.split(y, [7, 10])[1]], 0);
      });

    it('is used again: none of it stays in use, and after some rounds none is new', () => {
      round();
      const before = outstanding();
      const { library } = memory;
      const { allocate } = library;
      const places = new Set<string>();
      library.allocate = floats => {
        const values = allocate(floats);
        places.add(placeOf(values));
        return values;
      };
      const seen = Array.from({ length: 200 }, () => {
        round();
        return places.size;
      });
      library.allocate = allocate;
      expect(outstanding()).toBe(before);
      expect(seen.at(-1)).toBe(seen[9]);
    });

    it('variables give theirs back, and their old values on assignment', () => {
      const before = outstanding();
      const weight = tf.tidy(() => tf.variable(made(1, 2, 3)));
      for (let i = 0; i < 5; i++) tf.tidy(() => weight.assign(tf.add(weight, 1) as never));
      expect([...weight.dataSync()]).toEqual([6, 7, 8]);
      expect(outstanding()).toBe(before + 1);
      weight.dispose();
      expect(outstanding()).toBe(before);
    });

    it('tensors without numbers', () => {
      const none = tf.tidy(() => tf.add(tf.zeros([0, 3]), tf.zeros([0, 3])));
      expect([none.shape, none.dataSync()]).toEqual([[0, 3], new Float32Array(0)]);
      const sum = tf.tidy(() => tf.matMul(tf.zeros([2, 0]), tf.zeros([0, 2])));
      expect([...sum.dataSync()]).toEqual([0, 0, 0, 0]);
      tf.dispose([none, sum]);
    });

    it('a tensor for which there is no memory is refused in one sentence, and others are made as before', () => {
      const before = outstanding();
      const huge = () => memory.allocate([2 ** 21, 2 ** 21]);
      expect(huge).toThrow(UserError);
      expect(huge).toThrow(/^[A-Z][^\n]*: use a smaller batch[^\n]*\.$/);
      const x = made(1, 2);
      expect([...x.dataSync()]).toEqual([1, 2]);
      x.dispose();
      expect(outstanding()).toBe(before);
    });
  });

  it('tensors move between backends with their values', async () => {
    const other = kernelBackends.find(backend => backend !== name) ?? 'cpu';
    const [mine, ids] = [made(1, 2, 3), tf.tensor1d([4, 5], 'int32')];
    tf.tidy(() => void tf.mul(ids.toFloat(), 2));
    for (const place of [other, 'cpu', name] as const) {
      await tf.setBackend(place);
      const [twice, twiceIds] = tf.tidy(() => [mine, ids.toFloat()].map(x => tf.mul(x, 2).dataSync()));
      expect([...twice, ...twiceIds], place).toEqual([2, 4, 6, 8, 10]);
    }
    tf.dispose([mine, ids]);
  });

  /** f here against f on cpu. */
  async function compare(f: () => Tensor): Promise<void> {
    const values = async (backend: 'native' | 'wasm' | 'cpu') => {
      await tf.setBackend(backend);
      return tf.tidy(() => {
        const y = f();
        return [y.shape, y.dtype, y.dataSync()] as const;
      });
    };
    const [[shape, type, got], [wantShape, wantType, want]] = [await values(name), await values('cpu')];
    await tf.setBackend(name);
    expect([shape, type]).toEqual([wantShape, wantType]);
    expectClose('value', got, want, 1e-5);
  }

  it.each([
    ['batches, plain', [2, 3, 4, 5], [2, 3, 5, 6], false, false],
    ['batches, right side turned', [3, 17, 33], [3, 9, 33], false, true],
    ['batches, left side turned', [3, 33, 17], [3, 33, 9], true, false],
    ['batches, both turned', [2, 5, 4], [2, 6, 5], true, true],
    ['one right side for all batches, which tfjs does', [3, 4, 5], [1, 5, 6], false, false],
    ['a matrix, both turned', [5, 4], [6, 5], true, true],
    ['nothing to sum over', [3, 0], [0, 2], false, false],
  ] as const)('tf.matMul: %s', (_, a, b, transposeA, transposeB) =>
    compare(() => tf.matMul(random([...a], 1), random([...b], 2), transposeA, transposeB)),
  );

  it.each([
    ['with a bias', 'linear'],
    ['with a bias and relu, which tfjs does', 'relu'],
  ] as const)('tf.fused.matMul %s', (_, activation) =>
    compare(() =>
      tf.fused.matMul({
        a: random([7, 5], 1) as never,
        b: random([3, 5], 2) as never,
        bias: random([3], 3),
        transposeA: false,
        transposeB: true,
        activation,
      }),
    ),
  );

  it.each<[string, () => Tensor]>([
    ['sum of integers', () => tf.add(tf.tensor1d([1, 2], 'int32'), tf.tensor1d([3, 4], 'int32'))],
    ['rows added to a matrix', () => tf.add(random([3, 4], 1), random([4], 2))],
    ['a column added to a matrix', () => tf.sub(random([3, 4], 1), random([3, 1], 2))],
    ['a matrix added to batches', () => tf.add(random([2, 3, 4], 1), random([3, 4], 2))],
    ['one row of each batch', () => tf.div(random([2, 3, 4], 1), tf.add(random([2, 1, 4], 2), 5))],
    ['product with a number', () => tf.mul(random([3, 4], 1), 2.5)],
    ['product of a number', () => tf.mul(tf.scalar(2.5), random([3, 4], 1))],
    ['softmax of a row of −∞ but one', () => tf.softmax(tf.tensor2d([[-Infinity, 3, -Infinity]]))],
    ['softmax of large numbers', () => tf.softmax(tf.tensor2d([[1e4, 1e4 + 1, -1e4]]))],
    ['sums over each axis', () => tf.concat([0, 1, 2].map(axis => tf.sum(random([3, 4, 5], 1), axis).flatten()))],
    ['sum of integers over rows', () => tf.sum(tf.tensor2d([1, 2, 3, 4], [2, 2], 'int32'), 1)],
    ['sum of nothing', () => tf.sum(tf.zeros([3, 0]), 1)],
    ['comparisons', () => tf.greater(random([3, 4], 1), random([3, 4], 2))],
    ['largest places', () => tf.topk(random([3, 7], 1), 2).indices],
    ['slice, then product', () => tf.matMul(tf.slice(random([6, 4], 1), [2, 0], [3, 4]), random([4, 2], 2))],
  ])('%s', (_, f) => compare(f));

  it('says on how many threads it runs, and takes another number when asked again', async () => {
    for (const [threads, said] of [
      [1, 'on one thread.'],
      [3, 'on 3 threads.'],
      [2, 'on 2 threads.'],
      [0, 'on one thread.'],
    ] as const) {
      const { why } = await use(name, { threads });
      expect(why.endsWith(said), why).toBe(true);
      const sum = tf.tidy(
        () =>
          tf
            .matMul(tf.ones([70, 80]), tf.ones([80, 90]))
            .sum()
            .dataSync()[0],
      );
      expect(sum).toBe(70 * 80 * 90);
    }
  });

  it('a kernel that is not there is named', () => {
    expect(() => memory.call('no_such_kernel')).toThrow('there is no kernel no_such_kernel');
    expect(() => memory.call('gemm', ...new Array(33).fill(0))).toThrow(/kernel takes at most 32 arguments/);
  });
});

it.runIf(kernelBackends.includes('native'))(
  'auto takes native where it compiles, and then tries no other',
  async () => {
    const { name, why, candidates } = await use('auto', { threads: 2 });
    expect(name).toBe('native');
    expect(why).toMatch(/^C kernels for (avx512|avx2|plain) on 2 threads\.$/);
    expect(candidates.find(candidate => candidate.name === 'wasm')?.why).toBe('WebAssembly, not tried.');
    await use('cpu');
  },
);

const ids = new WeakMap<object, number>();
let nextId = 0;
function bufferId(values: Float32Array): number {
  if (!ids.has(values.buffer)) ids.set(values.buffer, nextId++);
  return ids.get(values.buffer)!;
}
