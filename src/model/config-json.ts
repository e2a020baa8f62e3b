// config.json of our checkpoints: Hugging Face keys where Hugging Face has them, plus the language map and the router.

import type { FamilyMap } from '../config/families.ts';
import type { ModelSettings } from '../config/schema.ts';
import type { Language } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { type DecoderSpec, type ModelSpec, qwen2Decoder } from './spec.ts';

export const MODEL_TYPE = 'language_family_moe';

/** Everything needed to rebuild the model and name its experts; the run's own settings stay in config.yaml. */
export function toConfigJson(spec: ModelSpec, map: FamilyMap, eosId: number): Record<string, unknown> {
  const { layers, numExperts, router, decoder, kept_experts, ...rest } = spec;
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
    ...decoder,
    num_experts: numExperts,
    ...(kept_experts && { kept_experts }),
    router,
    expert_names: map.expertNames,
    languages: map.languages,
  };
}

type Kind = 'number' | 'boolean' | 'object' | 'list' | 'number or null';

/** Keys of ModelSpec that config.json has under the same name. */
const SAME: Record<Exclude<keyof ModelSpec, 'layers' | 'numExperts' | 'decoder' | 'kept_experts'>, Kind> = {
  hidden_size: 'number',
  intermediate_size: 'number',
  num_hidden_layers: 'number',
  num_attention_heads: 'number',
  num_key_value_heads: 'number',
  rope_theta: 'number',
  rms_norm_eps: 'number',
  tie_word_embeddings: 'boolean',
  initializer_range: 'number',
  max_position_embeddings: 'number',
  num_experts_per_tok: 'number',
  norm_topk_prob: 'boolean',
  shared_expert: 'boolean',
  capacity_factor: 'number or null',
  vocab_size: 'number',
  router: 'object',
};
const OTHERS: Record<string, Kind> = {
  mlp_only_layers: 'list',
  num_experts: 'number',
  languages: 'list',
  expert_names: 'list',
};

/** The reverse. @throws UserError if the file describes another program's model, or a key is missing or of another kind */
export function fromConfigJson(
  json: Record<string, unknown> | null,
  file: string,
): { spec: ModelSpec; map: FamilyMap } {
  if (json?.model_type !== MODEL_TYPE)
    throw new UserError(
      `${file}: model_type is '${json?.model_type}', this version reads '${MODEL_TYPE}' only; give a checkpoint that moe wrote.`,
    );
  for (const [key, kind] of Object.entries({ ...SAME, ...OTHERS })) {
    if (key in json && isOf(kind, json[key])) continue;
    const found = key in json ? `is ${JSON.stringify(json[key])}, not a ${kind}` : 'is missing';
    throw new UserError(`${file}: the key '${key}' ${found}; the checkpoint is damaged, use another one.`);
  }
  const dense = new Set(json.mlp_only_layers as number[]);
  const spec = {
    ...Object.fromEntries(Object.keys(SAME).map(key => [key, json[key]])),
    numExperts: json.num_experts,
    layers: Array.from({ length: json.num_hidden_layers as number }, (_, i) => (dense.has(i) ? 'dense' : 'moe')),
    ...(json.kept_experts !== undefined && { kept_experts: keptExperts(json, file) }),
  } as Omit<ModelSpec, 'decoder'>;
  // Checkpoints of version 0.1 have none of these keys: they are all Qwen2's.
  const usual = qwen2Decoder(spec as unknown as ModelSettings);
  const decoder = Object.fromEntries(Object.entries(usual).map(([key, value]) => [key, json[key] ?? value]));
  const map = {
    languages: json.languages as Language[],
    numExperts: json.num_experts as number,
    expertNames: json.expert_names as string[],
  };
  return { spec: { ...spec, decoder: decoder as unknown as DecoderSpec }, map };
}

/** Of a pruned model. @throws UserError for a list that no pruning leaves */
function keptExperts(
  { kept_experts: lists, ...json }: Record<string, unknown>,
  file: string,
): ModelSpec['kept_experts'] {
  const [layers, E, k] = [json.num_hidden_layers, json.num_experts, json.num_experts_per_tok] as number[];
  const ascending = (list: unknown[]): boolean =>
    list.every((e, i) => Number.isInteger(e) && (e as number) < E && (e as number) > ((list[i - 1] as number) ?? -1));
  const right = (list: unknown): boolean =>
    list === null || (Array.isArray(list) && list.length >= k && ascending(list));
  if (Array.isArray(lists) && lists.length === layers && lists.every(right)) return lists;
  throw new UserError(
    `${file}: the key 'kept_experts' must have, for each of ${layers} layers, null or at least ${k} ascending experts below ${E}; the checkpoint is damaged, use another one.`,
  );
}

function isOf(kind: Kind, value: unknown): boolean {
  if (kind === 'list') return Array.isArray(value);
  if (kind === 'object') return typeof value === 'object' && value !== null;
  return kind === 'number or null' ? value === null || typeof value === 'number' : typeof value === kind;
}
