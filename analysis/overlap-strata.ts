// M7 by depth: what pairs of languages share in the shallow, middle and deep layers (strata of overlap.ts), beside what random sets
// of m experts would have in common. RISE (2604.03592) reports convergence and then divergence over depth.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { randomIntersection, strata } from './overlap.ts';

/**
 * From a table of overlap.ts with the same m: one row per stratum with layers, its name, overlap and isolation (means over pairs and
 * layers), the isolation of random m-subsets, and the share of pairs whose cut fell on a tie. Strata without layers are left out.
 */
export function overlapByStratum(overlap: ColumnTable, header: TraceHeader, m = header.expertsPerToken): ColumnTable {
  const pairs = overlap.objects() as { layer: number; overlap: number; isolation: number; ties: number }[];
  const rows = Object.entries(strata(header.moeLayers.length)).flatMap(([stratum, indices]) => {
    const layers = indices.map(l => header.moeLayers[l]);
    const here = pairs.filter(({ layer }) => layers.includes(layer));
    if (here.length === 0) return [];
    const mean = (of: (pair: (typeof here)[number]) => number) =>
      here.reduce((sum, pair) => sum + of(pair), 0) / here.length;
    return [
      {
        stratum,
        layers: layers.length,
        overlap: mean(pair => pair.overlap),
        isolation: mean(pair => pair.isolation),
        random: 1 - randomIntersection(header.numExperts, m),
        tied: mean(pair => (pair.ties > 0 ? 1 : 0)),
      },
    ];
  });
  const names = ['stratum', 'layers', 'overlap', 'isolation', 'random', 'tied'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
