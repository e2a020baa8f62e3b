// Plain-tfjs grouped-query attention (Ainslie et al. 2023), causal inside equal segments.
// q_BSHd, k_BSGd, v_BSGd; H = G · R query heads, head h reads group ⌊h / R⌋. Materialises all scores: an oracle.
import type { Tensor4D } from '../tf.ts';
import { tf } from '../tf.ts';

const BLOCKED = -1e30; // finite, so that a row that may see nothing gives no NaN

export function attentionReference(
  q_BSHd: Tensor4D,
  k_BSGd: Tensor4D,
  v_BSGd: Tensor4D,
  querySegment_BS: Int32Array,
  keySegment_BS: Int32Array,
  window = Number.POSITIVE_INFINITY,
): Tensor4D {
  const [batch, queries, heads, d] = q_BSHd.shape;
  const [, keys, groups] = k_BSGd.shape;
  const ratio = heads / groups;
  const blocked = new Float32Array(batch * queries * keys);
  const seen = new Float32Array(batch * queries);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < queries; i++) {
      for (let j = 0; j < keys; j++) {
        const segment = querySegment_BS[b * queries + i];
        const back = keys - queries + i - j;
        const open = segment >= 0 && segment === keySegment_BS[b * keys + j] && back >= 0 && back < window;
        blocked[(b * queries + i) * keys + j] = open ? 0 : BLOCKED;
        if (open) seen[b * queries + i] = 1;
      }
    }
  }
  const q = tf.transpose(tf.reshape(q_BSHd, [batch, queries, groups, ratio, d]), [0, 2, 3, 1, 4]);
  const k = tf.transpose(k_BSGd, [0, 2, 1, 3]);
  const v = tf.transpose(v_BSGd, [0, 2, 1, 3]);
  const scores = tf.matMul(tf.reshape(q, [batch, groups, ratio * queries, d]), k, false, true);
  const scaled = tf.mul(tf.reshape(scores, [batch, groups * ratio, queries, keys]), 1 / Math.sqrt(d));
  const share = tf.softmax(tf.add(scaled, tf.tensor4d(blocked, [batch, 1, queries, keys])));
  const mixed = tf.matMul(tf.reshape(share, [batch, groups, ratio * queries, keys]), v);
  const out_BHSd = tf.mul(
    tf.reshape(mixed, [batch, heads, queries, d]),
    tf.tensor4d(seen, [batch, 1, queries, 1]),
  ) as Tensor4D;
  return tf.transpose(out_BHSd, [0, 2, 1, 3]);
}
