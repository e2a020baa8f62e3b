// What a schema cannot say: settings that must fit each other.
import { MODES } from '../../routing/types.ts';
import { UserError } from '../errors.ts';
import type { FamilyMap, Locate } from './families.ts';
import { planLayers } from './layer-plan.ts';
import type { Config } from './schema.ts';

/** @throws UserError with file, line, value and mend */
export function checkConfig(config: Config, map: FamilyMap, locate: Locate): void {
  const { model, router } = config;
  const refuse = (path: string[], why: string): never => {
    throw new UserError(`${locate(path)}: ${why}`);
  };
  if (model.num_experts_per_tok > map.numExperts)
    refuse(
      ['model', 'num_experts_per_tok'],
      `num_experts_per_tok ${model.num_experts_per_tok} is more than the ${map.numExperts} experts of '${config.families.name}'; choose at most ${map.numExperts}.`,
    );
  if (model.hidden_size % model.num_attention_heads !== 0 || (model.hidden_size / model.num_attention_heads) % 2 !== 0)
    refuse(
      ['model', 'hidden_size'],
      `hidden_size ${model.hidden_size} does not split into ${model.num_attention_heads} heads of even width; use a multiple of ${2 * model.num_attention_heads}.`,
    );
  if (model.num_attention_heads % model.num_key_value_heads !== 0)
    refuse(
      ['model', 'num_key_value_heads'],
      `num_key_value_heads ${model.num_key_value_heads} does not divide num_attention_heads ${model.num_attention_heads}; choose a divisor.`,
    );
  if (config.data.sequence_length > model.max_position_embeddings)
    refuse(
      ['data', 'sequence_length'],
      `sequence_length ${config.data.sequence_length} is more than max_position_embeddings ${model.max_position_embeddings}; lower it or raise the limit.`,
    );
  if (Array.isArray(router.init_bias) && router.init_bias.length !== model.num_hidden_layers)
    refuse(
      ['router', 'init_bias'],
      `init_bias has ${router.init_bias.length} numbers for ${model.num_hidden_layers} layers; give one for each, or a single one for all.`,
    );
  const layers = planLayers(model.moe_layers, model.num_hidden_layers);
  if ('error' in layers) refuse(['model', 'moe_layers'], layers.error);
  if (router.kind === 'language' && model.num_experts_per_tok !== 1)
    refuse(
      ['model', 'num_experts_per_tok'],
      `the language router sends each token to one expert; set num_experts_per_tok to 1.`,
    );
  const gated = router.kind === 'top-k' || router.kind === 'hybrid-k';
  if (gated && model.num_experts_per_tok === 1 && model.norm_topk_prob && model.moe_layers !== 'none')
    refuse(
      ['model', 'norm_topk_prob'],
      'with one expert per token a renormalised gate is always 1 and the router learns nothing; set norm_topk_prob to false.',
    );
  for (const key of ['train_mode', 'inference_mode'] as const)
    if (!MODES[router.kind].includes(router[key]))
      refuse(
        ['router', key],
        `router ${router.kind} cannot be ${router[key]}; set ${key} to ${MODES[router.kind].join(' or ')}, or use kind hybrid-k.`,
      );
}
