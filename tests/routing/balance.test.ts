// Auxiliary losses: hand-worked numbers, padding, the golden of the pooled form, gradients.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { balanceLoss, pooledBalanceLoss, zLoss } from '../../routing/balance.ts';
import type { Routing } from '../../routing/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { type Scalar, type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';

beforeAll(() => selectBackend('cpu'));

const numberOf = (make: () => Scalar) => tf.tidy(() => make().dataSync()[0]);
const gradientOf = (f: (x: Tensor2D) => Scalar, x: number[][]) =>
  tf.tidy(() =>
    Array.from(
      tf
        .grad(v => f(v as Tensor2D))(tf.tensor2d(x))
        .dataSync(),
    ),
  );
const routingOf = (probabilities_TE: Tensor2D, ids: number[], k: number): Routing => ({
  expertId_TK: Int32Array.from(ids),
  gate_TK: probabilities_TE, // not read by the loss
  probabilities_TE,
  k,
});
const all = (n: number) => new Uint8Array(n).fill(1);

describe('balance, per layer', () => {
  test('even is 1 for any k; everything on one expert is E', () => {
    const even = () => tf.fill([4, 4], 0.25) as Tensor2D;
    expect(numberOf(() => balanceLoss(routingOf(even(), [0, 1, 2, 3], 1), all(4)))).toBe(1);
    expect(numberOf(() => balanceLoss(routingOf(even(), [0, 1, 2, 3, 0, 1, 2, 3], 2), all(4)))).toBe(1);
    const one = () => tf.tensor2d([[1, 0, 0, 0], [1, 0, 0, 0]]); // biome-ignore format: a matrix
    expect(numberOf(() => balanceLoss(routingOf(one(), [0, 0], 1), all(2)))).toBe(4);
  });

  // P = mean of the two rows = [.5, .3, .2]; assigned slots {0,1},{0,2}: f = [.5, .25, .25];
  // 3·(.25 + .075 + .05) = 1.125. A fresh top-2 is {0,1},{0,1}: f = [.5, .5, 0]; 3·(.25 + .15) = 1.2.
  const p = [[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]]; // biome-ignore format: a matrix
  const ids = [0, 1, 0, 2];
  test('worked by hand, from what was assigned and from a fresh top-k', () => {
    const loss = (source: 'assigned' | 'router') =>
      numberOf(() => balanceLoss(routingOf(tf.tensor2d(p), ids, 2), all(2), source));
    expect(loss('assigned')).toBeCloseTo(1.125, 6);
    expect(loss('router')).toBeCloseTo(1.2, 6);
  });

  test('padding counts neither in f nor in P', () => {
    const padded = [...p, [0, 0, 1]];
    const loss = numberOf(() => balanceLoss(routingOf(tf.tensor2d(padded), [...ids, 2, 2], 2), Uint8Array.of(1, 1, 0)));
    expect(loss).toBeCloseTo(1.125, 6);
    expect(numberOf(() => balanceLoss(routingOf(tf.tensor2d(p), ids, 2), new Uint8Array(2)))).toBe(0);
  });

  test('gradient flows through P alone: E·f_e / tokens, 0 on padding', () => {
    const padded = [...p, [0, 0, 1]];
    const f = (x: Tensor2D) => balanceLoss(routingOf(x, [...ids, 2, 2], 2), Uint8Array.of(1, 1, 0));
    const expected = [0.75, 0.375, 0.375, 0.75, 0.375, 0.375, 0, 0, 0];
    gradientOf(f, padded).forEach((g, i) => {
      expect(g).toBeCloseTo(expected[i], 6);
    });
  });

  test('empty slots of expert choice do not count', () => {
    const loss = numberOf(() => balanceLoss(routingOf(tf.tensor2d(p), [0, 1, 0, -1], 2), all(2)));
    expect(loss).toBeCloseTo(3 * ((2 / 3) * 0.5 + (1 / 3) * 0.3), 6);
  });
});

describe('balance, pooled over layers', () => {
  interface Golden {
    tokens: number;
    experts: number;
    k: number;
    counted: number[];
    logits: number[][];
    loss: number;
    gradients: number[][];
  }
  const golden: Golden = JSON.parse(readFileSync(new URL('../golden/experts/balance.json', import.meta.url), 'utf8'));
  const counted = Uint8Array.from(golden.counted);
  const logitTensors = () => golden.logits.map(z => tf.tensor2d(z, [golden.tokens, golden.experts]));
  const pooled = (logits: Tensor2D[]) =>
    pooledBalanceLoss(
      logits.map(z => tf.softmax(z)),
      counted,
      golden.k,
    );

  test('equals the PyTorch golden, with its gradient in the logits of every layer', () => {
    expect(numberOf(() => pooled(logitTensors()))).toBeCloseTo(golden.loss, 6);
    tf.tidy(() => {
      const gradients = tf.grads((...z: Tensor[]) => pooled(z as Tensor2D[]))(logitTensors());
      gradients.forEach((gradient, layer) => {
        gradient.dataSync().forEach((g, i) => {
          expect(Math.abs(g - golden.gradients[layer][i])).toBeLessThan(1e-7);
        });
      });
    });
  });

  test('with one layer it is k times the per-layer loss of a fresh top-k', () => {
    const single = numberOf(() => pooled(logitTensors().slice(0, 1)));
    const perLayer = numberOf(() => {
      const p = tf.softmax(logitTensors()[0]);
      return balanceLoss(routingOf(p, new Array(golden.tokens * golden.k).fill(0), golden.k), counted, 'router');
    });
    expect(single).toBeCloseTo(golden.k * perLayer, 6);
  });

  test('pooling hides a collapse that the per-layer loss shows: two layers, each on one expert', () => {
    const layer = (expert: number) => tf.oneHot(tf.tensor1d([expert, expert], 'int32'), 2).cast('float32') as Tensor2D;
    expect(numberOf(() => pooledBalanceLoss([layer(0), layer(1)], all(2), 1))).toBe(1);
    expect(numberOf(() => balanceLoss(routingOf(layer(0), [0, 0], 1), all(2)))).toBe(2);
  });
});

describe('z-loss', () => {
  test('worked by hand: E equal logits give ln(E)², a shift by c adds c inside the square, padding is left out', () => {
    expect(numberOf(() => zLoss(tf.zeros([3, 4]), all(3)))).toBeCloseTo(Math.log(4) ** 2, 6);
    const logits = [[1, 1, 1, 1], [50, 0, 0, 0]]; // biome-ignore format: a pair
    expect(numberOf(() => zLoss(tf.tensor2d(logits), Uint8Array.of(1, 0)))).toBeCloseTo((Math.log(4) + 1) ** 2, 5);
    expect(numberOf(() => zLoss(tf.tensor2d(logits), new Uint8Array(2)))).toBe(0);
  });

  test('large logits stay finite', () => {
    expect(numberOf(() => zLoss(tf.tensor2d([[300, 300]]), all(1)))).toBeCloseTo((300 + Math.LN2) ** 2, 1);
  });

  test('gradient: 2·lse·p / tokens, against finite differences in double precision', () => {
    const logits = [[0.5, -1.2, 2], [1, 1, 1], [0.1, 0.2, 0.3]]; // biome-ignore format: a matrix
    const value = (z: number[][]) =>
      (Math.log(z[0].reduce((s, v) => s + Math.exp(v), 0)) ** 2 +
        Math.log(z[1].reduce((s, v) => s + Math.exp(v), 0)) ** 2) /
      2;
    const actual = gradientOf(z => zLoss(z, Uint8Array.of(1, 1, 0)).mul(3), logits);
    logits.flat().forEach((_, i) => {
      const moved = (by: number) => logits.map((row, t) => row.map((v, e) => (t * 3 + e === i ? v + by : v)));
      const expected = (3 * (value(moved(1e-6)) - value(moved(-1e-6)))) / 2e-6;
      expect(Math.abs(actual[i] - expected)).toBeLessThan(2e-6);
    });
  });
});
