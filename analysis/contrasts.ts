// Contrasts between bands of depth, and the verdict that follows from their one-sided 95 % bounds:
//   late spread   late − early > 0 and late − middle > 0
//   U-shape       early − middle > 0 and late − middle > 0
// A claim needs both of its conditions (intersection–union test), so the level needs no correction for there being two.
// Both claims together is a U whose end stands above its beginning. Index: late − max(early, middle), −1…1.
import type { Bands } from './bands.ts';
import { type Contrast, contrastOf, type OfProfile } from './contrast.ts';
import type { Distribution } from './resample.ts';

export type Verdict = 'late spread' | 'U-shape' | 'both' | 'neither' | 'cannot tell';
export interface Contrasts {
  /** Means over the bands. */
  early: Contrast;
  middle: Contrast;
  late: Contrast;
  index: Contrast;
  lateEarly: Contrast;
  lateMiddle: Contrast;
  earlyMiddle: Contrast;
}

/** All contrasts of a profile [L] over the bands. */
export function contrastsOf(profile: Distribution, bands: Bands): Contrasts {
  const [early, middle, late] = [meanOver(bands.early), meanOver(bands.middle), meanOver(bands.late)];
  const of = (f: OfProfile) => contrastOf(profile, f);
  return {
    early: of(early),
    middle: of(middle),
    late: of(late),
    index: of(d => late(d) - Math.max(early(d), middle(d))),
    lateEarly: of(d => late(d) - early(d)),
    lateMiddle: of(d => late(d) - middle(d)),
    earlyMiddle: of(d => early(d) - middle(d)),
  };
}

/** Mean of a profile over layers; NaN over none. */
export function meanOver(layers: number[]): OfProfile {
  return profile => layers.reduce((sum, layer) => sum + profile[layer], 0) / layers.length;
}

/** The verdict; "cannot tell" without bounds. */
export function verdictOf({
  lateEarly,
  lateMiddle,
  earlyMiddle,
}: Pick<Contrasts, 'lateEarly' | 'lateMiddle' | 'earlyMiddle'>): Verdict {
  const bounds = [lateEarly.bound, lateMiddle.bound, earlyMiddle.bound];
  if (bounds.some(bound => bound === null)) return 'cannot tell';
  const [aboveEarly, aboveMiddle, startsHigh] = bounds.map(bound => (bound ?? 0) > 0);
  if (aboveEarly && aboveMiddle) return startsHigh ? 'both' : 'late spread';
  return aboveMiddle && startsHigh ? 'U-shape' : 'neither';
}
