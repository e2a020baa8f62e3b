// Loss-free balancing: the update rule, and that it evens out a skewed router.
import seedrandom from 'seedrandom';
import { expect, test } from 'vitest';
import { expertLoad } from '../../routing/load.ts';
import { updateSelectionBias } from '../../routing/loss-free.ts';
import { topK } from '../../routing/top-k.ts';

test('below the mean rises, above falls, even stays', () => {
  const bias = updateSelectionBias(Float32Array.of(0, 0.5, -0.25), [1, 3, 2], 0.125);
  expect(Array.from(bias)).toEqual([0.125, 0.375, -0.25]);
});

test('a router that prefers one expert ends up even, and without the bias it does not', () => {
  const random = seedrandom('skewed');
  const [experts, k, tokens] = [6, 2, 600];
  const counted = new Uint8Array(tokens).fill(1);
  const scores = () =>
    Float32Array.from({ length: tokens * experts }, (_, i) => random() + (i % experts === 0 ? 0.6 : 0));
  const loadWith = (bias: Float32Array) => {
    const biased = scores().map((s, i) => s + bias[i % experts]);
    return expertLoad(topK(biased, experts, k), k, experts, counted);
  };
  let bias = new Float32Array(experts);
  const imbalance = (load: Float64Array) => Math.max(...load) / ((tokens * k) / experts);
  expect(imbalance(loadWith(bias))).toBeGreaterThan(2);
  for (let step = 0; step < 200; step++) bias = updateSelectionBias(bias, loadWith(bias), 0.01);
  expect(imbalance(loadWith(bias))).toBeLessThan(1.2);
});

test('load counts slots of real tokens only', () => {
  expect(Array.from(expertLoad(Int32Array.of(0, 1, 1, -1, 2, 2), 2, 3, Uint8Array.of(1, 1, 0)))).toEqual([1, 2, 0]);
});
