// Which layers are dense and which are MoE: "dense early, sparse late" (Post-MoE) as data.

export type LayerKind = 'dense' | 'moe';
export type MoeLayers = `last ${number}` | 'all' | 'none' | number[];

/**
 * @param moeLayers `last N`, `all`, `none` or layer numbers from 0
 * @returns one kind per layer, or what is wrong with the request
 */
export function planLayers(moeLayers: MoeLayers, numLayers: number): LayerKind[] | { error: string } {
  const chosen = new Set(layerNumbers(moeLayers, numLayers));
  for (const layer of chosen)
    if (!Number.isInteger(layer) || layer < 0 || layer >= numLayers)
      return {
        error: `moe_layers ${JSON.stringify(moeLayers)} asks for layer ${layer}, but the model has layers 0 to ${numLayers - 1}; choose among them.`,
      };
  return Array.from({ length: numLayers }, (_, layer) => (chosen.has(layer) ? 'moe' : 'dense'));
}

function layerNumbers(moeLayers: MoeLayers, numLayers: number): number[] {
  if (moeLayers === 'none') return [];
  if (moeLayers === 'all') return Array.from({ length: numLayers }, (_, layer) => layer);
  if (Array.isArray(moeLayers)) return moeLayers;
  const count = Number(moeLayers.slice('last '.length));
  // A negative count asks for layers beyond the last one, which planLayers refuses.
  return Array.from({ length: Math.abs(count) }, (_, i) => numLayers - count + i);
}
