// PyTorch's numbers (tests/golden/engine/make_engine_golden.py) and numbers worked by hand, on every backend.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { adamw } from '../../src/engine/ops/adamw.ts';
import { attention } from '../../src/engine/ops/attention.ts';
import { combine } from '../../src/engine/ops/combine.ts';
import { crossEntropy } from '../../src/engine/ops/cross-entropy.ts';
import { embedding } from '../../src/engine/ops/embedding.ts';
import { gatherRows } from '../../src/engine/ops/gather-rows.ts';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { matmul } from '../../src/engine/ops/matmul.ts';
import { rmsNorm } from '../../src/engine/ops/rms-norm.ts';
import { rope } from '../../src/engine/ops/rope.ts';
import { sumsOfSquares } from '../../src/engine/ops/sum-of-squares.ts';
import { swiglu } from '../../src/engine/ops/swiglu.ts';
import { adamwReference } from '../../src/engine/reference/adamw.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { allBackends, use } from './backends.ts';
import { expectClose } from './judge.ts';
import { read, scoped } from './scope.ts';

const golden = JSON.parse(readFileSync(new URL('../golden/engine/engine.json', import.meta.url), 'utf8'));

const numbers = async (tensor: Tensor): Promise<number[]> => [...(await read(tensor))];

/** Value and gradients of f as plain arrays. */
async function grads(f: unknown, inputs: Tensor[], upstream: Tensor): Promise<{ value: number[]; grads: number[][] }> {
  const result = tf.valueAndGrads(f as (...inputs: Tensor[]) => Tensor)(inputs, upstream);
  return { value: await numbers(result.value), grads: await Promise.all(result.grads.map(numbers)) };
}

describe.each(allBackends)('on %s, as in PyTorch', backend => {
  beforeAll(async () => {
    await use(backend);
  });

  it(
    'attention: two heads per key head, two documents, padding, a cache of two keys',
    scoped(async () => {
      const g = golden.attention;
      const { B, Sq, Sk, H, G, d } = g.shape;
      const inputs = [
        tf.tensor4d(g.q, [B, Sq, H, d]),
        tf.tensor4d(g.k, [B, Sk, G, d]),
        tf.tensor4d(g.v, [B, Sk, G, d]),
      ];
      const [qs, ks] = [Int32Array.from(g.querySegment), Int32Array.from(g.keySegment)];
      const got = await grads(
        (q: never, k: never, v: never) => attention(q, k, v, qs, ks),
        inputs,
        tf.tensor4d(g.dy, [B, Sq, H, d]),
      );
      expectClose('out', got.value, g.out, 1e-5);
      expectClose('dq', got.grads[0], g.dq, 1e-5);
      expectClose('dk', got.grads[1], g.dk, 1e-5);
      expectClose('dv', got.grads[2], g.dv, 1e-5);
    }),
  );

  it(
    'rope',
    scoped(async () => {
      const { x, y, shape, position, theta } = golden.rope;
      expectClose('y', await read(rope(tf.tensor3d(x, shape), Int32Array.from(position), theta)), y, 1e-6);
    }),
  );

  it(
    'crossEntropy with labels −100',
    scoped(async () => {
      const g = golden.crossEntropy;
      const label_T = Int32Array.from(g.label);
      const got = await grads(
        (x: never) => crossEntropy(x, label_T),
        [tf.tensor2d(g.logits, g.shape)],
        tf.tensor1d(g.dy),
      );
      expectClose('loss', got.value, g.loss, 1e-6);
      expectClose('dlogits', got.grads[0], g.dlogits, 1e-6);
    }),
  );

  it(
    'swiglu and rmsNorm',
    scoped(async () => {
      const g = golden.swigluAndNorm;
      const [x, u, dy] = [g.x, g.u, g.dy].map(values => tf.tensor2d(values, g.shape));
      const gate = await grads(swiglu, [x, u], dy);
      expectClose('swiglu', gate.value, g.swiglu, 1e-6);
      expectClose('dgate', gate.grads[0], g.dgate, 1e-6);
      expectClose('dup', gate.grads[1], g.dup, 1e-6);
      const norm = await grads((a: never, w: never) => rmsNorm(a, w, g.epsilon), [x, tf.tensor1d(g.w)], dy);
      expectClose('norm', norm.value, g.norm, 1e-6);
      expectClose('dx', norm.grads[0], g.dx, 1e-5);
      expectClose('dw', norm.grads[1], g.dw, 1e-5);
    }),
  );

  it('adamw over five steps, and its reference', async () => {
    const { settings, start, gradients, steps, m: lastM, v: lastV } = golden.adamw;
    const [theta, m, v] = tf.tidy(() =>
      [start, start.map(() => 0), start.map(() => 0)].map(values => tf.variable(tf.tensor1d(values))),
    );
    let plain = [theta, m, v].map(variable => variable.clone() as Tensor);
    for (const [n, values] of gradients.entries()) {
      const gradient = tf.tensor1d(values);
      adamw(theta, gradient, m, v, { ...settings, step: n + 1 });
      const next = tf.tidy(() => adamwReference(plain[0], gradient, plain[1], plain[2], { ...settings, step: n + 1 }));
      tf.dispose([plain, gradient]);
      plain = next;
      expectClose(`step ${n + 1}`, await read(theta), steps[n], 1e-6);
      expectClose(`reference, step ${n + 1}`, await read(plain[0]), steps[n], 1e-6);
    }
    expectClose('m', await read(m), lastM, 1e-6);
    expectClose('v', await read(v), lastV, 1e-6);
    tf.dispose([theta, m, v, plain]);
  });
});

describe.each(allBackends)('on %s, by hand', backend => {
  beforeAll(async () => {
    await use(backend);
  });
  const rows = (...values: number[][]) => tf.tensor2d(values);

  it(
    'products and linear maps',
    scoped(async () => {
      const [a, b] = [rows([1, 2], [3, 4]), rows([5, 6], [7, 8])];
      expect(await numbers(matmul(a, b))).toEqual([19, 22, 43, 50]);
      expect(await numbers(matmul(a, b, true, false))).toEqual([26, 30, 38, 44]);
      expect(await numbers(matmul(a, b, false, true))).toEqual([17, 23, 39, 53]);
      expect(await numbers(matmul(a, b, true, true))).toEqual([23, 31, 34, 46]);
      expect(await numbers(linear(a, b, tf.tensor1d([1, -1])))).toEqual([18, 22, 40, 52]);
    }),
  );

  it(
    'norm: (3, 4) has root mean square √12.5',
    scoped(async () => {
      const y = await read(rmsNorm(rows([3, 4]), tf.tensor1d([1, 2]), 0));
      expectClose('y', y, [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)], 1e-6);
    }),
  );

  it(
    'rope turns the first and third channel by a whole radian at position 1',
    scoped(async () => {
      const y = await read(rope(tf.tensor3d([1, 0, 0, 1], [1, 1, 4]), Int32Array.of(1), 100));
      expectClose('y', y, [Math.cos(1), -Math.sin(0.1), Math.sin(1), Math.cos(0.1)], 1e-6);
    }),
  );

  it(
    'attention: equal scores average the values seen so far, per document',
    scoped(async () => {
      const zeros = tf.tensor4d([0, 0, 0, 0], [1, 4, 1, 1]);
      const values = tf.tensor4d([1, 3, 10, 20], [1, 4, 1, 1]);
      const segment = Int32Array.of(0, 0, 1, -1);
      expect(await numbers(attention(zeros, zeros, values, segment, segment))).toEqual([1, 2, 10, 0]);
    }),
  );

  it(
    'cross-entropy: equal logits give log V, a hopeless label its distance',
    scoped(async () => {
      const loss = await read(
        crossEntropy(rows([0, 0, 0, 0], [0, 500, 0, 0], [9, 9, 9, 9]), Int32Array.of(1, 0, -100)),
      );
      expectClose('loss', loss, [Math.log(4), 500, 0], 1e-6);
    }),
  );

  it(
    'rows: pick, permute there and back, weigh, multiply by segment',
    scoped(async () => {
      const x = rows([1, 2], [3, 4]);
      expect(await numbers(embedding(x, Int32Array.of(1, 1, 0)))).toEqual([3, 4, 3, 4, 1, 2]);
      const [token, inverse] = [Int32Array.of(1, 0, 1, 0), Int32Array.of(1, 3, 0, 2)];
      const got = await grads(
        (a: never) => gatherRows(a, token, inverse),
        [x],
        rows([1, 0], [10, 0], [100, 0], [1000, 0]),
      );
      expect(got.value).toEqual([3, 4, 1, 2, 3, 4, 1, 2]);
      expect(got.grads[0]).toEqual([1010, 0, 101, 0]);
      const mixed = combine(rows([1, 1], [2, 2], [4, 4]), Int32Array.of(0, 2, 1, -1), rows([0.5, 0.25], [3, 9]));
      expect(await numbers(mixed)).toEqual([1.5, 1.5, 6, 6]);
      const grouped = groupedLinear(x, [rows([1, 1]), rows([7, 7]), rows([1, -1])], Int32Array.of(0, 1, 1, 2));
      expect(await numbers(grouped)).toEqual([3, -1]);
    }),
  );

  it(
    'sum of squares',
    scoped(async () => {
      const tensors = [tf.tensor1d([1, 2, 3, 4, 5]), tf.tensor1d([]), tf.tensor2d([[-2], [1]])];
      expect(await numbers(sumsOfSquares(tensors))).toEqual([55, 0, 5]);
    }),
  );
});
