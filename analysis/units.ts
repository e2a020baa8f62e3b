// What is drawn when texts are resampled. Tokens of a document depend on each other, so documents are drawn, not tokens; the
// versions of a parallel item share their content, so an item that two languages have is drawn as one for all of them.
// Strata are drawn apart: all shared items together, and the remaining documents of each language among themselves.
import type { DocumentCounts } from './document-counts.ts';

export interface Units {
  /** Per stratum, per unit: its documents (rows of the counts). */
  strata: Int32Array[][];
  kind: 'items' | 'documents';
  /** [n] units that a language has, and what a typical (median) one has. */
  ofLanguage: Int32Array;
  typical: number;
  /** [D] 1: the document's language has two documents or more and takes part. */
  kept: Uint8Array;
  /** [n] documents per language that may take part. */
  documents: Int32Array;
}

/** Splits documents into strata of units. Languages with a single document cannot be resampled and are left out; so are others than `only`. */
export function unitsOf(
  counts: Pick<DocumentCounts, 'language' | 'item'>,
  languages: number,
  only?: readonly number[],
): Units {
  const { language, item } = counts;
  const documents = new Int32Array(languages);
  for (const l of language) if (only?.includes(l) ?? true) documents[l]++;
  const kept = Uint8Array.from(language, l => (documents[l] > 1 ? 1 : 0));
  const ofItem = new Map<number, number[]>();
  for (let d = 0; d < item.length; d++) {
    if (kept[d] === 0) continue;
    const list = ofItem.get(item[d]);
    if (list) list.push(d);
    else ofItem.set(item[d], [d]);
  }
  const parallel: Int32Array[] = [];
  const single: Int32Array[][] = Array.from({ length: languages }, () => []);
  const ofLanguage = new Int32Array(languages);
  for (const list of ofItem.values()) {
    const shared = list.some(d => language[d] !== language[list[0]]);
    const units = shared ? [list] : list.map(d => [d]);
    for (const unit of units) (shared ? parallel : single[language[unit[0]]]).push(Int32Array.from(unit));
    for (const l of shared ? new Set(list.map(d => language[d])) : list.map(d => language[d])) ofLanguage[l]++;
  }
  const strata = [parallel, ...single].filter(stratum => stratum.length > 0);
  const sizes = [...ofLanguage].filter(n => n > 0).sort((a, b) => a - b);
  const typical = sizes.length > 0 ? sizes[Math.floor((sizes.length - 1) / 2)] : 0;
  return { strata, kind: parallel.length > 0 ? 'items' : 'documents', ofLanguage, typical, kept, documents };
}
