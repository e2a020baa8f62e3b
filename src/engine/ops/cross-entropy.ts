// Cross-entropy per token: −log softmax(logits)[label], in nats; 0 where label = −100. dlogits = dy (softmax − onehot).
import '../fast/cross-entropy.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { crossEntropyReference } from '../reference/cross-entropy.ts';
import { checkIndex, checkShape } from '../shape.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** The label of a token that does not count. */
const IGNORED = -100;

/** Loss of each of T tokens. @throws RangeError when a label is neither −100 nor in the vocabulary. */
export function crossEntropy(logits_TV: Tensor2D, label_T: Int32Array): Tensor1D {
  checkShape('crossEntropy: labels', [label_T.length], [logits_TV.shape[0]]);
  checkIndex('crossEntropy: label', label_T, logits_TV.shape[1], IGNORED);
  if (!hasKernel('MoeCrossEntropy')) return tf.tidy(() => crossEntropyReference(logits_TV, label_T));
  return withGradient(
    [logits_TV],
    () => {
      const [loss_T, normaliser_T2] = runKernel('MoeCrossEntropy', { logits: logits_TV }, { label_T });
      return { value: loss_T as Tensor1D, saved: [logits_TV, normaliser_T2] };
    },
    (gradient, [logits, normaliser]) => runKernel('MoeCrossEntropyGrad', { logits, normaliser, gradient }, { label_T }),
  );
}
