// M2, collapse of deep layers: C_λ = mean over the last ⌈L/8⌉ MoE layers of (h_pivot − h_λ), minus the same over the middle half,
// with h = H / log E. −1…1; above 0 the routing of λ narrows in the end more than the pivot's (2605.17598 names the effect; the
// number is ours). One number per language.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { bandsOf } from './bands.ts';
import { meanOver } from './contrasts.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { rowEntropies } from './row-entropies.ts';

/** [n] collapse gaps; NaN for absent languages and for models without a middle (fewer than 3 MoE layers). */
export function collapseGaps(rows: LanguageRows, pivot: number): Float64Array {
  const { layers: L, languages: n, experts } = rows;
  const h = rowEntropies(rows);
  const deep = Array.from({ length: Math.ceil(L / 8) }, (_, i) => L - 1 - i);
  const { middle } = bandsOf(L);
  return Float64Array.from({ length: n }, (_, l) => {
    const gap = Float64Array.from(
      { length: L },
      (_, layer) => (h[layer * n + pivot] - h[layer * n + l]) / Math.log(experts),
    );
    return meanOver(deep)(gap) - meanOver(middle)(gap);
  });
}

export function collapseStatistic(pivot: number): Statistic {
  return { name: 'collapse', of: rows => collapseGaps(rows, pivot), range: [-1, 1], perLanguage: true };
}

/** One row per language: group, gap, low, high. Null where it cannot be told. */
export function collapse(header: TraceHeader, estimates: Estimate[]): ColumnTable {
  const known = (value: number) => (Number.isFinite(value) ? value : null);
  return table({
    group: header.languages.map(({ code }) => code),
    gap: estimates.map(({ estimate }) => known(estimate)),
    low: estimates.map(({ low }) => low),
    high: estimates.map(({ high }) => high),
  });
}
