// M4 as published (Bandarkar et al. 2510.04694, Eqs. 1–2, 6–8): per parallel item the mean softmax row of the pivot's and of the
// language's version, their entropy-normalised divergence h_js, then the mean over items. Rows of a sentence or two are noisy and
// divergence is biased up by that, for short versions most; hence the baseline: the same between documents of one language,
// paired by length, and the excess over it. divergence.ts is the reading with less bias.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { entropyNormalised, pivotOf } from './divergence.ts';
import type { DocumentCounts, View } from './document-counts.ts';
import { resampleMeans } from './resample-means.ts';
import { everyDocument, type Source, sourceOf } from './rows.ts';

export interface ItemDivergenceOptions {
  /** The published view is `softmax`, which the trace must hold; values of different views are not comparable. */
  view?: View;
  pivot?: number;
  draws?: number;
  seed: string;
}

/**
 * One row per layer and language: layer, group, items, divergence (mean h_js), low, high, baseline, excess. Of several documents of
 * one item in a language the first counts. Null where no item is shared with the pivot, or all its rows are uniform.
 */
export function itemDivergence(
  counts: DocumentCounts,
  header: TraceHeader,
  { view = 'softmax', pivot = pivotOf(header), draws = 2000, seed }: ItemDivergenceOptions,
): ColumnTable {
  const source = sourceOf(counts, view, 'documents', header);
  const { layers, languages: n } = source;
  const values = itemValues(counts, source, pivot);
  const estimates = resampleMeans(values, layers * n, { draws, seed });
  const baseline = pairedBaseline(counts, source);
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  const rows = header.moeLayers.flatMap((layer, l) =>
    header.languages.map(({ code: group }, language) => {
      const at = l * n + language;
      const { plugIn, low, high } = estimates[at];
      let items = 0;
      for (let i = at; i < values.length; i += layers * n) if (Number.isFinite(values[i])) items++;
      const numbers = { divergence: finite(plugIn), low, high, baseline: finite(baseline[at]) };
      return { layer, group, items, ...numbers, excess: finite(plugIn - baseline[at]) };
    }),
  );
  const names = ['layer', 'group', 'items', 'divergence', 'low', 'high', 'baseline', 'excess'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

/** [items · L · n] h_js of each item; NaN without both versions. */
function itemValues(counts: DocumentCounts, source: Source, pivot: number): Float64Array {
  const { layers, languages: n } = source;
  const documentOf = new Int32Array(counts.items * n).fill(-1);
  for (let d = counts.item.length - 1; d >= 0; d--) documentOf[counts.item[d] * n + counts.language[d]] = d;
  const values = new Float64Array(counts.items * layers * n).fill(Number.NaN);
  for (let item = 0; item < counts.items; item++) {
    const centre = documentOf[item * n + pivot];
    if (centre < 0) continue;
    for (let language = 0; language < n; language++) {
      const d = documentOf[item * n + language];
      if (d < 0 || language === pivot) continue;
      for (let l = 0; l < layers; l++) values[(item * layers + l) * n + language] = between(source, l, d, centre);
    }
  }
  return values;
}

/** [L · n] mean h_js between documents of one language, neighbours in length paired without overlap. */
function pairedBaseline({ language, tokens }: DocumentCounts, source: Source): Float64Array {
  const { layers, languages: n } = source;
  const { start, document } = everyDocument(language, n);
  const baseline = new Float64Array(layers * n).fill(Number.NaN);
  for (let l = 0; l < n; l++) {
    const byLength = document.slice(start[l], start[l + 1]).sort((a, b) => tokens[a] - tokens[b] || a - b);
    for (let layer = 0; layer < layers; layer++) {
      const list: number[] = [];
      for (let i = 0; i + 1 < byLength.length; i += 2) list.push(between(source, layer, byLength[i], byLength[i + 1]));
      const known = list.filter(Number.isFinite);
      baseline[layer * n + l] = known.reduce((a, b) => a + b, 0) / known.length;
    }
  }
  return baseline;
}

/** h_js of two documents in a layer; NaN where one has no mass or both are uniform. */
function between({ experts, mass, scale }: Source, layer: number, a: number, b: number): number {
  const [p, q] = [a, b].map(d =>
    Float64Array.from(mass[layer].subarray(d * experts, (d + 1) * experts), value => value * scale[layer][d]),
  );
  if (scale[layer][a] === 0 || scale[layer][b] === 0) return Number.NaN;
  return entropyNormalised(p, q) ?? Number.NaN;
}
