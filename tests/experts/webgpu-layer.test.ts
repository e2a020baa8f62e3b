// The whole layer on a GPU against the plain JavaScript of tfjs: outputs, losses, every gradient, and the integers, which are equal.
import { describe, expect, it } from 'vitest';
import { type MoeOptions, moeLayer } from '../../experts/layer.ts';
import { readLoad } from '../../routing/load.ts';
import { readIntegers } from '../../src/engine/integers.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { use, webgpuHere } from '../engine/backends.ts';
import { expectClose } from '../engine/judge.ts';
import { flattenWeights, PAPER, toyLayer, unflattenWeights } from './toy.ts';

const SIZES = { tokens: 45, width: 12, expertWidth: 20, experts: 5 };

const variants: [string, Partial<MoeOptions>][] = [
  ['the paper in training', {}],
  [
    'free, normalised, with a bias for the choice',
    { mode: 'free', normalise: true, selectionBias_E: Float32Array.of(0.3, 0, -0.2, 0, 0) },
  ],
  ['hinted', { mode: 'hinted', hintBias: 0.8, balance: 'router' }],
  ['a capacity limit', { capacityFactor: 0.7 }],
  ['language-specific', { kind: 'language', k: 1 }],
  ['hashed', { kind: 'hash', mode: 'free' }],
  ['all experts', { k: 5, mode: 'free', kind: 'top-k' }],
];

/** Everything that the layer answers and its gradients, on the host. */
async function answersOf(options: MoeOptions) {
  const made = tf.tidy(() => toyLayer(SIZES, 'layer') as never) as ReturnType<typeof toyLayer>;
  const { x_TD, weights, tokens, upstream_TD } = made;
  const list = flattenWeights(weights);
  const out = moeLayer(x_TD, weights, tokens, options);
  const loss = (x: Tensor, ...given: Tensor[]) => {
    const again = moeLayer(x as Tensor2D, unflattenWeights(given, SIZES.experts, true), tokens, options);
    const { balance, z } = again.auxiliary;
    return again.y_TD.mul(upstream_TD).sum().add(balance.mul(3)).add(z).asScalar();
  };
  const gradients = tf.grads(loss)([x_TD, ...list]);
  const read = async (tensor: Tensor) => (await tensor.data<'float32'>()).slice();
  const floats = await Promise.all(
    [out.y_TD, out.routing.gate_TK, out.auxiliary.balance, out.auxiliary.z, ...gradients].map(read),
  );
  const { rank_N, offsets_E1, inverse_N } = out.plan;
  const integers = await Promise.all([out.routing.expertId_TK, rank_N, offsets_E1, inverse_N].map(readIntegers));
  const load_E = await readLoad(out.load_E);
  const dropped = typeof out.dropped === 'number' ? out.dropped : (await out.dropped.data())[0];
  const held = [out, out.routing, out.plan, out.auxiliary].flatMap(part => Object.values(part));
  tf.dispose([x_TD, upstream_TD, ...list, ...gradients, ...held.filter(each => each instanceof tf.Tensor)]);
  return { floats, integers, load_E, dropped };
}

describe.runIf(webgpuHere.works)('on webgpu', () => {
  it.each(variants)('%s', async (_, variant) => {
    const options = { ...PAPER, ...variant };
    await use('cpu');
    const want = await answersOf(options);
    await use('webgpu');
    const got = await answersOf(options);
    expect(got.integers).toEqual(want.integers);
    expect([got.load_E, got.dropped]).toEqual([want.load_E, want.dropped]);
    for (const [i, values] of want.floats.entries()) expectClose(`number ${i}`, got.floats[i], values, 3e-5);
  });
});
