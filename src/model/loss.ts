// The training objective and its gradients: mean next-token cross-entropy over learned tokens plus the auxiliary losses.
import { crossEntropy } from '../engine/ops/cross-entropy.ts';
import { type Scalar, type Tensor, tf, type Variable } from '../engine/tf.ts';
import type { ForwardOptions } from './forward-options.ts';
import type { TokenInput } from './token-input.ts';
import { forward } from './transformer.ts';
import type { Model } from './weights.ts';

export interface LossAndGradients {
  /** Mean cross-entropy, nats per learned token; 0 when there is none. */
  loss: number;
  /** Auxiliary losses, coefficients included. */
  auxiliary: number;
  learnedTokens: number;
  /** By tensor name; the caller disposes them. */
  gradients: Map<string, Tensor>;
}

/** Forward and backward pass of one micro-batch. */
export function lossAndGradients(
  model: Model,
  tokens: TokenInput,
  label_T: Int32Array,
  options: ForwardOptions,
): LossAndGradients {
  const learnedTokens = label_T.reduce((count, label) => count + (label >= 0 ? 1 : 0), 0);
  let loss = 0;
  let auxiliary = 0;
  const { value, grads } = tf.variableGrads(() => {
    const out = forward(model, tokens, options);
    const mean = tf.div(tf.sum(crossEntropy(out.logits_TV, label_T)), Math.max(1, learnedTokens)) as Scalar;
    loss = mean.dataSync()[0];
    if (!out.auxiliary) return mean;
    auxiliary = out.auxiliary.dataSync()[0];
    return tf.add(mean, out.auxiliary) as Scalar;
  }, [...model.weights.values()]);
  value.dispose();
  return { loss, auxiliary, learnedTokens, gradients: byName(model.weights, grads) };
}

/** tfjs keys gradients by its own variable names; a tensor that the loss never reached has a null gradient. */
function byName(weights: Map<string, Variable>, grads: Record<string, Tensor | null>): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  for (const [name, variable] of weights) {
    const gradient = grads[variable.name];
    if (gradient) named.set(name, gradient);
  }
  return named;
}

/** Cross-entropy of each token without gradients: nats, 0 where the label is −100. */
export function tokenLosses(
  model: Model,
  tokens: TokenInput,
  label_T: Int32Array,
  options: ForwardOptions,
): Float32Array {
  return tf.tidy(() => crossEntropy(forward(model, tokens, options).logits_TV, label_T).dataSync()) as Float32Array;
}
