// Which experts stay when a share of all is dropped (Koishekenov et al. 2212.09811).
//   layer    the m best of every layer
//   global   of every layer the fewest whose scores sum to θ or more; θ is the largest that keeps no more than asked in all
// A layer always keeps the least number. Ties go to the lower id.
import { UserError } from '../errors.ts';
import { ranked } from './choose.ts';

export interface Budget {
  kind: 'layer' | 'global';
  /** Share of all experts to drop, 0 … below 1. */
  share: number;
  /** Experts that every layer keeps: k or more. */
  least: number;
}

/** Ids that stay, ascending, by layer. @param scores [E] by layer, each summing to 1
 *  @throws UserError where so many cannot be dropped */
export function keptExperts(scores: ReadonlyMap<number, Float64Array>, { kind, share, least }: Budget) {
  const counts = kind === 'layer' ? perLayer(scores, share) : byThreshold(scores, share, least);
  return new Map(
    [...scores].map(([layer, score_E], i) => {
      if (counts[i] < least)
        throw new UserError(
          `--share ${share} leaves ${counts[i]} of ${score_E.length} experts in layer ${layer}, fewer than ${least}; drop less.`,
        );
      return [
        layer,
        ranked(score_E)
          .slice(0, counts[i])
          .sort((a, b) => a - b),
      ];
    }),
  );
}

const perLayer = (scores: ReadonlyMap<number, Float64Array>, share: number): number[] =>
  Array.from(scores.values(), ({ length }) => length - Math.round(share * length));

function byThreshold(scores: ReadonlyMap<number, Float64Array>, share: number, least: number): number[] {
  const sums = Array.from(scores.values(), cumulated);
  const total = sums.reduce((sum, { length }) => sum + length, 0);
  const wanted = total - Math.round(share * total);
  const kept = (threshold: number): number[] => sums.map(sum_E => Math.max(least, fewest(sum_E, threshold)));
  const count = (counts: number[]): number => counts.reduce((sum, kept) => sum + kept, 0);
  const thresholds = [0, ...new Set(sums.flatMap(sum_E => [...sum_E]))].sort((a, b) => a - b);
  const fitting = thresholds.findLast(threshold => count(kept(threshold)) <= wanted);
  if (fitting === undefined)
    throw new UserError(
      `--share ${share} leaves ${wanted} experts for ${sums.length} layers that keep ${least} each; drop less.`,
    );
  return kept(fitting);
}

/** Running sums from the best expert down. */
function cumulated(score_E: Float64Array): Float64Array {
  let sum = 0;
  return Float64Array.from(ranked(score_E), e => {
    sum += score_E[e];
    return sum;
  });
}

/** Smallest number of experts whose sum reaches the threshold. */
function fewest(sum_E: Float64Array, threshold: number): number {
  const at = sum_E.findIndex(sum => sum >= threshold);
  return at < 0 ? sum_E.length : at + 1;
}
