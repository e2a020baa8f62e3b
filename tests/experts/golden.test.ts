// The whole layer against PyTorch: values, all gradients, every routing of the golden file (made by hybrid-k-moe.py beside it).

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type MoeOptions, moeLayer } from '../../experts/layer.ts';
import type { RouterKind, RoutingMode, TokenInfo } from '../../routing/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { relativeError, unflattenWeights, valuesOf } from './toy.ts';

interface Case {
  name: string;
  kind: RouterKind;
  mode: RoutingMode;
  k: number;
  normalise: boolean;
  shared: boolean;
  chosen: number[];
  gate: number[];
  probabilities: number[];
  y: number[];
  balance: number;
  z: number;
  loss: number;
  gradients: Record<string, number[]>;
}
interface Golden {
  sizes: { T: number; D: number; F: number; E: number; balance: number; z: number; hint: number };
  language: number[];
  counted: number[];
  inputs: Record<string, { shape: [number, number]; values: number[] }>;
  cases: Case[];
}
const golden: Golden = JSON.parse(
  readFileSync(new URL('../golden/experts/hybrid-k-moe.json', import.meta.url), 'utf8'),
);
const { sizes, inputs } = golden;
const tokens: TokenInfo = {
  languageExpert_T: Int32Array.from(golden.language),
  counted_T: Uint8Array.from(golden.counted),
  tokenId_T: new Int32Array(sizes.T),
};
const networks = [...Array.from({ length: sizes.E }, (_, e) => `experts.${e}`), 'shared'];
const names = [
  'router',
  ...networks.flatMap(n => ['gate', 'up', 'down'].map(part => `${n}.${part}_proj`)),
  'shared.gate',
];
const tensorOf = (name: string) => tf.tensor2d(inputs[name].values, inputs[name].shape);

function check(golden: Case, dispatch: MoeOptions['dispatch']): void {
  const options: MoeOptions = { ...golden, hintBias: sizes.hint, dispatch, capacityFactor: null, balance: 'assigned' };
  const used = names.filter(name => golden.shared || !name.startsWith('shared'));
  const run = ([x, ...list]: Tensor[]) =>
    moeLayer(x as Tensor2D, unflattenWeights(list, sizes.E, golden.shared), tokens, options);
  const loss = (...list: Tensor[]) => {
    const { y_TD, auxiliary } = run(list);
    const task = y_TD.mul(tensorOf('upstream')).sum();
    return task.add(auxiliary.balance.mul(sizes.balance)).add(auxiliary.z.mul(sizes.z)).asScalar();
  };
  const list = ['x', ...used].map(tensorOf);
  const { y_TD, routing, auxiliary } = run(list);
  expect(Array.from(hostIntegers(routing.expertId_TK))).toEqual(golden.chosen);
  expect(relativeError(valuesOf(routing.gate_TK), golden.gate)).toBeLessThan(1e-6);
  expect(relativeError(valuesOf(routing.probabilities_TE), golden.probabilities)).toBeLessThan(1e-6);
  expect(relativeError(valuesOf(y_TD), golden.y)).toBeLessThan(1e-5);
  expect(relativeError(valuesOf(auxiliary.balance), [golden.balance])).toBeLessThan(1e-6);
  expect(relativeError(valuesOf(auxiliary.z), [golden.z])).toBeLessThan(1e-6);
  const gradients = tf.grads(loss)(list);
  ['x', ...used].forEach((name, i) => {
    expect(relativeError(valuesOf(gradients[i]), golden.gradients[name]), name).toBeLessThan(1e-5);
  });
}

for (const backend of ['cpu', 'wasm'] as const) {
  describe(backend, () => {
    beforeAll(() => selectBackend(backend));
    for (const dispatch of ['tf', 'one-hot'] as const) {
      test.each(golden.cases)(`${dispatch}: $name`, golden => tf.tidy(() => check(golden, dispatch)));
    }
  });
}
