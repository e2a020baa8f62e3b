// Pre-norm decoder in the manner of Qwen2, each layer dense or MoE (Post-MoE: dense early, sparse late):
//   x ← x + attention(RMSNorm(x));  x ← x + ffn(RMSNorm(x));  logits = head(RMSNorm(x)).
// Shapes: T tokens, D width, V vocabulary.

import { ffn } from '../../experts/ffn.ts';
import { pooledBalanceLoss } from '../../routing/balance.ts';
import { checkpointed } from '../engine/ops/checkpointed.ts';
import { embedding } from '../engine/ops/embedding.ts';
import { linear } from '../engine/ops/linear.ts';
import { rmsNorm } from '../engine/ops/rms-norm.ts';
import { type Scalar, type Tensor, type Tensor1D, type Tensor2D, tf } from '../engine/tf.ts';
import { selfAttention } from './attention.ts';
import type { ForwardOptions, LayerWeights } from './forward-options.ts';
import type { LayerCache } from './kv-cache.ts';
import { moeBlock } from './moe-block.ts';
import { expertsIn } from './spec.ts';
import type { TokenInput } from './token-input.ts';
import type { Model } from './weights.ts';

export interface ForwardResult {
  logits_TV: Tensor2D;
  /** Sum of the auxiliary losses, already multiplied by their coefficients; null for a dense model. */
  auxiliary: Scalar | null;
}

/** Logits of the next token at every position. */
export function forward(model: Model, tokens: TokenInput, options: ForwardOptions): ForwardResult {
  const { spec, weights } = model;
  const table = weights.get('model.embed_tokens.weight') as unknown as Tensor2D;
  let x_TD: Tensor2D = embedding(table, tokens.id_T);
  const auxiliaries: Scalar[] = [];
  const probabilities: Tensor2D[] = [];
  spec.layers.forEach((_, layer) => {
    const out = runLayer(model, layer, x_TD, tokens, options);
    x_TD = out.x_TD;
    if (out.auxiliary) auxiliaries.push(out.auxiliary);
    if (out.probabilities_TE) probabilities.push(out.probabilities_TE);
  });
  const { balance_coefficient, balance_scope } = spec.router;
  if (balance_coefficient > 0 && balance_scope === 'pooled' && probabilities.length > 0)
    auxiliaries.push(
      tf.mul(pooledBalanceLoss(probabilities, tokens.counted_T, spec.num_experts_per_tok), balance_coefficient),
    );
  x_TD = rmsNorm(x_TD, weights.get('model.norm.weight') as unknown as Tensor1D, spec.rms_norm_eps);
  const head = spec.tie_word_embeddings ? table : (weights.get('lm_head.weight') as unknown as Tensor2D);
  return { logits_TV: linear(x_TD, head), auxiliary: auxiliaries.length > 0 ? tf.addN(auxiliaries) : null };
}

export interface LayerResult {
  x_TD: Tensor2D;
  auxiliary: Scalar | null;
  probabilities_TE?: Tensor2D;
}

function runLayer(
  model: Model,
  layer: number,
  x_TD: Tensor2D,
  tokens: TokenInput,
  options: ForwardOptions,
): LayerResult {
  const prefix = `model.layers.${layer}.`;
  const cache = options.cache?.layers[layer];
  if (!options.checkpointing)
    return block(model, layer, x_TD, name => model.weights.get(prefix + name)!, tokens, options, cache);
  const names = [...model.weights.keys()].filter(name => name.startsWith(prefix));
  const inputs = [x_TD, ...names.map(name => model.weights.get(name)!)];
  let told = options;
  const run = (x: Tensor, tensors: Tensor[]): LayerResult => {
    const own = new Map(names.map((name, i) => [name.slice(prefix.length), tensors[i]]));
    const out = block(model, layer, x as Tensor2D, name => own.get(name)!, tokens, told);
    told = { ...options, onRouting: undefined, onFfnInput: undefined }; // the backward pass runs the layer again
    return out;
  };
  if (model.spec.layers[layer] === 'dense')
    return { x_TD: checkpointed((x, ...own) => run(x, own).x_TD, inputs), auxiliary: null };
  // One tensor comes out of a checkpointed function, so what the losses need rides along behind the hidden states.
  const [T, D] = x_TD.shape;
  const E = expertsIn(model.spec, layer);
  const packed = checkpointed((x, ...own) => {
    const { x_TD: y_TD, auxiliary, probabilities_TE } = run(x, own);
    return tf.concat([y_TD.flatten(), probabilities_TE!.flatten(), (auxiliary ?? tf.scalar(0)).flatten()]);
  }, inputs);
  return {
    x_TD: packed.slice(0, T * D).reshape([T, D]),
    probabilities_TE: packed.slice(T * D, T * E).reshape([T, E]),
    auxiliary: packed.slice(T * (D + E), 1).asScalar(),
  };
}

/** One layer on weights that are given by name. */
export function block(
  model: Pick<Model, 'spec' | 'selectionBias'>,
  layer: number,
  x_TD: Tensor2D,
  weight: LayerWeights,
  tokens: TokenInput,
  options: ForwardOptions,
  cache?: LayerCache,
): LayerResult {
  const { spec } = model;
  const norm = (x: Tensor2D, name: string): Tensor2D => rmsNorm(x, weight(name) as Tensor1D, spec.rms_norm_eps);
  const mixed_TD = tf.add(
    x_TD,
    selfAttention(norm(x_TD, 'input_layernorm.weight'), weight, spec, tokens, spec.decoder.window_L[layer], cache),
  ) as Tensor2D;
  const normed_TD = norm(mixed_TD, 'post_attention_layernorm.weight');
  options.onFfnInput?.(layer, normed_TD);
  if (spec.layers[layer] === 'dense') {
    const dense = {
      gate_proj: weight('mlp.gate_proj.weight') as Tensor2D,
      up_proj: weight('mlp.up_proj.weight') as Tensor2D,
      down_proj: weight('mlp.down_proj.weight') as Tensor2D,
    };
    return { x_TD: tf.add(mixed_TD, ffn(normed_TD, dense)) as Tensor2D, auxiliary: null };
  }
  const { y_TD, ...rest } = moeBlock(model, layer, normed_TD, weight, tokens, options);
  return { x_TD: tf.add(mixed_TD, y_TD) as Tensor2D, ...rest };
}
