// Cross-entropy for TensorFlow. With top = max_v l and share = 1 / Σ_v e^(l − top): loss = top − l[label] − ln share.
// dlogits = dy e^(l − top) share, less dy at the label: one place per token, so a scatter of places that never meet.
// Kernels as in fast/cross-entropy.ts.

import type { CrossEntropyAttributes } from '../fast/cross-entropy.ts';
import { type Tensor, type Tensor2D, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';

registerTensorflow<CrossEntropyAttributes>('MoeCrossEntropy', ({ logits }, { label_T }) => {
  const top_T1 = tf.max(logits, 1, true);
  const mass_T1 = tf.sum(tf.exp(tf.sub(logits, top_T1)), 1, true);
  const loss_T1 = tf.add(tf.sub(top_T1, atLabel(logits, label_T)), tf.log(mass_T1));
  const loss_T = tf.reshape(whereCounted(loss_T1, label_T), [label_T.length]);
  return [loss_T, tf.concat([top_T1, tf.div(1, mass_T1)], 1)];
});

registerTensorflow<CrossEntropyAttributes>('MoeCrossEntropyGrad', ({ logits, normaliser, gradient }, { label_T }) => {
  const tokens = label_T.length;
  if (tokens === 0) return [tf.zerosLike(logits)];
  const [top_T1, share_T1] = tf.split(normaliser, 2, 1);
  const dy_T1 = whereCounted(tf.reshape(gradient, [tokens, 1]), label_T);
  const spread_TV = tf.mul(tf.exp(tf.sub(logits, top_T1)), tf.mul(share_T1, dy_T1));
  const place_T2 = tf.tensor2d(
    Array.from(label_T, (label, t) => [t, Math.max(label, 0)]),
    [tokens, 2],
    'int32',
  );
  const rest_T = tf.reshape(tf.sub(atLabel(spread_TV, label_T), dy_T1), [tokens]);
  return [tf.tensorScatterUpdate(spread_TV, place_T2, rest_T)];
});

/** [T, 1], the number of each row at its label; at 0 where there is none. */
const atLabel = (x_TV: Tensor, label_T: Int32Array): Tensor2D =>
  tf.gather(
    x_TV,
    tf.tensor2d(
      label_T.map(label => Math.max(label, 0)),
      [label_T.length, 1],
      'int32',
    ),
    1,
    1,
  ) as Tensor2D;

/** x [T, 1] with 0 where there is no label. */
function whereCounted(x_T1: Tensor, label_T: Int32Array): Tensor {
  const counted_T1 = tf.tensor2d(
    Uint8Array.from(label_T, label => Number(label >= 0)),
    [label_T.length, 1],
    'bool',
  );
  return tf.where(counted_T1, x_T1, tf.zerosLike(x_T1));
}
