// Rotary frequencies of a decoder, stretched for long texts as its configuration says.
//   f_i = θ^(−2i/d);   linear: f / factor;   llama3 (Llama 3.1): wavelengths 2π / f beyond L / low are stretched by the factor,
//   those below L / high are kept, and between them the share of what is kept grows linearly in L / wavelength.
import { rotaryFrequencies } from '../engine/ops/rope.ts';
import type { ModelSpec } from './spec.ts';

/** Radians per position of each of the d/2 pairs of channels. */
export function ropeFrequencies({ rope_theta, decoder }: Pick<ModelSpec, 'rope_theta' | 'decoder'>): Float64Array {
  const frequency_h = rotaryFrequencies(rope_theta, decoder.head_dim / 2);
  const scaling = decoder.rope_scaling;
  if (scaling === null) return frequency_h;
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: L } = scaling;
  if (scaling.rope_type === 'linear') return frequency_h.map(f => f / factor);
  return frequency_h.map(f => {
    const turns = (L * f) / (2 * Math.PI); // in the original length
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return kept * f + ((1 - kept) * f) / factor;
  });
}
