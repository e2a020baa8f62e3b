// M4, divergence from a pivot language, at the level of the corpus: rows first, divergence once (far less biased than per item).
//   js        JSD(q_λ, q_pivot), 0…ln 2          distance    √(JSD / ln 2), a metric, 0…1: the default figure
//   h_js      JSD / (log E − (H(q_λ) + H(q_pivot)) / 2), 0…1 (Bandarkar et al. 2510.04694, Eq. 8). It is 1 only if the midpoint
//             is uniform over all experts, inflated for flat rows, and null where the denominator is below 1e-8.
// `baseline` is the distance of two halves of the same language (divergence-baseline.ts), `excess` the distance minus that.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Estimate, LanguageRows } from './document-counts.ts';
import { entropyOf } from './entropy.ts';
import { rowOf } from './overlap.ts';
import { distanceOf } from './pivot-distance.ts';

/** Denominators below this are 0 / 0: two uniform rows. */
const NO_ROOM = 1e-8;

/** JSD in nats of two rows that sum to 1. */
export function jensenShannon(p: ArrayLike<number>, q: ArrayLike<number>): number {
  const middle = Array.from(p, (value, e) => (value + q[e]) / 2);
  return Math.max(0, entropyOf(middle) - (entropyOf(p) + entropyOf(q)) / 2);
}

/** JSD by the room that the two entropies leave to it; null where they leave none. */
export function entropyNormalised(p: ArrayLike<number>, q: ArrayLike<number>): number | null {
  const room = Math.log(p.length) - (entropyOf(p) + entropyOf(q)) / 2;
  return room < NO_ROOM ? null : jensenShannon(p, q) / room;
}

/** English, or else the language with most training text, or else the first: what others are compared with by default. */
export function pivotOf({ languages }: Pick<TraceHeader, 'languages'>): number {
  const english = languages.findIndex(({ code }) => code === 'en');
  if (english >= 0) return english;
  return languages.reduce(
    (best, { trainingBytes }, l) => (trainingBytes > languages[best].trainingBytes ? l : best),
    0,
  );
}

export interface DivergenceOptions {
  /** Index into the header's languages. */
  pivot?: number;
  /** [L · n] estimates of distanceStatistic of the same pivot. */
  estimates?: Estimate[];
  /** [L · n] same-language baseline of the distance. */
  baseline?: ArrayLike<number>;
}

/**
 * One row per layer and language: layer, group, js, distance, normalised (h_js), baseline, excess, low, high (of distance).
 * The pivot's own row is 0 with its baseline. Null for absent languages and where the pivot is absent.
 */
export function divergence(
  rows: LanguageRows,
  header: TraceHeader,
  { pivot = pivotOf(header), estimates, baseline }: DivergenceOptions = {},
): ColumnTable {
  const list = header.moeLayers.flatMap((layer, l) =>
    header.languages.map(({ code: group }, language) => {
      const at = l * rows.languages + language;
      const known = rows.present[language] === 1 && rows.present[pivot] === 1;
      const [q, centre] = [rowOf(rows, l, language), rowOf(rows, l, pivot)];
      const js = known ? jensenShannon(q, centre) : null;
      const distance = js === null ? null : distanceOf(js);
      const noise = baseline && Number.isFinite(baseline[at]) ? baseline[at] : null;
      const excess = distance === null || noise === null ? null : distance - noise;
      const normalised = known ? entropyNormalised(q, centre) : null;
      const { low = null, high = null } = (language === pivot ? undefined : estimates?.[at]) ?? {};
      return { layer, group, js, distance, normalised, baseline: noise, excess, low, high };
    }),
  );
  const names = ['layer', 'group', 'js', 'distance', 'normalised', 'baseline', 'excess', 'low', 'high'] as const;
  return table(Object.fromEntries(names.map(name => [name, list.map(row => row[name])])));
}
