// The shared expert (Qwen2-MoE): one more network that serves every token, scaled by its own sigmoid gate.
//   y = sigmoid(w · x) · FFN(x).   sharedGate_1D is Hugging Face's shared_expert_gate.weight [1, D].
import { linear } from '../src/engine/ops/linear.ts';
import { type Tensor2D, tf } from '../src/engine/tf.ts';
import { type FfnWeights, ffn } from './ffn.ts';

export interface SharedExpertWeights {
  ffn: FfnWeights;
  sharedGate_1D: Tensor2D;
}

/** x_TD [T, D] → [T, D], to be added to the routed mixture. */
export function sharedExpert(x_TD: Tensor2D, { ffn: weights, sharedGate_1D }: SharedExpertWeights): Tensor2D {
  return tf.tidy(() => ffn(x_TD, weights).mul<Tensor2D>(linear(x_TD, sharedGate_1D).sigmoid()));
}
