// Delete-one-block jackknife: with g blocks of units and θ_b the statistic without block b,
//   bias = (g − 1)(θ̄ − θ̂),   corrected = θ̂ − bias,   se² = (g − 1)/g · Σ (θ_b − θ̄)²   (Quenouille 1956, Tukey 1958).
// As many blocks as units is the delete-one jackknife. Units are dealt over the blocks in a shuffled order.
import type { Choice } from './rows.ts';
import { everyDocument } from './rows.ts';
import { shuffle } from './shuffle.ts';
import type { Units } from './units.ts';

/** One choice of documents per block: all but that block's. No block where nothing can be deleted. */
export function jackknifeChoices(
  units: Units,
  language: Int32Array,
  languages: number,
  most: number,
  random: () => number,
): Choice[] {
  const blocks = Math.min(
    most,
    units.strata.reduce((n, stratum) => Math.max(n, stratum.length), 0),
  );
  if (blocks < 2) return [];
  const block = new Int32Array(language.length).fill(-1);
  let next = 0;
  for (const stratum of units.strata) {
    const order = Int32Array.from(stratum, (_, u) => u);
    shuffle(order, random);
    for (const u of order) {
      for (const d of stratum[u]) block[d] = next;
      next = (next + 1) % blocks;
    }
  }
  return Array.from({ length: blocks }, (_, b) => {
    const kept = units.kept.map((keep, d) => (keep === 1 && block[d] !== b ? 1 : 0));
    return everyDocument(language, languages, kept);
  });
}

/** Corrected value and standard error of one component from its replicates; replicates that are NaN are passed over. */
export function jackknife(plugIn: number, replicates: ArrayLike<number>): { estimate: number; se: number | null } {
  const values = Array.from(replicates).filter(Number.isFinite);
  const g = values.length;
  if (g < 2 || !Number.isFinite(plugIn)) return { estimate: plugIn, se: null };
  const mean = values.reduce((a, b) => a + b, 0) / g;
  const spread = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { estimate: plugIn - (g - 1) * (mean - plugIn), se: Math.sqrt(((g - 1) / g) * spread) };
}
