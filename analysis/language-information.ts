// Per layer I(Λ;E) = H(q̄) − mean_λ H(q_λ) in nats, straight from language rows: the statistic behind the routing budget (M5)
// and, divided by log n, the profile D_l of the test of late spread.
import type { LanguageRows, Statistic } from './document-counts.ts';
import { entropyAt, pooledRows, rowEntropies } from './row-entropies.ts';

/** [L] nats; NaN with fewer than two languages. */
export function languageInformation(rows: LanguageRows): Float64Array {
  const { layers, languages, experts, present } = rows;
  const h = rowEntropies(rows);
  const pooled = pooledRows(rows);
  const n = present.reduce((sum, one) => sum + one, 0);
  return Float64Array.from({ length: layers }, (_, layer) => {
    if (n < 2) return Number.NaN;
    let within = 0;
    for (let l = 0; l < languages; l++) if (present[l] === 1) within += h[layer * languages + l];
    return entropyAt(pooled, layer * experts, experts) - within / n;
  });
}

/** Language information per layer as a statistic: resampled and permuted, from 0. */
export const informationStatistic: Statistic = {
  name: 'information',
  of: languageInformation,
  range: [0, Number.POSITIVE_INFINITY],
  permute: true,
};
