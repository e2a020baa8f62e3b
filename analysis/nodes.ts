// M3, mass nodes: n_θ = the fewest experts that together carry the share θ of the traffic (θ = ½ by default).
// 1…E; a uniform router has ⌈θE⌉. This is our reading of ApolloMoE's "keep nodes with a token ratio of 0.5", whose
// literal threshold keeps only experts that every token chooses, because one expert's ratio is at most 1/k.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { shareRows } from './usage.ts';

const TOLERANCE = 1e-12;

/** The experts that carry θ of the mass, heaviest first, the lower id first where shares are equal to 1e-12. */
export function massNodes(q: ArrayLike<number>, theta = 0.5): number[] {
  const order = byShare(q);
  let sum = 0;
  let m = 0;
  while (m < order.length && sum < theta - TOLERANCE) sum += q[order[m++]];
  return order.slice(0, m);
}

/** Experts by descending share; runs of equal neighbours are put in the order of their ids. */
function byShare(q: ArrayLike<number>): number[] {
  const order = Array.from(q, (_, e) => e).sort((a, b) => q[b] - q[a] || a - b);
  for (let start = 0, i = 1; i <= order.length; i++) {
    if (i < order.length && q[order[i - 1]] - q[order[i]] <= TOLERANCE) continue;
    if (i - start > 1) order.splice(start, i - start, ...order.slice(start, i).sort((a, b) => a - b));
    start = i;
  }
  return order;
}

/**
 * One row per layer and group: how many experts carry θ of the mass, which, how many others equal the last of them, and how many a
 * uniform router would need, ⌈θE⌉. Null for empty groups.
 */
export function nodes(usage: ColumnTable, header: TraceHeader, theta = 0.5): ColumnTable {
  const rows = header.moeLayers.flatMap(layer =>
    [...shareRows(usage, layer)].map(([group, q]) => ({ layer, group, q, experts: q && massNodes(q, theta) })),
  );
  const tiesOf = (q: Float64Array, experts: number[]) => {
    const last = q[experts[experts.length - 1]];
    return q.filter((share, e) => Math.abs(share - last) <= TOLERANCE && !experts.includes(e)).length;
  };
  return table({
    layer: rows.map(row => row.layer),
    group: rows.map(row => row.group),
    nodes: rows.map(row => row.experts?.length ?? null),
    experts: rows.map(row => row.experts?.join(' ') ?? null),
    ties: rows.map(({ q, experts }) => (q && experts ? tiesOf(q, experts) : null)),
    uniform: rows.map(() => Math.ceil(theta * header.numExperts - TOLERANCE)),
  });
}
