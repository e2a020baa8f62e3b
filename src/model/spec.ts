// A model's shape: everything its forward pass needs to know, and the tensors it has, by Hugging Face name.
// Shapes: V vocabulary, D width, F expert width, H query heads, G key/value heads, d head width, E experts.
import type { FamilyMap } from '../config/families.ts';
import { type LayerKind, planLayers } from '../config/layer-plan.ts';
import type { ModelSettings, RouterSettings } from '../config/schema.ts';

export interface ModelSpec extends Omit<ModelSettings, 'moe_layers' | 'vocab_size'> {
  vocab_size: number;
  layers: LayerKind[];
  numExperts: number;
  router: RouterSettings;
}

export interface TensorSpec {
  name: string;
  shape: number[];
  role: 'embedding' | 'norm' | 'matrix' | 'bias' | 'router' | 'expert' | 'shared';
}

/** @param dense plan every layer dense: the model before it is upcycled */
export function modelSpec(
  settings: ModelSettings,
  router: RouterSettings,
  map: Pick<FamilyMap, 'numExperts'>,
  vocabSize: number,
  dense = false,
): ModelSpec {
  const { moe_layers, vocab_size: _, ...rest } = settings;
  const layers = planLayers(dense ? 'none' : moe_layers, settings.num_hidden_layers);
  if ('error' in layers) throw new RangeError(layers.error);
  return { ...rest, router, layers, numExperts: map.numExperts, vocab_size: vocabSize };
}

/** Every trainable tensor in the order of the checkpoint. */
export function tensorSpecs(spec: ModelSpec): TensorSpec[] {
  const { hidden_size: D, vocab_size: V } = spec;
  const headWidth = D / spec.num_attention_heads;
  const kv = spec.num_key_value_heads * headWidth;
  const out: TensorSpec[] = [{ name: 'model.embed_tokens.weight', shape: [V, D], role: 'embedding' }];
  spec.layers.forEach((kind, i) => {
    const at = `model.layers.${i}`;
    out.push({ name: `${at}.input_layernorm.weight`, shape: [D], role: 'norm' });
    for (const [name, width] of [
      ['q', D],
      ['k', kv],
      ['v', kv],
    ] as const) {
      out.push({ name: `${at}.self_attn.${name}_proj.weight`, shape: [width, D], role: 'matrix' });
      out.push({ name: `${at}.self_attn.${name}_proj.bias`, shape: [width], role: 'bias' });
    }
    out.push({ name: `${at}.self_attn.o_proj.weight`, shape: [D, D], role: 'matrix' });
    out.push({ name: `${at}.post_attention_layernorm.weight`, shape: [D], role: 'norm' });
    if (kind === 'dense') out.push(...ffnSpecs(`${at}.mlp`, spec, 'matrix'));
    else out.push(...moeSpecs(`${at}.mlp`, spec));
  });
  out.push({ name: 'model.norm.weight', shape: [D], role: 'norm' });
  if (!spec.tie_word_embeddings) out.push({ name: 'lm_head.weight', shape: [V, D], role: 'embedding' });
  return out;
}

function moeSpecs(at: string, spec: ModelSpec): TensorSpec[] {
  const { hidden_size: D, numExperts: E } = spec;
  const out: TensorSpec[] = [{ name: `${at}.gate.weight`, shape: [E, D], role: 'router' }];
  for (let e = 0; e < E; e++) out.push(...ffnSpecs(`${at}.experts.${e}`, spec, 'expert'));
  if (spec.shared_expert) {
    out.push(...ffnSpecs(`${at}.shared_expert`, spec, 'shared'));
    out.push({ name: `${at}.shared_expert_gate.weight`, shape: [1, D], role: 'router' });
  }
  return out;
}

function ffnSpecs(at: string, spec: ModelSpec, role: TensorSpec['role']): TensorSpec[] {
  const { hidden_size: D, intermediate_size: F } = spec;
  return [
    { name: `${at}.gate_proj.weight`, shape: [F, D], role },
    { name: `${at}.up_proj.weight`, shape: [F, D], role },
    { name: `${at}.down_proj.weight`, shape: [D, F], role },
  ];
}
