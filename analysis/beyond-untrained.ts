// Is a profile over depth more than routers drawn at random show on the same hidden states? An interval over texts cannot tell: it
// holds one router fixed, and one random router differs from the next. So the trained router is held against N untrained ones:
// with m and s the mean and standard deviation of a contrast over them and e its standard error over texts, a trained contrast c goes
// beyond them where c − m − t(.95, N − 1) · √(s² (1 + 1/N) + e²) > 0, the one-sided bound for one more draw.
// A claim of contrasts.ts then needs both bounds above 0: its own, and this one.
import type { Bands } from './bands.ts';
import { type Contrasts, meanOver, verdictOf } from './contrasts.ts';
import { profileStatistic } from './depth-profiles.ts';
import type { LanguageRows } from './document-counts.ts';
import type { BeyondUntrained, Spread } from './spread.ts';
import { criticalT } from './student.ts';

/** Untrained routers that a standard deviation needs. */
export const FEWEST_ROUTERS = 3;

/** Both tails together, for a one-sided 5 %. */
const ONE_SIDED = 0.1;
const NAMES = ['lateEarly', 'lateMiddle', 'earlyMiddle'] as const;

/** The test of late spread with its verdict held against untrained routers; unchanged with fewer than three of them or without bounds. */
export function heldAgainst(spread: Spread, untrained: LanguageRows[]): Spread {
  const { bands, contrasts } = spread;
  if (untrained.length < FEWEST_ROUTERS || !bands || !contrasts || spread.verdict === 'cannot tell') return spread;
  const profiles = untrained.map(rows => profileStatistic.of(rows));
  const mean = {} as BeyondUntrained['mean'];
  const bound = {} as BeyondUntrained['bound'];
  for (const name of NAMES) {
    const values = profiles.map(profile => contrastIn(profile, bands, name));
    const { plugIn, se } = contrasts[name];
    const N = values.length;
    mean[name] = values.reduce((a, b) => a + b, 0) / N;
    const variance = values.reduce((sum, value) => sum + (value - mean[name]) ** 2, 0) / (N - 1);
    bound[name] =
      plugIn - mean[name] - criticalT(ONE_SIDED, N - 1) * Math.sqrt(variance * (1 + 1 / N) + (se ?? 0) ** 2);
  }
  const lower = (name: (typeof NAMES)[number]) => ({
    ...contrasts[name],
    bound: Math.min(contrasts[name].bound ?? -1, bound[name]),
  });
  const both: Contrasts = { ...contrasts, ...Object.fromEntries(NAMES.map(name => [name, lower(name)])) };
  const beyond = { routers: untrained.length, byTexts: spread.verdict, mean, bound };
  return { ...spread, verdict: verdictOf(both), beyond };
}

function contrastIn(profile: ArrayLike<number>, bands: Bands, name: (typeof NAMES)[number]): number {
  const [early, middle, late] = [bands.early, bands.middle, bands.late].map(band => meanOver(band)(profile));
  return { lateEarly: late - early, lateMiddle: late - middle, earlyMiddle: early - middle }[name];
}
