// M12, co-activation: C(e,f) = N_ef / N_e, the share of the tokens of e that also choose f. Over all pairs of the k chosen, or
// over neighbours in rank alone (first with second, second with third …), which is what OLMoE's published script counts:
// k − 1 of k(k − 1)/2 pairs. Null: independent draws with the observed loads, N_e · N_f / T (times 2/k for neighbours);
// lift = N_ef · T / (N_e · N_f). A token cannot choose an expert twice, so even a router without preferences has a lift of
// (k − 1)E / k(E − 1), a little below 1. Tokens are pooled. k = 1 has no pairs: empty tables.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';

export interface CoactivationSums {
  pairs: 'all' | 'adjacent';
  blocks: number;
  /** Per layer and language [E · E], a < b: tokens that choose both. */
  together: Uint32Array[][];
  /** Per layer and language [E]: tokens that choose e; and tokens in all. */
  chosen: Uint32Array[][];
  tokens: Uint32Array[];
  /** The same over languages, per layer and block of items. */
  blockTogether: Uint32Array[][];
  blockChosen: Uint32Array[][];
  blockTokens: Uint32Array[];
}

/** Counts pairs per layer × language and per layer × block of items: 4 · L · (n + 20) · E² bytes. */
export function coactivationCollector(
  header: TraceHeader,
  pairs: 'all' | 'adjacent' = 'all',
): Collector<CoactivationSums> {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k } = header;
  const { blocks, of } = itemBlocks(header);
  const L = moeLayers.length;
  const perLayer = (groups: number, cells: number) =>
    moeLayers.map(() => Array.from({ length: groups }, () => new Uint32Array(cells)));
  const sums: CoactivationSums = {
    pairs,
    blocks,
    together: perLayer(languages.length, E * E),
    chosen: perLayer(languages.length, E),
    tokens: moeLayers.map(() => new Uint32Array(languages.length)),
    blockTogether: perLayer(blocks, E * E),
    blockChosen: perLayer(blocks, E),
    blockTokens: moeLayers.map(() => new Uint32Array(blocks)),
  };
  const reach = pairs === 'all' ? k : 2;
  return {
    add({ counted, expert, language, document }: DocumentBlock) {
      const block = of[document];
      for (let l = 0; l < L; l++) {
        const [both, inBlock] = [sums.together[l][language], sums.blockTogether[l][block]];
        const [one, oneInBlock] = [sums.chosen[l][language], sums.blockChosen[l][block]];
        let tokens = 0;
        for (let t = 0; t < counted.length; t++) {
          if (counted[t] === 0) continue;
          const start = (t * L + l) * k;
          let any = 0;
          for (let i = start; i < start + k; i++) {
            const a = expert[i];
            if (a < 0) continue;
            any = 1;
            one[a]++;
            oneInBlock[a]++;
            const end = Math.min(i + reach, start + k);
            for (let j = i + 1; j < end; j++) {
              const b = expert[j];
              if (b < 0) continue;
              const cell = a < b ? a * E + b : b * E + a;
              both[cell]++;
              inBlock[cell]++;
            }
          }
          tokens += any;
        }
        sums.tokens[l][language] += tokens;
        sums.blockTokens[l][block] += tokens;
      }
    },
    finish: () => sums,
  };
}

/**
 * One row per layer and ordered pair a ≠ b: together (tokens), conditional C(a, b), lift, and logLift = log2 of
 * (together + ½) / (expected + ½), finite where they never meet, with its 95 % jackknife interval over blocks of items.
 * Null where an expert was never chosen.
 */
export function coactivation(sums: CoactivationSums, header: TraceHeader): ColumnTable {
  const { moeLayers, numExperts: E, expertsPerToken: k } = header;
  const size = k > 1 ? moeLayers.length * E * (E - 1) : 0;
  const column = () => new Array<number | null>(size).fill(null);
  const columns = {
    ...{ layer: column(), a: column(), b: column(), together: column(), conditional: column() },
    ...{ lift: column(), logLift: column(), low: column(), high: column() },
  };
  for (const [l, layer] of k > 1 ? moeLayers.entries() : []) {
    const lifts = layerLifts(sums, l, E, k);
    for (let a = 0; a < E; a++) {
      for (let b = a + 1; b < E; b++) {
        const pair = lifts(a, b);
        for (const [one, other] of [
          [a, b],
          [b, a],
        ]) {
          const row = (l * E + one) * (E - 1) + other - (other > one ? 1 : 0);
          columns.layer[row] = layer;
          columns.a[row] = one;
          columns.b[row] = other;
          columns.together[row] = pair.together;
          columns.conditional[row] = pair.chosen[one] > 0 ? pair.together / pair.chosen[one] : null;
          columns.lift[row] = pair.lift;
          columns.logLift[row] = pair.logLift;
          columns.low[row] = pair.low;
          columns.high[row] = pair.high;
        }
      }
    }
  }
  return table(columns);
}

/** What two experts of a layer have in common, over all languages. */
function layerLifts(sums: CoactivationSums, l: number, E: number, k: number) {
  const { blocks, blockTogether: both, blockChosen: one, blockTokens: tokens } = sums;
  const share = sums.pairs === 'all' ? 1 : 2 / k;
  const chosen = new Float64Array(E);
  for (const block of one[l]) for (let e = 0; e < E; e++) chosen[e] += block[e];
  const all = tokens[l].reduce((a, b) => a + b, 0);
  const logLift = (together: number, a: number, b: number, n: number) =>
    Math.log2((together + 0.5) / ((share * a * b) / n + 0.5));
  const without = new Float64Array(blocks);
  return (a: number, b: number) => {
    const cell = a * E + b;
    let together = 0;
    for (let block = 0; block < blocks; block++) together += both[l][block][cell];
    if (chosen[a] === 0 || chosen[b] === 0) {
      return { together, chosen, lift: null, logLift: null, low: null, high: null };
    }
    for (let block = 0; block < blocks; block++) {
      const [rest, ofA, ofB] = [
        together - both[l][block][cell],
        chosen[a] - one[l][block][a],
        chosen[b] - one[l][block][b],
      ];
      without[block] = logLift(rest, ofA, ofB, all - tokens[l][block]);
    }
    const plugIn = logLift(together, chosen[a], chosen[b], all);
    const { low, high } = blockEstimate(plugIn, without);
    return { together, chosen, lift: (together * all) / (share * chosen[a] * chosen[b]), logLift: plugIn, low, high };
  };
}

/**
 * Do languages pair the same experts? One row per layer and two languages: Spearman's rank correlation of C over all ordered
 * pairs of experts; an expert that a language never chooses has C = 0. Languages without counted tokens are left out.
 */
export function coactivationAgreement(sums: CoactivationSums, header: TraceHeader): ColumnTable {
  const { moeLayers, numExperts: E, languages } = header;
  const rows = moeLayers.flatMap((layer, l) => {
    if (header.expertsPerToken === 1) return [];
    const present = languages.flatMap((_, language) => (sums.tokens[l][language] > 0 ? [language] : []));
    const ranked = present.map(language => standardRanks(conditionals(sums, l, language, E)));
    return ranked.flatMap((x, i) =>
      ranked.slice(i + 1).map((y, j) => {
        const [a, b] = [languages[present[i]].code, languages[present[i + 1 + j]].code];
        return { layer, a, b, correlation: x && y ? dot(x, y) : null };
      }),
    );
  });
  const names = ['layer', 'a', 'b', 'correlation'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

function conditionals(sums: CoactivationSums, l: number, language: number, E: number): Float64Array {
  const [both, one] = [sums.together[l][language], sums.chosen[l][language]];
  const values = new Float64Array(E * (E - 1));
  for (let a = 0, i = 0; a < E; a++) {
    for (let b = 0; b < E; b++) {
      if (a === b) continue;
      values[i++] = one[a] > 0 ? both[a < b ? a * E + b : b * E + a] / one[a] : 0;
    }
  }
  return values;
}

/** Ranks, ties sharing their mean, centred and of length 1; null where all values are equal. */
function standardRanks(values: Float64Array): Float64Array | null {
  const sorted = values.slice().sort();
  const rank = new Map<number, number>();
  for (let from = 0, to = 0; from < sorted.length; from = to) {
    while (to < sorted.length && sorted[to] === sorted[from]) to++;
    rank.set(sorted[from], (from + to - 1) / 2 - (sorted.length - 1) / 2);
  }
  const ranks = values.map(value => rank.get(value)!);
  const length = Math.sqrt(dot(ranks, ranks));
  return length > 0 ? ranks.map(value => value / length) : null;
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}
