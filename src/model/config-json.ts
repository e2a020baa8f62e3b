// config.json of our checkpoints: Hugging Face keys where Hugging Face has them, plus the language map and the router.

import { readFileSync } from 'node:fs';
import type { FamilyMap } from '../config/families.ts';
import type { Language } from '../data/types.ts';
import { UserError } from '../errors.ts';
import type { ModelSpec } from './spec.ts';

export const MODEL_TYPE = 'language_family_moe';

/** Everything needed to rebuild the model and name its experts; the run's own settings stay in config.yaml. */
export function toConfigJson(spec: ModelSpec, map: FamilyMap, eosId: number): Record<string, unknown> {
  const { layers, numExperts, router, ...rest } = spec;
  return {
    architectures: ['LanguageFamilyMoeForCausalLM'],
    model_type: MODEL_TYPE,
    hidden_act: 'silu',
    torch_dtype: 'float32',
    ...rest,
    bos_token_id: eosId,
    eos_token_id: eosId,
    pad_token_id: eosId,
    decoder_sparse_step: 1,
    mlp_only_layers: layers.flatMap((kind, i) => (kind === 'dense' ? [i] : [])),
    moe_intermediate_size: spec.intermediate_size,
    num_experts: numExperts,
    router,
    expert_names: map.expertNames,
    languages: map.languages,
  };
}

/** The reverse. @throws UserError if the file describes another program's model */
export function fromConfigJson(
  json: Record<string, unknown> | null,
  file: string,
): { spec: ModelSpec; map: FamilyMap } {
  if (json?.model_type !== MODEL_TYPE)
    throw new UserError(
      `${file}: model_type is '${json?.model_type}', this version reads '${MODEL_TYPE}' only; give a checkpoint that moe wrote.`,
    );
  const numLayers = json.num_hidden_layers as number;
  const dense = new Set(json.mlp_only_layers as number[]);
  const keys = [
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'num_key_value_heads',
    'rope_theta',
    'rms_norm_eps',
    'tie_word_embeddings',
    'initializer_range',
    'max_position_embeddings',
    'num_experts_per_tok',
    'norm_topk_prob',
    'shared_expert',
    'capacity_factor',
    'vocab_size',
    'router',
  ] as const;
  for (const key of [...keys, 'mlp_only_layers', 'num_experts', 'languages', 'expert_names'])
    if (!(key in json))
      throw new UserError(`${file}: the key '${key}' is missing; the checkpoint is damaged, use another one.`);
  const picked = Object.fromEntries(keys.map(key => [key, json[key]]));
  const spec = {
    ...picked,
    numExperts: json.num_experts,
    layers: Array.from({ length: numLayers }, (_, i) => (dense.has(i) ? 'dense' : 'moe')),
  } as unknown as ModelSpec;
  const map = {
    languages: json.languages as Language[],
    numExperts: json.num_experts as number,
    expertNames: json.expert_names as string[],
  };
  return { spec, map };
}

/** Reads and checks a config.json. @throws UserError when it is missing, not JSON, or another program's */
export function readConfigJson(path: string): { spec: ModelSpec; map: FamilyMap } {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing' : 'is not valid JSON';
    throw new UserError(`${path} ${why}; name a checkpoint folder that moe wrote.`);
  }
  return fromConfigJson(json, path);
}
