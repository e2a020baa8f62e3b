// Grouped-query attention (Ainslie et al. 2023): softmax(q kᵀ / √d) v per head, causal inside equal segments.
// B sequences, Sq queries, Sk keys, H query heads, G key heads (H a multiple of G), d channels per head.
import type { AttentionAttributes } from '../fast/attention.ts';
import '../fast/attention.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { attentionReference } from '../reference/attention.ts';
import { checkShape } from '../shape.ts';
import type { Tensor4D } from '../tf.ts';
import { tf } from '../tf.ts';

/** A window that no text is longer than. */
const ALL = 2 ** 30;

/** Query i sits at key position Sk − Sq + i, which serves training (Sq = Sk) and a key-value cache (Sq < Sk) alike.
 *  It sees the keys of its own segment up to that position, the last `window` of them. Segment −1 is padding: output 0,
 *  never seen. */
export function attention(
  q_BSHd: Tensor4D,
  k_BSGd: Tensor4D,
  v_BSGd: Tensor4D,
  querySegment_BS: Int32Array,
  keySegment_BS: Int32Array,
  window = ALL,
): Tensor4D {
  const [batch, queries, heads, d] = q_BSHd.shape;
  const [, keys, groups] = k_BSGd.shape;
  checkShape('attention: k', k_BSGd.shape, [batch, keys, groups, d]);
  checkShape('attention: v', v_BSGd.shape, k_BSGd.shape);
  checkShape('attention: query segments', [querySegment_BS.length], [batch * queries]);
  checkShape('attention: key segments', [keySegment_BS.length], [batch * keys]);
  if (heads % groups !== 0) throw new Error(`attention: ${heads} query heads do not divide over ${groups} key heads`);
  if (!hasKernel('MoeAttention'))
    return tf.tidy(() => attentionReference(q_BSHd, k_BSGd, v_BSGd, querySegment_BS, keySegment_BS, window));
  const attributes: AttentionAttributes = { querySegment_BS, keySegment_BS, window };
  return withGradient(
    [q_BSHd, k_BSGd, v_BSGd],
    () => {
      const [out, statistics] = runKernel('MoeAttention', { q: q_BSHd, k: k_BSGd, v: v_BSGd }, attributes);
      return { value: out as Tensor4D, saved: [q_BSHd, k_BSGd, v_BSGd, out, statistics] };
    },
    (gradient, [q, k, v, out, statistics]) =>
      runKernel('MoeAttentionGrad', { q, k, v, out, statistics, gradient }, attributes),
  );
}
