// The test of "spread out in the end": is the language of a token easier to read from its experts in the last MoE layers than
// in the early and middle ones? Profile D_l (depth-profiles.ts), bands fixed in advance (bands.ts), verdict (contrasts.ts).
// Part (a) of the claim, early layers send everybody through a few shared experts: effective experts and mass nodes of the
// pooled row rise from early to late, and the overlap of languages falls.
import type { TraceHeader } from '../routing/trace.ts';
import { type Bands, bandsOf, noDepth } from './bands.ts';
import { type Contrast, contrastOf } from './contrast.ts';
import { type Contrasts, contrastsOf, meanOver, type Verdict, verdictOf } from './contrasts.ts';
import { profileStatistic, spreadStatistics } from './depth-profiles.ts';
import type { DocumentCounts, Estimate } from './document-counts.ts';
import { type Distribution, distributions, estimates, type ResampleOptions, type Resampling } from './resample.ts';

export interface Concentration {
  /** Late minus early: effective experts and mass nodes of the pooled row, overlap of two languages. */
  effective: Contrast;
  nodes: Contrast;
  overlap: Contrast;
  /** Whether early layers are shared by one-sided 95 % bounds: by all three, some or none. */
  verdict: 'yes' | 'partly' | 'no' | 'cannot tell';
}
/** The verdict held against routers drawn at random; see beyond-untrained.ts. */
export interface BeyondUntrained {
  routers: number;
  /** The verdict by the texts alone. */
  byTexts: Verdict;
  /** Mean of each contrast over the untrained routers, and the bound of trained minus that. */
  mean: Record<'lateEarly' | 'lateMiddle' | 'earlyMiddle', number>;
  bound: Record<'lateEarly' | 'lateMiddle' | 'earlyMiddle', number>;
}
export interface Spread {
  verdict: Verdict;
  /** Why it cannot be told; null otherwise. */
  reason: string | null;
  /** Indices into the header's moeLayers. */
  bands: Bands | null;
  /** D per MoE layer; pFamily tests "no language in this layer" over all layers at once. */
  profile: Estimate[];
  contrasts: Contrasts | null;
  /** The same with the last two layers as the end. */
  lastTwo: Contrasts | null;
  concentration: Concentration | null;
  /** The same judgement of the mean distance to the pivot (meanDistanceStatistic), where that was resampled too. */
  distance: { verdict: Verdict; contrasts: Contrasts } | null;
  /** Index that texts like these would show as late spread 8 times in 10, from the standard errors. */
  smallest: number | null;
  /** The verdict against untrained routers, where enough of them were traced. */
  beyond?: BeyondUntrained;
  /** Languages compared, and how many texts each has. */
  languages: number;
  units: { kind: 'items' | 'documents'; number: number };
}

/** Standard errors between 0 and an effect that a one-sided 5 % test finds with probability 0.8. */
const DETECTABLE = 2.487;

export type SpreadOptions = Omit<ResampleOptions, 'view'> & { view?: ResampleOptions['view'] };

/** Resamples and judges. Selection view, each document counting once, unless said otherwise. */
export function spread(counts: DocumentCounts, header: TraceHeader, options: SpreadOptions): Spread {
  const resampling = distributions(counts, header, spreadStatistics, { view: 'selection', ...options });
  return spreadOf(resampling, header);
}

/** Judges from replicates of `spreadStatistics`. */
export function spreadOf({ of, units, reason }: Resampling, header: TraceHeader): Spread {
  const profile = of.get('profile')!;
  const known = {
    profile: estimates(profileStatistic, profile, reason),
    languages: units.documents.filter(n => n > 1).length,
    units: { kind: units.kind, number: units.typical },
  };
  const impossible = noDepth(header) ?? (profile.plugIn.every(Number.isFinite) ? null : noComparison(known.languages));
  if (impossible) {
    const nothing = {
      bands: null,
      contrasts: null,
      lastTwo: null,
      concentration: null,
      distance: null,
      smallest: null,
    };
    return { verdict: 'cannot tell', reason: impossible, ...nothing, ...known };
  }
  const L = header.moeLayers.length;
  const bands = bandsOf(L);
  const contrasts = contrastsOf(profile, bands);
  const { lateEarly, lateMiddle } = contrasts;
  return {
    verdict: verdictOf(contrasts),
    reason,
    bands,
    contrasts,
    lastTwo: contrastsOf(profile, bandsOf(L, 'last-two')),
    concentration: concentrationOf(of, bands),
    distance: distanceOf(of.get('mean distance'), bands),
    smallest: lateEarly.se && lateMiddle.se && DETECTABLE * Math.max(lateEarly.se, lateMiddle.se),
    ...known,
  };
}

function distanceOf(profile: Distribution | undefined, bands: Bands): Spread['distance'] {
  if (!profile?.plugIn.every(Number.isFinite)) return null;
  const contrasts = contrastsOf(profile, bands);
  return { verdict: verdictOf(contrasts), contrasts };
}

function noComparison(languages: number): string {
  if (languages === 0) return 'no language has two documents with counted tokens';
  return languages === 1 ? 'only one language has two documents or more' : 'a layer routed no counted token';
}

/** Part (a), from the same draws; the overlap has an interval from its jackknife. */
export function concentrationOf(of: Map<string, Distribution>, bands: Bands): Concentration {
  const [early, late] = [meanOver(bands.early), meanOver(bands.late)];
  const rise = (profile: Distribution) => contrastOf(profile, d => late(d) - early(d), true);
  // numbers of experts are whole: a jackknife of them says nothing
  const nodes = rise({ ...of.get('nodes')!, jackknife: [] });
  const [effective, overlap] = [rise(of.get('effective')!), rise(of.get('overlap')!)];
  const less = contrastOf(of.get('overlap')!, d => early(d) - late(d), true);
  const bounds = [effective.bound, nodes.bound, less.bound];
  const shown = bounds.filter(bound => bound !== null && bound > 0).length;
  const unknown = bounds.some(bound => bound === null);
  const verdict = unknown ? 'cannot tell' : shown === 3 ? 'yes' : shown === 0 ? 'no' : 'partly';
  return { effective, nodes, overlap, verdict };
}
