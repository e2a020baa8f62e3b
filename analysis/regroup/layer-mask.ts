// Which layers DMoE gives experts (arXiv 2506.12388): those whose networks move most when each language is tuned alone. Deviation
// of a layer: mean over languages of ‖Δθ‖ of its network; scaled to 0…1 by least and most; chosen at ε or more.
// As a number the choice is Σ 2^layer: layers 21–23 are 14680064.

/** @param deviation_GL by language, ‖Δθ‖ of each layer @returns layers, ascending; none where all deviate alike */
export function layersToExpand(deviation_GL: readonly ArrayLike<number>[], epsilon: number): number[] {
  const mean_L = Array.from(
    deviation_GL[0],
    (_, l) => deviation_GL.reduce((sum, row) => sum + row[l], 0) / deviation_GL.length,
  );
  const [low, high] = [Math.min(...mean_L), Math.max(...mean_L)];
  return mean_L.flatMap((value, layer) => (high > low && (value - low) / (high - low) >= epsilon ? [layer] : []));
}

/** Exact up to 53 layers. */
export const layerMask = (layers: readonly number[]): number => layers.reduce((sum, layer) => sum + 2 ** layer, 0);

/** The reverse. */
export const layersOfMask = (mask: number): number[] =>
  Array.from({ length: 53 }, (_, layer) => layer).filter(layer => Math.floor(mask / 2 ** layer) % 2 === 1);
