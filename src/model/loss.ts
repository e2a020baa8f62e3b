// The training objective and its gradients: mean next-token cross-entropy over learned tokens plus the auxiliary losses.
import { crossEntropy } from '../engine/ops/cross-entropy.ts';
import { type Scalar, type Tensor, tf, type Variable } from '../engine/tf.ts';
import type { ForwardOptions } from './forward-options.ts';
import type { TokenInput } from './token-input.ts';
import { forward } from './transformer.ts';
import type { Model } from './weights.ts';

/** Tensors, since a device may still be at work on them; the caller reads and disposes them. */
export interface LossAndGradients {
  /** Mean cross-entropy, nats per learned token; 0 when there is none. */
  loss: Scalar;
  /** Auxiliary losses, coefficients included; null for a model without. */
  auxiliary: Scalar | null;
  learnedTokens: number;
  /** By tensor name. */
  gradients: Map<string, Tensor>;
}

/** Forward and backward pass of one micro-batch. Nothing is waited for. */
export function lossAndGradients(
  model: Model,
  tokens: TokenInput,
  label_T: Int32Array,
  options: ForwardOptions,
): LossAndGradients {
  const learnedTokens = label_T.reduce((count, label) => count + (label >= 0 ? 1 : 0), 0);
  const parts: Scalar[] = [];
  const keep = (part: Scalar): Scalar => {
    parts.push(tf.keep(part.clone()));
    return part;
  };
  try {
    const { value, grads } = tf.variableGrads(() => {
      const out = forward(model, tokens, options);
      const mean = keep(tf.div(tf.sum(crossEntropy(out.logits_TV, label_T)), Math.max(1, learnedTokens)));
      return out.auxiliary ? (tf.add(mean, keep(out.auxiliary)) as Scalar) : mean;
    }, [...model.weights.values()]);
    value.dispose();
    const [loss, auxiliary = null] = parts;
    return { loss, auxiliary, learnedTokens, gradients: byName(model.weights, grads) };
  } catch (error) {
    tf.dispose(parts);
    throw error;
  }
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
export async function tokenLosses(
  model: Model,
  tokens: TokenInput,
  label_T: Int32Array,
  options: ForwardOptions,
): Promise<Float32Array> {
  const loss_T = tf.tidy(() => crossEntropy(forward(model, tokens, options).logits_TV, label_T));
  try {
    return await loss_T.data<'float32'>();
  } finally {
    loss_T.dispose();
  }
}
