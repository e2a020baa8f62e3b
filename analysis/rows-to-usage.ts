// Language rows as a usage table (M1): one row per layer × language × expert, dense. Columns: layer, group, expert, share,
// tokenShare, tokens, documents. tokenShare a = share · slots per counted token: in the selection view the share of tokens
// that choose the expert (0…1, a row sums to k). Null for languages without a counted token. Null model: 1/E.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { DocumentCounts, LanguageRows } from './document-counts.ts';

/** The usage table of `rows`, which must come from the same counts. */
export function rowsToUsage(rows: LanguageRows, counts: DocumentCounts, header: TraceHeader): ColumnTable {
  const { experts: E, languages: n, q, present } = rows;
  const size = rows.layers * n * E;
  const layer = new Int32Array(size);
  const expert = new Int32Array(size);
  const group = new Array<string>(size);
  const share = new Array<number | null>(size);
  const tokenShare = new Array<number | null>(size);
  const tokens = new Float64Array(size);
  const documents = new Int32Array(size);
  for (let l = 0, at = 0; l < rows.layers; l++) {
    const totals = totalsOf(counts, l, n, E);
    for (let language = 0; language < n; language++) {
      const slotsPerToken = totals.slots[language] / totals.tokens[language];
      for (let e = 0; e < E; e++, at++) {
        const value = present[language] === 1 ? q[at] : null;
        layer[at] = header.moeLayers[l];
        group[at] = header.languages[language].code;
        expert[at] = e;
        share[at] = value;
        tokenShare[at] = value === null ? null : value * slotsPerToken;
        tokens[at] = totals.tokens[language];
        documents[at] = totals.documents[language];
      }
    }
  }
  return table({ layer, group, expert, share, tokenShare, tokens, documents });
}

/** Slots of one layer, and counted tokens and documents, per language. */
function totalsOf({ language, tokens, count }: DocumentCounts, layer: number, n: number, E: number) {
  const totals = { slots: new Float64Array(n), tokens: new Float64Array(n), documents: new Int32Array(n) };
  for (let d = 0; d < language.length; d++) {
    for (let i = d * E; i < (d + 1) * E; i++) totals.slots[language[d]] += count[layer][i];
    totals.tokens[language[d]] += tokens[d];
    totals.documents[language[d]]++;
  }
  return totals;
}
