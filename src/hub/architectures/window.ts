// Sliding windows in a foreign config.json. A position of a windowed layer sees the last `sliding_window` positions, its own
// included; which layers are windowed says layer_types, or where it is absent a rule that each architecture has of its own.
import { booleanOf, countOf, type ForeignConfig, numberOf, refuse, sizeOf } from './settings.ts';

/** The same window in every layer (Mistral, Mixtral). @param usual where the file has no such key */
export function windowOfAll(config: ForeignConfig, usual: number | null): (number | null)[] {
  const window = 'sliding_window' in config.json ? config.json.sliding_window : usual;
  const size = window === null ? null : sizeOf(config, 'sliding_window', usual ?? undefined);
  return Array.from({ length: countOf(config, 'num_hidden_layers') }, () => size);
}

/** Qwen's windows, which use_sliding_window turns on. @param isWindowed the rule of files without layer_types */
export function windowsOf(config: ForeignConfig, isWindowed: (layer: number) => boolean): (number | null)[] {
  const layers = countOf(config, 'num_hidden_layers');
  const size = booleanOf(config, 'use_sliding_window', false) ? sizeOf(config, 'sliding_window', 4096) : null;
  const types = config.json.layer_types ?? null;
  if (types === null) return Array.from({ length: layers }, (_, i) => (isWindowed(i) ? size : null));
  if (!Array.isArray(types) || types.length !== layers)
    return refuse(config, 'layer_types', `one type for each of ${layers} layers is needed there`);
  return types.map(type => {
    if (type === 'full_attention') return null;
    if (type === 'sliding_attention' && size !== null) return size;
    return refuse(
      config,
      'layer_types',
      'this version knows full_attention, and sliding_attention with use_sliding_window',
    );
  });
}

/** Qwen's layer number at which windows begin or, in its mixtures, end. */
export const maxWindowLayers = (config: ForeignConfig): number => numberOf(config, 'max_window_layers', 28);
