// Profiles over depth that the test of late spread compares: one number per MoE layer, each a statistic of language rows.
//   profile    D_l = I(Λ;E_l) / log n, share of the language's identity that one routed slot gives away, 0…1
//   effective  exp H(q̄), nodes n_½ of the row pooled over languages: through how many experts everybody goes
//   overlap    mean mass overlap of two languages (overlap.ts)
import type { LanguageRows, Statistic } from './document-counts.ts';
import { languageInformation } from './language-information.ts';
import { massNodes } from './nodes.ts';
import { overlapStatistic } from './overlap.ts';
import { entropyAt, pooledRows } from './row-entropies.ts';

export const profileStatistic: Statistic = {
  name: 'profile',
  of: rows => {
    const n = rows.present.reduce((sum, one) => sum + one, 0);
    return languageInformation(rows).map(nats => nats / Math.log(n));
  },
  range: [0, 1],
  permute: true,
};
export const effectiveStatistic: Statistic = {
  name: 'effective',
  of: rows => ofPooled(rows, q => Math.exp(entropyAt(q, 0, q.length))),
};
export const nodesStatistic: Statistic = { name: 'nodes', of: rows => ofPooled(rows, q => massNodes(q).length) };

/** What `spreadOf` needs to have been resampled together. */
export const spreadStatistics: Statistic[] = [profileStatistic, effectiveStatistic, nodesStatistic, overlapStatistic];

function ofPooled(rows: LanguageRows, of: (pooled: Float64Array) => number): Float64Array {
  const pooled = pooledRows(rows);
  const E = rows.experts;
  return Float64Array.from({ length: rows.layers }, (_, layer) => of(pooled.subarray(layer * E, (layer + 1) * E)));
}
