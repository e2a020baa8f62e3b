// Grouped-query self-attention with half-rotation RoPE, causal inside equal segments; biases, norms of queries and keys and
// windows as the decoder has them (Qwen2: biases of q, k and v, nothing else).
// Shapes: B sequences, S positions, T = B·S tokens, D width, H query heads, G key/value heads, d head width.
import { attention } from '../engine/ops/attention.ts';
import { linear } from '../engine/ops/linear.ts';
import { rmsNorm } from '../engine/ops/rms-norm.ts';
import { rope } from '../engine/ops/rope.ts';
import { type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D, tf } from '../engine/tf.ts';
import type { LayerWeights } from './forward-options.ts';
import type { LayerCache } from './kv-cache.ts';
import { ropeFrequencies } from './rope-frequencies.ts';
import type { ModelSpec } from './spec.ts';
import type { TokenInput } from './token-input.ts';

/** @returns [T, D], before the residual is added. `window`: how many positions are seen back, null for all.
 *  With a cache, keys and values of earlier calls are seen too. */
export function selfAttention(
  x_TD: Tensor2D,
  weight: LayerWeights,
  spec: ModelSpec,
  tokens: TokenInput,
  window: number | null,
  cache?: LayerCache,
): Tensor2D {
  const { batch: B, sequence: S } = tokens;
  const { head_dim: d, qkv_bias, o_bias, qk_norm, clip_qkv } = spec.decoder;
  const projected = (name: string, bias: boolean, from: Tensor2D): Tensor2D => {
    const b = bias ? (weight(`self_attn.${name}_proj.bias`) as Tensor1D) : undefined;
    return linear(from, weight(`self_attn.${name}_proj.weight`) as Tensor2D, b);
  };
  const project = (name: 'q' | 'k' | 'v'): Tensor3D => {
    const flat = projected(name, qkv_bias, x_TD);
    const heads = flat.shape[1] / d;
    const norm = (x: Tensor2D) => rmsNorm(x, weight(`self_attn.${name}_norm.weight`) as Tensor1D, spec.rms_norm_eps);
    let x: Tensor2D = flat;
    if (qk_norm === 'width' && name !== 'v') x = norm(x);
    if (clip_qkv !== null) x = tf.clipByValue(x, -clip_qkv, clip_qkv) as Tensor2D;
    if (qk_norm === 'head' && name !== 'v') x = norm(x.reshape([B * S * heads, d]));
    return x.reshape([B * S, heads, d]);
  };
  const split = (x_THd: Tensor3D): Tensor4D => x_THd.reshape([B, S, x_THd.shape[1], d]);
  const frequency_h = ropeFrequencies(spec);
  const q_BSHd = split(rope(project('q'), tokens.position_T, frequency_h));
  let k_BSGd = split(rope(project('k'), tokens.position_T, frequency_h));
  let v_BSGd = split(project('v'));
  let keySegment_BS = tokens.segment_T;
  if (cache) [k_BSGd, v_BSGd, keySegment_BS] = cache.append(k_BSGd, v_BSGd, tokens.segment_T);
  const mixed = attention(q_BSHd, k_BSGd, v_BSGd, tokens.segment_T, keySegment_BS, window ?? undefined);
  return projected('o', o_bias, tf.reshape(mixed, [B * S, spec.num_attention_heads * d]));
}
