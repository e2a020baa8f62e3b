// Auxiliary losses that keep a router healthy. f comes from integers (no gradient), P from the softmax (gradient).
//   balance, per layer (Switch, arXiv 2101.03961):  E · Σ_e f_e · P_e,  f the share of slots, P the mean probability; 1 when even.
//   pooled (the reference code's and Mixtral's):    the same over all layers' tokens at once, f per token: k when even.
//   z-loss (ST-MoE, arXiv 2202.08906):              mean of logsumexp(z)².         Padding (`counted_T` 0) never counts.
import type { Integers } from '../src/engine/integers.ts';
import { withGradient } from '../src/engine/kernel.ts';
import { type Scalar, type Tensor1D, type Tensor2D, tf } from '../src/engine/tf.ts';
import { expertLoad, loadShare } from './load.ts';
import { topK } from './top-k.ts';
import type { Routing } from './types.ts';
import { choosesOnGpu, topKOnGpu } from './webgpu.ts';

/** Where f comes from: `assigned`, what was really chosen (forcing included), or `router`, a fresh top-k of the probabilities,
 *  which ignores forcing, as the reference code does. */
export type BalanceSource = 'assigned' | 'router';

/** Balance loss of one layer: 1 when even, E when all slots and all probability sit on one expert; 0 without tokens. */
export function balanceLoss(routing: Routing, counted_T: Uint8Array, source: BalanceSource = 'assigned'): Scalar {
  const { probabilities_TE, expertId_TK, k } = routing;
  const numExperts = probabilities_TE.shape[1];
  return tf.tidy(() => {
    const id_TK = source === 'assigned' ? expertId_TK : freshTopK(probabilities_TE, k);
    const share_E = loadShare(expertLoad(id_TK, k, numExperts, counted_T));
    return loadTimesProbability(probabilities_TE, share_E, counted_T);
  });
}

/** Mixtral's form, as in the reference code: layers are concatenated before the product, so a collapse in one layer can hide
 *  behind another, and f is a fresh top-k per token. Equals k · balanceLoss(…, 'router') when there is one layer. */
export function pooledBalanceLoss(probabilities: readonly Tensor2D[], counted_T: Uint8Array, k: number): Scalar {
  return tf.tidy(() => {
    const numExperts = probabilities[0].shape[1];
    const pooled_TE = probabilities.length === 1 ? probabilities[0] : tf.concat([...probabilities], 0);
    const pooledCounted_T = new Uint8Array(counted_T.length * probabilities.length);
    for (let layer = 0; layer < probabilities.length; layer++) pooledCounted_T.set(counted_T, layer * counted_T.length);
    const load_E = expertLoad(freshTopK(pooled_TE, k), k, numExperts, pooledCounted_T);
    const tokens = Math.max(1, sum(pooledCounted_T));
    return loadTimesProbability(pooled_TE, loadShare(load_E, tokens), pooledCounted_T);
  });
}

/** Mean over counted tokens of logsumexp(z_t)²: keeps logits small, where softmax is exact. Takes the raw logits. */
export function zLoss(logits_TE: Tensor2D, counted_T: Uint8Array): Scalar {
  // Its own gradient, 2·lse·softmax(z): tfjs's would also pass through max and split its ties.
  const forward = () => {
    const weight_T1 = tf.tensor2d(countedMean(counted_T), [counted_T.length, 1]);
    const max_T1 = logits_TE.max<Tensor2D>(1, true);
    const lse_T1 = logits_TE.sub(max_T1).exp().sum(1, true).log().add<Tensor2D>(max_T1);
    return { value: lse_T1.square().mul(weight_T1).sum<Scalar>(), saved: [logits_TE, lse_T1.mul(weight_T1).mul(2)] };
  };
  return withGradient([logits_TE], forward, (dy, [logits, slope_T1]) => [tf.softmax(logits).mul(slope_T1).mul(dy)]);
}

/** The router's own choice, without forcing. */
const freshTopK = (p_TE: Tensor2D, k: number): Integers =>
  choosesOnGpu() ? topKOnGpu(p_TE, k) : topK(p_TE.dataSync<'float32'>(), p_TE.shape[1], k);

/** E · Σ_e f_e · P_e with P the mean probability over counted tokens. */
function loadTimesProbability(p_TE: Tensor2D, share_E: Tensor1D, counted_T: Uint8Array): Scalar {
  const [tokens, numExperts] = p_TE.shape;
  return tf.tidy(() => {
    const mean_E = p_TE.mul(tf.tensor2d(countedMean(counted_T), [tokens, 1])).sum(0);
    return mean_E.mul(share_E).sum<Scalar>().mul<Scalar>(numExperts);
  });
}

/** Weights that turn a sum over tokens into the mean over counted ones; all 0 when there are none. */
function countedMean(counted_T: Uint8Array): Float32Array {
  const tokens = Math.max(1, sum(counted_T));
  return Float32Array.from(counted_T, counted => counted / tokens);
}

function sum(values: Uint8Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
