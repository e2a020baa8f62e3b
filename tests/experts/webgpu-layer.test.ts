// The whole layer on a GPU against the plain JavaScript of tfjs: outputs, losses, every gradient, and the integers, which are equal.
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { ffn } from '../../experts/ffn.ts';
import { type MoeOptions, moeLayer } from '../../experts/layer.ts';
import { readLoad } from '../../routing/load.ts';
import type { TokenInfo } from '../../routing/types.ts';
import { readIntegers } from '../../src/engine/integers.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { use, webgpuHere } from '../engine/backends.ts';
import { expectClose } from '../engine/judge.ts';
import { flattenWeights, PAPER, type Sizes, toyLayer, unflattenWeights } from './toy.ts';

/** A GPU's driver compiles each kernel when it is first run; SwiftShader takes seconds for those of a whole layer. */
const PATIENCE = 240_000;

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

const made = (sizes: Sizes, seed: string) =>
  tf.tidy(() => toyLayer(sizes, seed) as never) as ReturnType<typeof toyLayer>;
const read = async (tensor: Tensor) => (await tensor.data<'float32'>()).slice();

/** Everything that the layer answers and its gradients, on the host. */
async function answersOf(options: MoeOptions) {
  const { x_TD, weights, tokens, upstream_TD } = made(SIZES, 'layer');
  const list = flattenWeights(weights);
  const out = moeLayer(x_TD, weights, tokens, options);
  const loss = (x: Tensor, ...given: Tensor[]) => {
    const again = moeLayer(x as Tensor2D, unflattenWeights(given, SIZES.experts, true), tokens, options);
    const { balance, z } = again.auxiliary;
    return again.y_TD.mul(upstream_TD).sum().add(balance.mul(3)).add(z).asScalar();
  };
  const gradients = tf.grads(loss)([x_TD, ...list]);
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

describe.runIf(webgpuHere.works)('on webgpu', { timeout: PATIENCE }, () => {
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

  it('gives the same bits again, and for shuffled tokens the same rows, forward and backward', async () => {
    await use('webgpu');
    const sizes = { tokens: 70, width: 16, expertWidth: 24, experts: 7 };
    const { x_TD, weights, tokens, upstream_TD } = made(sizes, 'shuffle');
    const random = seedrandom('order');
    const order = Array.from({ length: 70 }, (_, t) => ({ t, key: random() }))
      .sort((a, b) => a.key - b.key)
      .map(({ t }) => t);
    const info: TokenInfo = {
      languageExpert_T: Int32Array.from(order, t => tokens.languageExpert_T![t]),
      counted_T: Uint8Array.from(order, t => tokens.counted_T[t]),
      tokenId_T: Int32Array.from(order, t => tokens.tokenId_T[t]),
    };
    const both = (given: TokenInfo, x: Tensor2D, upstream: Tensor2D) =>
      tf.tidy(() => {
        const layer = (v: Tensor) =>
          moeLayer(v as Tensor2D, weights, given, PAPER)
            .y_TD.mul(upstream)
            .sum();
        return [moeLayer(x, weights, given, PAPER).y_TD, tf.grad(layer)(x)];
      });
    const [mixed_TD, shuffledUpstream_TD] = [x_TD, upstream_TD].map(m => tf.gather(m, order));
    const straight = both(tokens, x_TD, upstream_TD);
    const again = both(tokens, x_TD, upstream_TD);
    const shuffled = both(info, mixed_TD, shuffledUpstream_TD);
    const wanted = straight.map(m => tf.gather(m, order));
    const [first, second, got, want] = await Promise.all(
      [straight, again, shuffled, wanted].map(group => Promise.all(group.map(read))),
    );
    tf.dispose([x_TD, upstream_TD, mixed_TD, shuffledUpstream_TD, ...flattenWeights(weights)]);
    tf.dispose([...straight, ...again, ...shuffled, ...wanted]);
    expect(second).toEqual(first);
    expect(got).toEqual(want);
  });

  it('identical experts whose gates sum to 1 are one dense network', async () => {
    await use('webgpu');
    const { x_TD, weights, tokens, upstream_TD } = made({ ...SIZES, experts: 1 }, 'identical');
    const [network] = weights.experts;
    const router_ED = tf.randomNormal([6, SIZES.width], 0, 1, 'float32', 5) as Tensor2D;
    const same = { router_ED, experts: Array.from({ length: 6 }, () => network) };
    const options: MoeOptions = { ...PAPER, kind: 'top-k', mode: 'free', k: 3, normalise: true };
    const outputs = tf.tidy(() => [moeLayer(x_TD, same, tokens, options).y_TD, ffn(x_TD, network)]);
    const [got, want] = await Promise.all(outputs.map(read));
    tf.dispose([x_TD, upstream_TD, router_ED, ...flattenWeights(weights), ...outputs]);
    expectClose('layer', got, want, 1e-5);
  });
});
