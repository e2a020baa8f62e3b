// Cross-entropy per token, in nats; 0 where label = −100.
import { crossEntropyReference } from '../reference/cross-entropy.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';

export function crossEntropy(logits_TV: Tensor2D, label_T: Int32Array): Tensor1D {
  return crossEntropyReference(logits_TV, label_T);
}
