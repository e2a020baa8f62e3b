// Dispatch paths against each other and against a loop over tokens; what must hold bit for bit.

import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { dispatchByOneHot } from '../../experts/dispatch/one-hot.ts';
import { planDispatch } from '../../experts/dispatch/plan.ts';
import { referenceMixture } from '../../experts/dispatch/reference.ts';
import { dispatchByGather } from '../../experts/dispatch/tf.ts';
import { ffn, groupedFfn } from '../../experts/ffn.ts';
import { type MoeOptions, type MoeWeights, moeLayer } from '../../experts/layer.ts';
import { sharedExpert } from '../../experts/shared.ts';
import { route } from '../../routing/router.ts';
import type { TokenInfo } from '../../routing/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { countOf, hostIntegers } from '../../src/engine/integers.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import {
  flattenWeights,
  PAPER,
  randomMatrix,
  relativeError,
  tidied,
  toyLayer,
  unflattenWeights,
  valuesOf,
} from './toy.ts';

/** One token at a time, one expert at a time: what the layer means, in tensors, so that it has gradients too. */
function layerByLoop(x_TD: Tensor2D, weights: MoeWeights, tokens: TokenInfo, options: MoeOptions): Tensor2D {
  const { gate_TK, k, ...chosen } = route(linear(x_TD, weights.router_ED), tokens, options);
  const expertId_TK = hostIntegers(chosen.expertId_TK);
  const rows = Array.from({ length: x_TD.shape[0] }, (_, t) => {
    const x_1D = x_TD.slice([t, 0], [1, -1]);
    let y_1D = x_1D.mul<Tensor2D>(0);
    for (let j = 0; j < k; j++) {
      const e = expertId_TK[t * k + j];
      if (e >= 0) y_1D = y_1D.add(ffn(x_1D, weights.experts[e]).mul(gate_TK.slice([t, j], [1, 1])));
    }
    return y_1D;
  });
  const routed_TD = tf.concat(rows, 0);
  return weights.shared ? routed_TD.add(sharedExpert(x_TD, weights.shared)) : routed_TD;
}

/** y and the gradients of <y, upstream> in x and every weight, as host arrays. */
function valueAndGradients(
  layer: (x_TD: Tensor2D, weights: MoeWeights) => Tensor2D,
  { x_TD, weights, upstream_TD }: { x_TD: Tensor2D; weights: MoeWeights; upstream_TD: Tensor2D },
): Float32Array[] {
  const again = (list: Tensor[]) => unflattenWeights(list, weights.experts.length, weights.shared !== undefined);
  const loss = (x: Tensor, ...list: Tensor[]) =>
    layer(x as Tensor2D, again(list))
      .mul(upstream_TD)
      .sum()
      .asScalar();
  const gradients = tf.grads(loss)([x_TD, ...flattenWeights(weights)]);
  return [layer(x_TD, weights), ...gradients].map(valuesOf);
}

const SHAPES = [
  { tokens: 1, width: 4, expertWidth: 6, experts: 2, k: 2 },
  { tokens: 17, width: 8, expertWidth: 12, experts: 7, k: 2 },
  { tokens: 33, width: 5, expertWidth: 7, experts: 12, k: 3 },
  { tokens: 24, width: 8, expertWidth: 8, experts: 3, k: 1 },
  { tokens: 40, width: 6, expertWidth: 9, experts: 8, k: 8 },
];

for (const backend of ['cpu', 'wasm'] as const) {
  describe(backend, () => {
    beforeAll(() => selectBackend(backend));

    test.each(SHAPES)('gather, one-hot and loop agree, with all gradients: %j', ({ k, ...sizes }) => {
      for (const normalise of [false, true]) {
        tf.tidy(() => {
          const toy = toyLayer(sizes, `paths ${JSON.stringify(sizes)}`);
          const options = { ...PAPER, k, normalise };
          const path = (dispatch: MoeOptions['dispatch']) =>
            valueAndGradients((x, w) => moeLayer(x, w, toy.tokens, { ...options, dispatch }).y_TD, toy);
          const loop = valueAndGradients((x, w) => layerByLoop(x, w, toy.tokens, options), toy);
          for (const dispatch of ['tf', 'one-hot'] as const) {
            path(dispatch).forEach((values, i) => {
              expect(relativeError(values, loop[i]), `${dispatch}, tensor ${i}`).toBeLessThan(1e-5);
            });
          }
        });
      }
    });

    test('expert choice: rows with none and with many experts', () => {
      tf.tidy(() => {
        const toy = toyLayer({ tokens: 20, width: 6, expertWidth: 8, experts: 5 }, 'expert choice');
        const options: MoeOptions = { ...PAPER, kind: 'expert-choice', mode: 'free' };
        const { routing } = moeLayer(toy.x_TD, toy.weights, toy.tokens, options);
        expect(routing.k).toBeGreaterThan(2);
        expect(hostIntegers(routing.expertId_TK).includes(-1)).toBe(true);
        const layer = valueAndGradients((x, w) => moeLayer(x, w, toy.tokens, options).y_TD, toy);
        const loop = valueAndGradients((x, w) => layerByLoop(x, w, toy.tokens, options), toy);
        layer.forEach((values, i) => {
          expect(relativeError(values, loop[i]), `tensor ${i}`).toBeLessThan(1e-5);
        });
      });
    });

    test('a batch in which nobody is chosen answers zeros', () => {
      tf.tidy(() => {
        const toy = toyLayer({ tokens: 3, width: 4, expertWidth: 5, experts: 2 }, 'nobody');
        const plan = planDispatch(new Int32Array(6).fill(-1), 2, 2);
        const gate_TK = tf.ones([3, 2]) as Tensor2D;
        for (const dispatch of [dispatchByGather, dispatchByOneHot]) {
          const y_TD = dispatch(toy.x_TD, gate_TK, plan, (x, offsets) => groupedFfn(x, toy.weights.experts, offsets));
          expect(valuesOf(y_TD)).toEqual(new Float32Array(12));
        }
      });
    });

    test('identity experts return the input: bits at k = 1, and whenever gates sum to 1', () => {
      tf.tidy(() => {
        const random = seedrandom('identity');
        const [tokens, experts] = [50, 7];
        const x_TD = randomMatrix(tokens, 9, 1, random);
        const one = Int32Array.from({ length: tokens }, () => Math.floor(random() * experts));
        const gates_T1 = tf.ones([tokens, 1]) as Tensor2D;
        const y1_TD = dispatchByGather(x_TD, gates_T1, planDispatch(one, 1, experts), rows => rows);
        expect(valuesOf(y1_TD)).toEqual(valuesOf(x_TD));
        const two = Int32Array.from([...one].flatMap(e => [e, (e + 1) % experts]));
        const gate_T1 = tf.tensor2d(Float32Array.from({ length: tokens }, random), [tokens, 1]);
        const gate_TK = tf.concat([gate_T1, tf.sub(1, gate_T1)], 1) as Tensor2D;
        const y2_TD = dispatchByGather(x_TD, gate_TK, planDispatch(two, 2, experts), rows => rows);
        expect(relativeError(valuesOf(y2_TD), valuesOf(x_TD))).toBeLessThan(1e-6);
      });
    });

    test('tokens shuffled in, the same bits shuffled out, forward and backward', () => {
      tf.tidy(() => {
        const sizes = { tokens: 64, width: 16, expertWidth: 24, experts: 7 };
        const { x_TD, weights, tokens, upstream_TD } = toyLayer(sizes, 'shuffle');
        const random = seedrandom('order');
        const order = Array.from({ length: 64 }, (_, t) => t)
          .map(t => ({ t, key: random() }))
          .sort((a, b) => a.key - b.key)
          .map(({ t }) => t);
        const shuffledTokens: TokenInfo = {
          languageExpert_T: Int32Array.from(order, t => tokens.languageExpert_T![t]),
          counted_T: Uint8Array.from(order, t => tokens.counted_T[t]),
          tokenId_T: Int32Array.from(order, t => tokens.tokenId_T[t]),
        };
        const both = (info: TokenInfo, x: Tensor2D, upstream: Tensor2D) => {
          const layer = (v: Tensor2D) => moeLayer(v, weights, info, PAPER).y_TD;
          const gradient = tf.grad(v =>
            layer(v as Tensor2D)
              .mul(upstream)
              .sum(),
          )(x);
          return [valuesOf(layer(x)), valuesOf(gradient)];
        };
        const straight = both(tokens, x_TD, upstream_TD);
        const shuffle = (m: Tensor2D) => tf.gather(m, order);
        const shuffled = both(shuffledTokens, shuffle(x_TD), shuffle(upstream_TD));
        straight.forEach((values, which) => {
          order.forEach((t, place) => {
            const row = (m: Float32Array, i: number) => m.subarray(i * 16, (i + 1) * 16);
            expect(row(shuffled[which], place)).toEqual(row(values, t));
          });
        });
      });
    });

    test('the same call twice gives the same bits, with gradients', () => {
      tf.tidy(() => {
        const toy = toyLayer({ tokens: 48, width: 12, expertWidth: 20, experts: 5 }, 'repeat');
        const once = () => valueAndGradients((x, w) => moeLayer(x, w, toy.tokens, PAPER).y_TD, toy);
        expect(once()).toEqual(once());
      });
    });
  });
}

describe('cpu only', () => {
  beforeAll(() => selectBackend('cpu'));

  test('equals the mixture written out in double precision', () => {
    tf.tidy(() => {
      const { x_TD, weights, tokens } = toyLayer({ tokens: 12, width: 6, expertWidth: 9, experts: 4 }, 'oracle');
      const { shared: _, ...routed } = weights;
      const { y_TD, routing } = moeLayer(x_TD, routed, tokens, PAPER);
      const hosts = weights.experts.map(w => [w.gate_proj, w.up_proj, w.down_proj].map(m => m.arraySync()));
      const times = (w: number[][], v: number[]) => w.map(row => row.reduce((sum, a, i) => sum + a * v[i], 0));
      const expert = (e: number, x_D: number[]) => {
        const [gate, up, down] = hosts[e];
        const up_F = times(up, x_D);
        return times(
          down,
          times(gate, x_D).map((g, f) => (g / (1 + Math.exp(-g))) * up_F[f]),
        );
      };
      const y = referenceMixture(
        x_TD.arraySync(),
        hostIntegers(routing.expertId_TK),
        valuesOf(routing.gate_TK),
        2,
        expert,
      );
      expect(relativeError(valuesOf(y_TD), y.flat())).toBeLessThan(1e-6);
    });
  });

  test('capacity: what is dropped adds nothing, what fits is unchanged, plenty is dropless to the bit', () => {
    tf.tidy(() => {
      const toy = toyLayer({ tokens: 30, width: 6, expertWidth: 9, experts: 4 }, 'capacity');
      const { x_TD, weights } = toy;
      const { shared: _, ...routed } = weights;
      const tokens = { ...toy.tokens, counted_T: new Uint8Array(30).fill(1) };
      const layer = (capacityFactor: number | null) => moeLayer(x_TD, routed, tokens, { ...PAPER, capacityFactor });
      const dropless = layer(null);
      const tight = layer(0.5); // 8 slots per expert of 60 slots: at least 28 dropped
      expect([dropless.dropped, layer(4).dropped]).toEqual([0, 0]);
      expect(valuesOf(layer(4).y_TD)).toEqual(valuesOf(dropless.y_TD));
      expect(tight.dropped).toBeGreaterThanOrEqual(28);
      expect(countOf(tight.plan.slot_M)).toBe(60 - Number(tight.dropped));
      expect(tight.routing.expertId_TK).toEqual(dropless.routing.expertId_TK);
      const all = valuesOf(dropless.y_TD);
      const kept = valuesOf(tight.y_TD);
      const seen = new Set<number>();
      for (let t = 0; t < 30; t++) {
        const rows = hostIntegers(tight.plan.inverse_N).subarray(2 * t, 2 * t + 2);
        const served = rows.filter(row => row >= 0).length;
        seen.add(served);
        if (served === 2) expect(kept.subarray(6 * t, 6 * t + 6)).toEqual(all.subarray(6 * t, 6 * t + 6));
        if (served === 0) expect(kept.subarray(6 * t, 6 * t + 6)).toEqual(new Float32Array(6));
      }
      expect([...seen].sort()).toEqual([0, 1, 2]);
      // Expert choice: rows are wider than k, but capacity still counts k experts per token: ⌈0.5·30·2/4⌉ = 8 of 15 each.
      const choice: MoeOptions = { ...PAPER, kind: 'expert-choice', mode: 'free', capacityFactor: 0.5 };
      expect(moeLayer(x_TD, routed, tokens, choice).dropped).toBe(4 * (15 - 8));
      // Padding has no place: 20 real tokens get ⌈0.5·20·2/4⌉ = 5 each, though padding stands before them.
      const padded = { ...tokens, counted_T: Uint8Array.from({ length: 30 }, (_, t) => (t < 10 ? 0 : 1)) };
      const { plan, dropped } = moeLayer(x_TD, routed, padded, { ...PAPER, capacityFactor: 0.5 });
      expect(plan.offsets_E1).toEqual(Int32Array.of(0, 5, 10, 15, 20));
      expect([dropped, Math.min(...hostIntegers(plan.token_M))]).toEqual([20, 10]);
    });
  });

  test('the router learns from a forced expert, and learns nothing under language-specific routing', () => {
    tf.tidy(() => {
      const { x_TD, weights, tokens } = toyLayer({ tokens: 6, width: 5, expertWidth: 7, experts: 4 }, 'router');
      const { shared: _, ...routed } = weights;
      const known = { ...tokens, languageExpert_T: new Int32Array(6).fill(2) };
      const routerGradient = (options: MoeOptions) => {
        const layer = (router_ED: Tensor) =>
          moeLayer(x_TD, { ...routed, router_ED: router_ED as Tensor2D }, known, options)
            .y_TD.square()
            .sum();
        return valuesOf(tf.grad(layer)(weights.router_ED));
      };
      const hybrid = routerGradient(PAPER);
      expect(Math.max(...hybrid.subarray(2 * 5, 3 * 5).map(Math.abs))).toBeGreaterThan(1e-3);
      const language = routerGradient({ ...PAPER, kind: 'language', k: 1 });
      expect(language.every(g => g === 0)).toBe(true);
    });
  });

  test('load counts real tokens; the layer leaves only its answer behind', () => {
    const toy = tidied(() => toyLayer({ tokens: 30, width: 4, expertWidth: 6, experts: 3 }, 'leak'));
    const before = tf.memory().numTensors;
    const { y_TD, routing, auxiliary, load_E } = moeLayer(toy.x_TD, toy.weights, toy.tokens, PAPER);
    expect(tf.memory().numTensors - before).toBe(5);
    const counted = toy.tokens.counted_T.filter(counts => counts === 1).length;
    expect(counted).toBeLessThan(30);
    expect((load_E as Float64Array).reduce((sum, n) => sum + n, 0)).toBe(2 * counted);
    const answer = [y_TD, routing.gate_TK, routing.probabilities_TE, auxiliary.balance, auxiliary.z];
    tf.dispose([...answer, toy.x_TD, toy.upstream_TD, ...flattenWeights(toy.weights)]);
  });
});
