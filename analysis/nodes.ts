// M3, mass nodes: n_θ = the fewest experts that together carry the share θ of the traffic (θ = ½ by default).
// 1…E; a uniform router has ⌈θE⌉. This is our reading of ApolloMoE's "keep nodes with a token ratio of 0.5", whose
// literal threshold keeps only experts that every token chooses, because one expert's ratio is at most 1/k.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { shareRows } from './usage.ts';

const TOLERANCE = 1e-12;

/** The experts that carry θ of the mass, heaviest first, ties by the lower id. */
export function massNodes(q: ArrayLike<number>, theta = 0.5): number[] {
  const order = Array.from(q, (_, e) => e).sort((a, b) => q[b] - q[a] || a - b);
  let sum = 0;
  let m = 0;
  while (m < order.length && sum < theta - TOLERANCE) sum += q[order[m++]];
  return order.slice(0, m);
}

/** One row per layer and group: how many experts carry θ of the mass, and which. Null for empty groups. */
export function nodes(usage: ColumnTable, header: TraceHeader, theta = 0.5): ColumnTable {
  const rows = header.moeLayers.flatMap(layer =>
    [...shareRows(usage, layer)].map(([group, q]) => ({ layer, group, experts: q && massNodes(q, theta) })),
  );
  return table({
    layer: rows.map(row => row.layer),
    group: rows.map(row => row.group),
    nodes: rows.map(row => row.experts?.length ?? null),
    experts: rows.map(row => row.experts?.join(' ') ?? null),
  });
}
