// Rotary positions in a foreign config.json: version 5 of transformers writes rope_parameters { rope_type, rope_theta, … },
// version 4 rope_theta and rope_scaling { rope_type or type, … } or null.
import type { RopeScaling } from '../../model/spec.ts';
import { type ForeignConfig, numberOf, refuse, sizeOf } from './settings.ts';

export interface Rotary {
  rope_theta: number;
  rope_scaling: RopeScaling | null;
}

/** @param usualTheta what the library takes when the file names none. @throws UserError for another kind of stretching */
export function rotaryOf(config: ForeignConfig, usualTheta: number): Rotary {
  const { json } = config;
  const at = (json.rope_scaling ?? null) !== null ? 'rope_scaling' : 'rope_parameters';
  const given = json[at] ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) refuse(config, at, 'an object is needed there');
  const theta = numberOf(config, 'rope_theta', usualTheta);
  const parameters = given as Record<string, unknown>;
  const partial = parameters.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (partial !== 1) refuse(config, at, 'this version turns whole heads only (partial_rotary_factor 1)');
  const inner: ForeignConfig = { json: parameters, file: `${config.file}, ${at}` };
  return { rope_theta: numberOf(inner, 'rope_theta', theta), rope_scaling: scalingOf(config, at, inner) };
}

function scalingOf(config: ForeignConfig, at: string, inner: ForeignConfig): RopeScaling | null {
  const { json } = inner;
  const kind = json.rope_type ?? json.type ?? 'default';
  if (kind === 'default' && !('full_attention' in json)) return null;
  if (kind === 'linear') {
    const positions = sizeOf(config, 'max_position_embeddings');
    const unused = { low_freq_factor: 1, high_freq_factor: 1, original_max_position_embeddings: positions };
    return { rope_type: 'linear', factor: numberOf(inner, 'factor'), ...unused };
  }
  if (kind !== 'llama3')
    return refuse(config, at, 'this version knows the types default, linear and llama3, the same for all layers');
  return {
    rope_type: 'llama3',
    factor: numberOf(inner, 'factor'),
    low_freq_factor: numberOf(inner, 'low_freq_factor'),
    high_freq_factor: numberOf(inner, 'high_freq_factor'),
    original_max_position_embeddings: sizeOf(inner, 'original_max_position_embeddings'),
  };
}
