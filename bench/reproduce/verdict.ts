// The verdict over training seeds: the four verdicts of analysis/contrasts.ts on the profile D_l = information − shuffled, with
// one-sided 95 % t-bounds over seeds instead of over texts; and whether early layers share, on pooled effective experts.
import { bandsOf } from '../../analysis/bands.ts';
import type { Contrast } from '../../analysis/contrast.ts';
import { meanOver, type Verdict, verdictOf } from '../../analysis/contrasts.ts';
import { criticalT } from '../../analysis/student.ts';
import { overSeeds } from './over-seeds.ts';
import type { LayerProfile } from './profile.ts';

export interface SeedVerdict {
  verdict: Verdict;
  /** D late − max(early, middle), late − early, late − middle, early − middle. */
  index: Contrast;
  lateEarly: Contrast;
  lateMiddle: Contrast;
  earlyMiddle: Contrast;
  /** The same verdict on own-expert mass instead of information. */
  ownVerdict: Verdict;
  /** Pooled effective experts, late − early. */
  concentration: Contrast;
  earlyShares: 'yes' | 'no' | 'cannot tell';
}

/** Judges the profiles of several seeds; "cannot tell" for fewer than three seeds or three layers. */
export function verdictOfSeeds(profiles: LayerProfile[][]): SeedVerdict {
  const bands = bandsOf(profiles[0].length);
  const [early, middle, late] = [meanOver(bands.early), meanOver(bands.middle), meanOver(bands.late)];
  const contrasts = (of: (layer: LayerProfile) => number) => {
    const over = (contrast: (d: number[]) => number) => contrastOfSeeds(profiles.map(seed => contrast(seed.map(of))));
    return {
      index: over(d => late(d) - Math.max(early(d), middle(d))),
      lateEarly: over(d => late(d) - early(d)),
      lateMiddle: over(d => late(d) - middle(d)),
      earlyMiddle: over(d => early(d) - middle(d)),
    };
  };
  const language = contrasts(layer => layer.information - layer.shuffled);
  const concentration = contrasts(layer => layer.pooledEffective).lateEarly;
  return {
    ...language,
    verdict: verdictOf(language),
    ownVerdict: verdictOf(contrasts(layer => layer.own)),
    concentration,
    earlyShares: concentration.bound === null ? 'cannot tell' : concentration.bound > 0 ? 'yes' : 'no',
  };
}

/** Mean over seeds with its 95 % t-interval and one-sided bound; none of these for fewer than three seeds. */
export function contrastOfSeeds(values: number[]): Contrast {
  const { n, mean, error, interval } = overSeeds(values);
  if (n < 3) return { plugIn: mean, estimate: mean, se: null, low: null, high: null, bound: null };
  const [low, high] = interval!;
  return { plugIn: mean, estimate: mean, se: error, low, high, bound: mean - criticalT(0.1, n - 1) * error };
}
