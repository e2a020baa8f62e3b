// Late spread over training seeds: an interval over texts says nothing about another training run. From five runs on, Student's
// interval and one-sided bound of the mean over runs; fewer runs are points without interval. For paired variants give the
// differences run by run.
import type { Contrast } from './contrast.ts';
import { type Verdict, verdictOf } from './contrasts.ts';
import type { Spread } from './spread.ts';
import { criticalT } from './student.ts';

export const FEWEST_SEEDS = 5;

/** Mean of one number per run with Student's interval; no interval under five runs. */
export function overSeeds(values: readonly number[]): Contrast {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const se = n > 1 ? Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1) / n) : null;
  const point = { plugIn: mean, estimate: mean, se };
  if (se === null || n < FEWEST_SEEDS) return { ...point, low: null, high: null, bound: null };
  const far = criticalT(0.05, n - 1) * se;
  return { ...point, low: mean - far, high: mean + far, bound: mean - criticalT(0.1, n - 1) * se };
}

export interface SeedSpread {
  runs: number;
  verdict: Verdict;
  index: Contrast;
  lateEarly: Contrast;
  lateMiddle: Contrast;
  earlyMiddle: Contrast;
}

/** The verdict of a variant from its runs, by the rule of one run with bounds over runs. Runs without contrasts are left out. */
export function spreadOverSeeds(runs: readonly Pick<Spread, 'contrasts'>[]): SeedSpread {
  const told = runs.flatMap(({ contrasts }) => (contrasts ? [contrasts] : []));
  const of = (name: 'index' | 'lateEarly' | 'lateMiddle' | 'earlyMiddle') =>
    overSeeds(told.map(contrasts => contrasts[name].estimate));
  const [lateEarly, lateMiddle, earlyMiddle] = [of('lateEarly'), of('lateMiddle'), of('earlyMiddle')];
  const verdict = verdictOf({ lateEarly, lateMiddle, earlyMiddle });
  return { runs: told.length, verdict, index: of('index'), lateEarly, lateMiddle, earlyMiddle };
}
