// What two samples of the same language differ by: its documents, ordered by length, are dealt in neighbouring pairs to two halves
// of nearly equal token count, and the Jensen–Shannon distance of the halves' rows is averaged over random splits. A half has half
// of the texts, so this is a cautious baseline: sampling alone moves halves apart more than whole languages.
import seedrandom from 'seedrandom';
import { jensenShannon } from './divergence.ts';
import type { DocumentCounts, LanguageRows, View } from './document-counts.ts';
import { rowOf } from './overlap.ts';
import { distanceOf } from './pivot-distance.ts';
import { type Averaging, emptyRows, everyDocument, fillRows, type Shape, sourceOf } from './rows.ts';

export interface BaselineOptions {
  view: View;
  averaging?: Averaging;
  splits?: number;
  seed: string;
}

/** [L · n] mean distance of two halves; NaN for languages with fewer than two documents. */
export function sameLanguageDistance(counts: DocumentCounts, shape: Shape, options: BaselineOptions): Float64Array {
  const { view, averaging = 'documents', splits = 20, seed } = options;
  const source = sourceOf(counts, view, averaging, shape);
  const random = seedrandom(`${seed} halves`);
  const sum = new Float64Array(source.layers * source.languages);
  for (let split = 0; split < splits; split++) {
    const first = halves(counts, source.languages, random);
    const choices = [0, 1].map(half => {
      const kept = first.map(side => (side === half ? 1 : 0));
      return everyDocument(counts.language, source.languages, kept);
    });
    const rows = choices.map(() => emptyRows(source));
    fillRows(source, choices, rows);
    for (let i = 0; i < sum.length; i++) sum[i] += distanceOfHalves(rows, i);
  }
  return sum.map(value => value / splits);
}

function distanceOfHalves([a, b]: LanguageRows[], i: number): number {
  const language = i % a.languages;
  if (a.present[language] === 0 || b.present[language] === 0) return Number.NaN;
  const layer = Math.floor(i / a.languages);
  return distanceOf(jensenShannon(rowOf(a, layer, language), rowOf(b, layer, language)));
}

/** 0 or 1 per document, 2 for the odd one of a language. */
export function halves(
  { language, tokens }: Pick<DocumentCounts, 'language' | 'tokens'>,
  languages: number,
  random: () => number,
): Uint8Array {
  const { start, document } = everyDocument(language, languages);
  const side = new Uint8Array(language.length).fill(2);
  for (let l = 0; l < languages; l++) {
    const byLength = document.slice(start[l], start[l + 1]).sort((a, b) => tokens[a] - tokens[b] || a - b);
    for (let i = 0; i + 1 < byLength.length; i += 2) {
      const swap = random() < 0.5 ? 1 : 0;
      side[byLength[i]] = swap;
      side[byLength[i + 1]] = 1 - swap;
    }
  }
  return side;
}
