// Null 1, "language tells nothing": labels are shuffled over documents, never over tokens, whose neighbours are not
// independent. Versions of one item swap labels only among each other, so that content cannot pass for language; documents
// whose item no other language has swap among themselves. p = (1 + #{null ≥ observed}) / (1 + draws); over the components of
// a statistic (layers) the family-wise p compares with the largest standardised null value of each draw (Westfall & Young).
import { type Choice, everyDocument } from './rows.ts';
import { shuffle } from './shuffle.ts';
import type { Units } from './units.ts';

const TIE = 1e-12;

/** Documents among which labels may move: per shared item, and all others together. */
export function exchangeable(units: Units): Int32Array[] {
  const all = units.strata.flat();
  const single = Int32Array.from(all.filter(unit => unit.length === 1).flatMap(unit => [...unit]));
  return [...all.filter(unit => unit.length > 1), single].filter(group => group.length > 1);
}

/** One draw: labels shuffled inside each group. */
export function permutedChoice(
  groups: Int32Array[],
  language: Int32Array,
  languages: number,
  kept: Uint8Array,
  random: () => number,
): Choice {
  const label = language.slice();
  for (const group of groups) {
    const labels = group.map(d => language[d]);
    shuffle(labels, random);
    for (let i = 0; i < group.length; i++) label[group[i]] = labels[i];
  }
  return everyDocument(label, languages, kept);
}

export interface Permuted {
  mean: number;
  p: number;
  /** Family-wise p over all components. */
  pFamily: number;
}

/** Null mean and p of every component; `draws[c]` are the null values of component c. Values that are NaN are passed over. */
export function permutationTest(observed: ArrayLike<number>, draws: Float64Array[]): Permuted[] {
  const count = draws[0]?.length ?? 0;
  const scaled = draws.map((values, c) => {
    const finite = values.filter(Number.isFinite);
    const mean = average(finite);
    const sd = Math.sqrt(average(finite.map(value => (value - mean) ** 2)));
    // a constant null is left only by a value beyond rounding
    const scale = sd > TIE ? sd : TIE;
    return { mean, scale, observed: (observed[c] - mean) / scale, values: values.map(value => (value - mean) / scale) };
  });
  const largest = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  for (const { values } of scaled) {
    for (let i = 0; i < count; i++) if (values[i] > largest[i]) largest[i] = values[i];
  }
  const reached = (values: Float64Array, at: number) => values.filter(value => value >= at).length;
  return scaled.map(({ mean, scale, observed: score }, c) => ({
    mean,
    p: (1 + reached(draws[c], observed[c] - TIE)) / (1 + count),
    pFamily: (1 + reached(largest, score - TIE / scale - 1e-9)) / (1 + count),
  }));
}

const average = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;
