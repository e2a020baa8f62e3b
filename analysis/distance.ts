// M6, distances between languages: Jensen–Shannon distance of their rows in a layer, sqrt(JSD / log 2), a metric in 0…1, with
// JSD = H(m) − (H(p) + H(q)) / 2 and m the midpoint. Rows estimated from few tokens look further apart than they are.
// Shapes: [L · n · n], cell (l · n + a) · n + b; NaN where a language is absent, 0 on the diagonal.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { LanguageRows } from './document-counts.ts';
import { rowEntropies } from './row-entropies.ts';

/** Other distances between the same languages, [n · n]; see linguistic.ts. */
export interface KnownDistances {
  tree?: ArrayLike<number>;
  script?: ArrayLike<number>;
  vocabulary?: ArrayLike<number>;
}

const kept = new WeakMap<LanguageRows, Float64Array>();

/** Jensen–Shannon distances of all pairs in all layers; kept per rows object, because several statistics of a draw need them. */
export function distances(rows: LanguageRows): Float64Array {
  const known = kept.get(rows);
  if (known) return known;
  const { layers, languages: n, experts, q, present } = rows;
  const own = rowEntropies(rows);
  const distance = new Float64Array(layers * n * n).fill(Number.NaN);
  for (let layer = 0; layer < layers; layer++) {
    for (let a = 0; a < n; a++) {
      const first = layer * n + a;
      if (present[a] === 1) distance[first * n + a] = 0;
      for (let b = a + 1; b < n; b++) {
        if (present[a] === 0 || present[b] === 0) continue;
        const second = layer * n + b;
        const middle = midpointEntropy(q, first * experts, second * experts, experts);
        const divergence = Math.max(0, middle - (own[first] + own[second]) / 2);
        const value = Math.min(1, Math.sqrt(divergence / Math.LN2));
        distance[first * n + b] = value;
        distance[second * n + a] = value;
      }
    }
  }
  kept.set(rows, distance);
  return distance;
}

/** H of the midpoint of the two rows that start at `a` and `b`. */
function midpointEntropy(q: Float64Array, a: number, b: number, experts: number): number {
  let entropy = 0;
  for (let e = 0; e < experts; e++) {
    const middle = (q[a + e] + q[b + e]) / 2;
    if (middle > 0) entropy -= middle * Math.log(middle);
  }
  return entropy;
}

/** The cells of some languages alone, [m · m] for m = keep.length, of matrix number `layer`. */
export function submatrix(matrix: ArrayLike<number>, n: number, keep: readonly number[], layer = 0): Float64Array {
  const m = keep.length;
  return Float64Array.from({ length: m * m }, (_, cell) => {
    return matrix[(layer * n + keep[Math.floor(cell / m)]) * n + keep[cell % m]];
  });
}

/** Numbers of the languages that have a counted token. */
export const presentLanguages = ({ present }: LanguageRows): number[] =>
  Array.from(present, (yes, l) => (yes ? l : -1)).filter(l => l >= 0);

/**
 * One row per layer and pair of present languages, a before b in the header's order: `distance`, and the other distances that
 * are known (null where not).
 */
export function distance(rows: LanguageRows, header: TraceHeader, known: KnownDistances = {}): ColumnTable {
  const n = rows.languages;
  const all = distances(rows);
  const list = presentLanguages(rows);
  const other = (matrix: ArrayLike<number> | undefined, cell: number) =>
    matrix && !Number.isNaN(matrix[cell]) ? matrix[cell] : null;
  const lines = header.moeLayers.flatMap((layer, l) =>
    list.flatMap((a, i) =>
      list.slice(i + 1).map(b => ({
        layer,
        a: header.languages[a].code,
        b: header.languages[b].code,
        distance: all[(l * n + a) * n + b],
        treeDistance: other(known.tree, a * n + b),
        scriptDistance: other(known.script, a * n + b),
        vocabularyDistance: other(known.vocabulary, a * n + b),
      })),
    ),
  );
  const names = ['layer', 'a', 'b', 'distance', 'treeDistance', 'scriptDistance', 'vocabularyDistance'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}
