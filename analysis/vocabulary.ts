// M15, vocabulary specialisation: Voc(e, x) = share of the occurrences of token x whose first choice is expert e (OLMoE).
// A layer's score is the mean over x of max_e Voc: by type (each x once) or by token (each occurrence once). Only ids that occur
// ten times: an id seen once scores 1 by itself. Baseline: the same first choices dealt out to the same tokens at random, so
// that loads and counts stay. x is the token that is read, or the one that follows it.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';
import { shuffle } from './shuffle.ts';
import { type TokenLog, type TypeRuns, typeRuns } from './token-log.ts';

/** Occurrences that an id needs. */
export const FEWEST_OCCURRENCES = 10;

export interface VocabularyOptions {
  /** Which token x is: the one that is read (default) or the next one. */
  of?: 'input' | 'next';
  minimum?: number;
  /** Numbers in [0, 1), and how often the baseline is drawn (default 5). */
  random: () => number;
  draws?: number;
}

/**
 * One row per layer: tokens and types that took part, byType and byToken (0…1), baseline and baselineByToken, and the 95 %
 * jackknife interval of byType over blocks of items. Null where no id occurs often enough.
 */
export function vocabulary(log: TokenLog, header: TraceHeader, options: VocabularyOptions): ColumnTable {
  const { of = 'input', minimum = FEWEST_OCCURRENCES, random, draws = 5 } = options;
  const { moeLayers, numExperts: E, expertsPerToken: k } = header;
  const L = moeLayers.length;
  const kept = typeRuns(of === 'input' ? log.token : log.next, (_, tokens) =>
    tokens.length >= minimum ? tokens : new Int32Array(0),
  );
  const items = itemBlocks(header);
  const block = kept.order.map(t => items.of[log.document[t]]);
  const rows = moeLayers.map((layer, l) => {
    const first = kept.order.map(t => log.expert[(t * L + l) * k]);
    const there = first.filter(e => e !== log.none);
    const score = specialisation(first, kept, E);
    if (!score) return { layer, ...EMPTY };
    const baseline = Array.from({ length: draws }, () => {
      shuffle(there, random);
      let next = 0;
      return specialisation(
        first.map(e => (e === log.none ? e : there[next++])),
        kept,
        E,
      )!;
    });
    const without = Array.from({ length: items.blocks }, (_, b) => specialisation(first, kept, E, block, b)?.byType);
    const { low, high } = blockEstimate(
      score.byType,
      without.map(value => value ?? Number.NaN),
    );
    return {
      ...{ layer, ...score, low, high },
      baseline: mean(baseline.map(one => one.byType)),
      baselineByToken: mean(baseline.map(one => one.byToken)),
    };
  });
  const names = [
    'layer',
    'tokens',
    'types',
    'byType',
    'byToken',
    'baseline',
    'baselineByToken',
    'low',
    'high',
  ] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

const EMPTY = {
  tokens: 0,
  types: 0,
  byType: null,
  byToken: null,
  baseline: null,
  baselineByToken: null,
  low: null,
  high: null,
};
const mean = (values: number[]) => (values.length > 0 ? values.reduce((a, b) => a + b, 0) / values.length : null);

/** Scores of one layer from the first choice of each grouped token; ids beyond the experts are passed over, as is block `left`. */
export function specialisation(
  first: Int32Array,
  { start }: Pick<TypeRuns, 'start'>,
  E: number,
  block?: Int32Array,
  left = -1,
): { tokens: number; types: number; byType: number; byToken: number } | null {
  const counts = new Int32Array(E);
  let [types, tokens, shares, most] = [0, 0, 0, 0];
  for (let x = 0; x + 1 < start.length; x++) {
    counts.fill(0);
    let [n, largest] = [0, 0];
    for (let i = start[x]; i < start[x + 1]; i++) {
      if (first[i] >= E || block?.[i] === left) continue;
      n++;
      largest = Math.max(largest, ++counts[first[i]]);
    }
    if (n === 0) continue;
    types++;
    tokens += n;
    shares += largest / n;
    most += largest;
  }
  return types > 0 ? { tokens, types, byType: shares / types, byToken: most / tokens } : null;
}
