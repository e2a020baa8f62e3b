// By layer: who serves whom, from counts by document. A language's row is its slots pooled; languages weigh the same.
//   own mass        share of a language's routed slots on its own expert; at most 1/k, 1/E by chance
//   information     I(language; expert) / log n, and its mean under shuffled labels of documents
//   effective       exp H of the pooled row (all languages) and the mean over languages of exp H of their own rows
//   half mass       experts that carry half of the pooled row
import seedrandom from 'seedrandom';
import type { MeasuredStep } from './measure.ts';

export interface LayerProfile {
  own: number;
  /** The same among first choices. */
  firstOwn: number;
  information: number;
  shuffled: number;
  pooledEffective: number;
  halfMass: number;
  languageEffective: number;
  /** Languages whose most used expert is their own. */
  ownMostUsed: number;
}

const SHUFFLES = 100;

/** One profile per MoE layer, in their order. @param seed of the shuffled labels */
export function profileOf(step: MeasuredStep, seed: string): LayerProfile[] {
  const { documents, own, experts } = step;
  const language_D = documents.map(({ language }) => language);
  const orders = shuffledLabels(language_D, seed);
  return step.slots.map((documents_DE, l) => {
    const rows = languageRows(documents_DE, language_D, own.length, experts);
    const first = languageRows(step.first[l], language_D, own.length, experts);
    const present = [...rows.keys()].filter(g => rows[g].some(value => value > 0));
    const pooled = meanRow(present.map(g => rows[g]));
    const mean = (of: (language: number) => number) => present.reduce((sum, g) => sum + of(g), 0) / present.length;
    const owned = present.filter(g => own[g] >= 0);
    const ownShare = (from: number[][]) => owned.reduce((sum, g) => sum + from[g][own[g]], 0) / owned.length;
    return {
      own: ownShare(rows),
      firstOwn: ownShare(first),
      information: informationOf(rows),
      shuffled:
        orders.reduce(
          (sum, labels) => sum + informationOf(languageRows(documents_DE, labels, own.length, experts)),
          0,
        ) / orders.length,
      pooledEffective: Math.exp(entropyOf(pooled)),
      halfMass: nodesWith(pooled, 0.5),
      languageEffective: mean(g => Math.exp(entropyOf(rows[g]))),
      ownMostUsed: owned.filter(g => rows[g].indexOf(Math.max(...rows[g])) === own[g]).length,
    };
  });
}

/** Shares [language][expert] of documents with these labels; a language without slots keeps zeros. */
export function languageRows(
  documents_DE: number[][],
  language_D: number[],
  languages: number,
  experts: number,
): number[][] {
  const rows = Array.from({ length: languages }, () => new Array<number>(experts).fill(0));
  documents_DE.forEach((slots_E, d) => {
    slots_E.forEach((count, e) => {
      rows[language_D[d]][e] += count;
    });
  });
  return rows.map(row => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return total === 0 ? row : row.map(count => count / total);
  });
}

/** I(language; expert) / log n with equal language weights; languages without slots are left out. */
export function informationOf(rows: number[][]): number {
  const present = rows.filter(row => row.some(value => value > 0));
  const within = present.reduce((sum, row) => sum + entropyOf(row), 0) / present.length;
  return (entropyOf(meanRow(present)) - within) / Math.log(present.length);
}

export const entropyOf = (row: number[]): number => -row.reduce((sum, q) => (q > 0 ? sum + q * Math.log(q) : sum), 0);

/** Smallest number of entries whose sum reaches `share`. */
export function nodesWith(row: number[], share: number): number {
  let sum = 0;
  const sorted = row.toSorted((a, b) => b - a);
  for (const [i, q] of sorted.entries()) {
    sum += q;
    if (sum >= share - 1e-12) return i + 1;
  }
  return row.length;
}

const meanRow = (rows: number[][]): number[] =>
  rows[0].map((_, e) => rows.reduce((sum, row) => sum + row[e], 0) / rows.length);

/** Languages dealt out anew to the documents, each keeping its number of them. */
function shuffledLabels(language_D: number[], seed: string): number[][] {
  const random = seedrandom(seed);
  return Array.from({ length: SHUFFLES }, () => {
    const labels = [...language_D];
    for (let i = labels.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [labels[i], labels[j]] = [labels[j], labels[i]];
    }
    return labels;
  });
}

/** Contrasts over depth of a profile: thirds below 8 layers, quarters from there on. */
export interface DepthContrasts {
  /** Mean of the late band minus that of the early one. */
  lateEarly: number;
  /** Last layer, and first layer, minus the mean of all between. */
  lastMiddle: number;
  firstMiddle: number;
}

/** @throws RangeError for fewer than three layers: there is no depth to compare */
export function contrastsOf(values: number[]): DepthContrasts {
  if (values.length < 3) throw new RangeError(`${values.length} layers have no early, middle and late`);
  const band = Math.max(1, Math.floor(values.length / (values.length < 8 ? 3 : 4)));
  const mean = (part: number[]) => part.reduce((sum, value) => sum + value, 0) / part.length;
  const middle = mean(values.slice(1, -1));
  return {
    lateEarly: mean(values.slice(-band)) - mean(values.slice(0, band)),
    lastMiddle: values.at(-1)! - middle,
    firstMiddle: values[0] - middle,
  };
}
