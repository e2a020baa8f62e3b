// Softmax over the last axis, e^(z − max z) / Σ e^(z − max z), with a true division. TensorFlow's own kernel multiplies by a
// reciprocal that is only approximated: of a single choice it answers 0.9999999, and what should cancel in gradients does not.

import { type Tensor, tf } from '../tf.ts';

const softmax: tf.KernelConfig['kernelFunc'] = ({ inputs, attrs }) =>
  tf.tidy(() => {
    const logits = inputs.logits as Tensor;
    const { dim } = attrs as { dim: number };
    const mass = tf.exp(tf.sub(logits, tf.max(logits, dim, true)));
    return tf.div(mass, tf.sum(mass, dim, true));
  });

/** Puts it in the place of TensorFlow's, once. */
export function replaceSoftmax(): void {
  if (tf.getKernel('Softmax', 'tensorflow')?.kernelFunc === softmax) return;
  tf.unregisterKernel('Softmax', 'tensorflow');
  tf.registerKernel({ kernelName: 'Softmax', backendName: 'tensorflow', kernelFunc: softmax });
}
