// Plain-tfjs cross-entropy per token: log Σ_v exp(logit_v) − logit_label, in nats; 0 where label = −100.
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';
import { oneHot } from './one-hot.ts';

export function crossEntropyReference(logits_TV: Tensor2D, label_T: Int32Array): Tensor1D {
  const counted_T = tf.tensor1d(Float32Array.from(label_T, label => (label === -100 ? 0 : 1)));
  const picked_T = tf.sum(tf.mul(logits_TV, oneHot(label_T, logits_TV.shape[1])), 1);
  return tf.mul(tf.sub(tf.logSumExp(logits_TV, 1), picked_T), counted_T) as Tensor1D;
}
