// Jensen–Shannon divergence of each language's row from the pivot's (M4 at the level of the corpus: rows first, divergence
// once). JSD = H(m) − (H₁ + H₂)/2 with m the midpoint, 0…ln 2; distance √(JSD / ln 2) is a metric, 0…1.
import type { LanguageRows, Statistic } from './document-counts.ts';
import { rowEntropies } from './row-entropies.ts';

const kept = new WeakMap<LanguageRows, { pivot: number; js: Float64Array }>();

/** [L · n] divergence in nats; NaN for absent languages and without the pivot; 0 for the pivot itself. */
export function pivotDivergences(rows: LanguageRows, pivot: number): Float64Array {
  const known = kept.get(rows);
  if (known?.pivot === pivot) return known.js;
  const js = compute(rows, pivot);
  kept.set(rows, { pivot, js });
  return js;
}

function compute(rows: LanguageRows, pivot: number): Float64Array {
  const { layers, languages, experts, q, present } = rows;
  const h = rowEntropies(rows);
  const js = new Float64Array(layers * languages).fill(Number.NaN);
  if (present[pivot] !== 1) return js;
  for (let i = 0; i < js.length; i++) {
    const language = i % languages;
    if (present[language] === 0) continue;
    const centre = i - language + pivot;
    if (i === centre) {
      js[i] = 0;
      continue;
    }
    let middle = 0;
    for (let e = 0; e < experts; e++) {
      const m = (q[i * experts + e] + q[centre * experts + e]) / 2;
      if (m > 0) middle -= m * Math.log(m);
    }
    js[i] = Math.max(0, middle - (h[i] + h[centre]) / 2);
  }
  return js;
}

/** √(JSD / ln 2). */
export const distanceOf = (js: number): number => Math.sqrt(js / Math.LN2);

/** [L · n] distances to the pivot as a statistic. */
export function distanceStatistic(pivot: number): Statistic {
  return {
    name: 'distance',
    of: rows => pivotDivergences(rows, pivot).map(distanceOf),
    range: [0, 1],
    perLanguage: true,
  };
}

/** [L] distance to the pivot, mean over the other languages: the second profile over depth. */
export function meanDistanceStatistic(pivot: number): Statistic {
  const of = (rows: LanguageRows) => {
    const js = pivotDivergences(rows, pivot);
    return Float64Array.from({ length: rows.layers }, (_, layer) => {
      const here = js.subarray(layer * rows.languages, (layer + 1) * rows.languages);
      const others = here.filter((value, l) => l !== pivot && Number.isFinite(value)).map(distanceOf);
      return others.reduce((a, b) => a + b, 0) / others.length;
    });
  };
  return { name: 'mean distance', of, range: [0, 1] };
}
