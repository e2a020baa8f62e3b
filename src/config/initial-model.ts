// A run that starts from a checkpoint has the checkpoint's model: a setting of its shape that says otherwise is refused, since
// the same weights under another rope_theta, say, are another model without anybody noticing.
import { UserError } from '../errors.ts';
import type { ModelSpec } from '../model/spec.ts';
import type { Locate } from './families.ts';
import { planLayers } from './layer-plan.ts';
import type { ModelSettings } from './schema.ts';

/** What the weights of any checkpoint were trained under. */
const SHAPE = [
  ...(['hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'num_key_value_heads'] as const),
  ...(['rope_theta', 'rms_norm_eps', 'tie_word_embeddings', 'max_position_embeddings'] as const),
];
/** Settings of a checkpoint's experts that training may change on purpose, and only then. */
const FREE = ['num_experts_per_tok', 'norm_topk_prob', 'capacity_factor'] as const;

/** The checkpoint's settings in place of the configuration's defaults.
 *  @param settings checked, defaults filled in @param named keys that the user wrote
 *  @throws UserError naming where a setting of the shape was written that differs from the checkpoint's */
export function settingsOfInitial(
  settings: ModelSettings,
  named: ReadonlySet<string>,
  spec: ModelSpec,
  init: string,
  locate: Locate,
): ModelSettings {
  const sparse = spec.layers.includes('moe');
  const shape = sparse ? [...SHAPE, 'shared_expert' as const] : SHAPE;
  const refuse = (key: string, has: unknown): never => {
    throw new UserError(
      `${locate(['model', key])}: model.${key} is ${JSON.stringify(settings[key as keyof ModelSettings])}, but the model that the run starts from, ${init}, has ${JSON.stringify(has)}; leave ${key} out.`,
    );
  };
  for (const key of shape) if (named.has(key) && settings[key] !== spec[key]) refuse(key, spec[key]);
  const own = (keys: readonly (keyof ModelSettings & keyof ModelSpec)[]): Partial<ModelSettings> =>
    Object.fromEntries(keys.map(key => [key, spec[key]]));
  const dense = { ...settings, ...own(shape) };
  if (!sparse) return dense;
  const layers = spec.layers.flatMap((kind, i) => (kind === 'moe' ? [i] : []));
  const planned = planLayers(settings.moe_layers, spec.layers.length);
  const same = !('error' in planned) && planned.join() === spec.layers.join();
  if (named.has('moe_layers') && !same) refuse('moe_layers', layers);
  const moe_layers = same ? settings.moe_layers : layers;
  return { ...dense, ...own(FREE.filter(key => !named.has(key))), moe_layers };
}
