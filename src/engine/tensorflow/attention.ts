// Causal grouped-query attention for TensorFlow, which keeps the softmax for the gradient: P = softmax(q kᵀ / √d), out = P v.
// dv = Pᵀ dout; dP = dout vᵀ; dS = P ⊙ dP − P Σ_keys P ⊙ dP; dq = dS k / √d; dk = dSᵀ q / √d.
// The R = H / G query heads of a key head are rows of one product: [B, G, R · Sq, d]. Kernels as in fast/attention.ts, with
// P [B, G, R · Sq, Sk] in the place of the statistics.

import type { AttentionAttributes } from '../fast/attention.ts';
import { type Tensor, type Tensor4D, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';

const BLOCKED = -1e30; // finite, so that a row that may see nothing gives no NaN

registerTensorflow<AttentionAttributes>('MoeAttention', ({ q, k, v }, segments) => {
  const [batch, queries, heads, d] = q.shape;
  const [, keys, groups] = k.shape;
  const rows = (heads / groups) * queries;
  const scores = tf.matMul(tf.mul(foldHeads(q, groups), 1 / Math.sqrt(d)), headsFirst(k), false, true);
  const barred = tf.add(tf.reshape(scores, [batch, heads, queries, keys]), barrier(segments, batch, queries, keys));
  const share = tf.softmax(tf.reshape(barred, [batch, groups, rows, keys]));
  const out = unfoldHeads(tf.matMul(share, headsFirst(v)), q.shape);
  return [whereSeeing(out, segments, keys), share];
});

registerTensorflow<AttentionAttributes>('MoeAttentionGrad', ({ q, k, v, statistics: share, gradient }, segments) => {
  const [, , , d] = q.shape;
  const [, keys, groups] = k.shape;
  const [query, key, value] = [foldHeads(q, groups), headsFirst(k), headsFirst(v)];
  const dOut = foldHeads(whereSeeing(gradient, segments, keys), groups);
  const weighted = tf.mul(share, tf.matMul(dOut, value, false, true));
  const dShared = tf.sub(weighted, tf.mul(share, tf.sum(weighted, 3, true)));
  const dScores = tf.mul(dShared, 1 / Math.sqrt(d));
  return [
    unfoldHeads(tf.matMul(dScores, key), q.shape),
    headsFirst(tf.matMul(dScores, query, true, false)),
    headsFirst(tf.matMul(share, dOut, true, false)),
  ];
});

/** [B, S, H, d] ↔ [B, H, S, d]. */
const headsFirst = (x: Tensor): Tensor4D => tf.transpose(x as Tensor4D, [0, 2, 1, 3]);

/** [B, S, H, d] → [B, G, R · S, d]. */
function foldHeads(x: Tensor, groups: number): Tensor4D {
  const [batch, queries, heads, d] = x.shape;
  return tf.reshape(headsFirst(x), [batch, groups, (heads / groups) * queries, d]);
}

/** [B, G, R · S, d] → `shape`, [B, S, H, d]. */
const unfoldHeads = (x: Tensor, [batch, queries, heads, d]: number[]): Tensor4D =>
  headsFirst(tf.reshape(x, [batch, heads, queries, d]));

/** [B, 1, Sq, Sk]: 0 where query i may see key j, of its own segment, not after it and in the window, else very low. */
function barrier(
  { querySegment_BS, keySegment_BS, window }: AttentionAttributes,
  batch: number,
  queries: number,
  keys: number,
) {
  const query = tf.tensor4d(querySegment_BS, [batch, 1, queries, 1], 'int32');
  const key = tf.tensor4d(keySegment_BS, [batch, 1, 1, keys], 'int32');
  const place = tf.reshape(tf.range(keys - queries, keys, 1, 'int32'), [queries, 1]);
  const back = tf.sub(place, tf.range(0, keys, 1, 'int32'));
  const reached = tf.logicalAnd(tf.greaterEqual(back, 0), tf.less(back, window));
  const shut = tf.logicalNot(tf.logicalAnd(tf.equal(query, key), reached));
  return tf.mul(tf.cast(shut, 'float32'), BLOCKED);
}

/** x [B, Sq, H, d] with zeros for queries that see no key: those of padding, and those of a segment that has no key in reach. */
function whereSeeing(x: Tensor, { querySegment_BS, keySegment_BS, window }: AttentionAttributes, keys: number): Tensor {
  const [batch, queries] = x.shape;
  const blind = querySegment_BS.map((segment, n) => {
    const b = Math.floor(n / queries);
    const end = Math.max(0, keys - queries + (n % queries) + 1);
    const reach = keySegment_BS.subarray(b * keys + Math.max(0, end - window), b * keys + end);
    return Number(segment < 0 || reach.lastIndexOf(segment) < 0);
  });
  if (!blind.includes(1)) return x;
  const sees = tf.tensor4d(
    Float32Array.from(blind, none => 1 - none),
    [batch, queries, 1, 1],
  );
  return tf.mul(x, sees);
}
