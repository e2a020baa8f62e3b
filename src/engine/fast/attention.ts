// Causal grouped-query attention on the C kernels, which never build the Sq × Sk scores of a head.
// Kernel MoeAttention: { q: [B, Sq, H, d], k, v: [B, Sk, G, d] }, segments -> out as q, statistics [B, Sq, H, 2] (each
// row's largest score and 1 / Σ e^(score − largest)). MoeAttentionGrad: those five and { gradient } -> dq, dk, dv.

import { registerFast } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';

export interface AttentionAttributes {
  querySegment_BS: Int32Array;
  keySegment_BS: Int32Array;
  /** Keys that a query sees back, its own included; at most 2³⁰, so that sums with positions stay integers. */
  window: number;
}

/** B, Sq, Sk, H, G, d, as the kernels want them. */
function sizesOf(q: TensorInfo, k: TensorInfo): number[] {
  const [batch, queries, heads, d] = q.shape;
  const [, keys, groups] = k.shape;
  return [batch, queries, keys, heads, groups, d];
}

registerFast<AttentionAttributes>('MoeAttention', (memory, { q, k, v }, attributes) => {
  const { querySegment_BS, keySegment_BS, window } = attributes;
  const [batch, queries, heads] = q.shape;
  const [out, statistics] = [memory.allocate(q.shape), memory.allocate([batch, queries, heads, 2])];
  const views = [q, k, v, out, statistics].map(memory.view, memory);
  memory.call('attention', ...views, querySegment_BS, keySegment_BS, ...sizesOf(q, k), window);
  return [out, statistics];
});

registerFast<AttentionAttributes>('MoeAttentionGrad', (memory, inputs, { querySegment_BS, keySegment_BS, window }) => {
  const { q, k, v, out, statistics, gradient } = inputs;
  const gradients = [q, k, v].map(tensor => memory.allocate(tensor.shape));
  const views = [q, k, v, out, statistics, gradient, ...gradients].map(memory.view, memory);
  memory.call('attention_gradient', ...views, querySegment_BS, keySegment_BS, ...sizesOf(q, k), window);
  return gradients;
});
