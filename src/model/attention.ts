// Grouped-query self-attention with q/k/v biases and half-rotation RoPE, as in Qwen2. Causal inside equal segments.
// Shapes: B sequences, S positions, T = B·S tokens, D width, H query heads, G key/value heads, d head width.
import { attention } from '../engine/ops/attention.ts';
import { linear } from '../engine/ops/linear.ts';
import { rope } from '../engine/ops/rope.ts';
import { type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D, tf } from '../engine/tf.ts';
import type { LayerWeights } from './forward-options.ts';
import type { LayerCache } from './kv-cache.ts';
import type { ModelSpec } from './spec.ts';
import type { TokenInput } from './token-input.ts';

/** @returns [T, D], before the residual is added. With a cache, keys and values of earlier calls are seen too. */
export function selfAttention(
  x_TD: Tensor2D,
  weight: LayerWeights,
  spec: ModelSpec,
  tokens: TokenInput,
  cache?: LayerCache,
): Tensor2D {
  const { batch: B, sequence: S } = tokens;
  const d = spec.hidden_size / spec.num_attention_heads;
  const project = (name: string): Tensor3D => {
    const w = weight(`self_attn.${name}_proj.weight`) as Tensor2D;
    const flat = linear(x_TD, w, weight(`self_attn.${name}_proj.bias`) as Tensor1D);
    return flat.reshape([B * S, w.shape[0] / d, d]);
  };
  const split = (x_THd: Tensor3D): Tensor4D => x_THd.reshape([B, S, x_THd.shape[1], d]);
  const q_BSHd = split(rope(project('q'), tokens.position_T, spec.rope_theta));
  let k_BSGd = split(rope(project('k'), tokens.position_T, spec.rope_theta));
  let v_BSGd = split(project('v'));
  let keySegment_BS = tokens.segment_T;
  if (cache) [k_BSGd, v_BSGd, keySegment_BS] = cache.append(k_BSGd, v_BSGd, tokens.segment_T);
  const mixed = attention(q_BSHd, k_BSGd, v_BSGd, tokens.segment_T, keySegment_BS);
  return linear(tf.reshape(mixed, [B * S, spec.hidden_size]), weight('self_attn.o_proj.weight') as Tensor2D);
}
