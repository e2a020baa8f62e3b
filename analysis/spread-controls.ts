// Controls of late spread, each judged like the model itself:
//   untrained     the same texts through the same model with a fresh router: what the geometry of hidden states gives alone;
//                 and trained minus untrained, draw by draw on the same texts
//   same-script   only the languages of the commonest script: what is left when scripts cannot be told apart
//   lexical       information given the token's identity (M15) in place of D: what is left when words cannot be told apart
// Late spread is one of language only where the late excess is still there beside all of them.
import type { TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';
import { bandsOf } from './bands.ts';
import { difference } from './contrast.ts';
import { type Contrasts, contrastsOf, type Verdict, verdictOf } from './contrasts.ts';
import { profileStatistic } from './depth-profiles.ts';
import type { DocumentCounts } from './document-counts.ts';
import { type Distribution, distributions, type Resampling } from './resample.ts';
import type { SpreadOptions } from './spread.ts';

export interface SpreadControl {
  kind: 'untrained' | 'same-script' | 'lexical';
  label: string;
  contrasts: Contrasts;
  verdict: Verdict;
}
export interface ControlInputs {
  /** Counts of the same texts with an untrained router. */
  untrained?: DocumentCounts;
  /** Per MoE layer, in the header's order, I(Λ;E|X) in nats; null where unknown. */
  conditional?: readonly (number | null)[];
}
/** Label of the untrained router itself, beside the trained minus the untrained one. */
export const UNTRAINED = 'untrained router';
/** Languages that share a script, at least, for a comparison among them. */
const FEWEST_LANGUAGES = 3;

/** Every control that the inputs allow; `options` as for the model itself, so that draws are paired. Empty without depth. */
export function spreadControls(
  counts: DocumentCounts,
  header: TraceHeader,
  resampling: Resampling,
  options: SpreadOptions,
  { untrained, conditional }: ControlInputs = {},
): SpreadControl[] {
  const again = (of: DocumentCounts, only?: readonly number[]) => {
    const statistics = [{ ...profileStatistic, permute: false }];
    return distributions(of, header, statistics, { view: 'selection', ...options, only }).of.get('profile')!;
  };
  const bands = bandsOf(header.moeLayers.length);
  const judge = (kind: SpreadControl['kind'], label: string, profile: Distribution): SpreadControl => {
    const contrasts = contrastsOf(profile, bands);
    return { kind, label, contrasts, verdict: verdictOf(contrasts) };
  };
  const list: SpreadControl[] = [];
  if (untrained) {
    if (untrained.count.length !== counts.count.length) {
      throw new UserError('The trace of the untrained router has other MoE layers: trace the same model at step 0.');
    }
    const profile = again(untrained);
    list.push(judge('untrained', UNTRAINED, profile));
    list.push(judge('untrained', 'trained minus untrained', difference(resampling.of.get('profile')!, profile)));
  }
  const script = commonestScript(header, resampling.units.documents);
  if (script) {
    list.push(
      judge('same-script', `${script.languages.length} languages in ${script.name}`, again(counts, script.languages)),
    );
  }
  if (conditional?.every(nats => nats !== null)) {
    const n = resampling.units.documents.filter(documents => documents > 1).length;
    const plugIn = Float64Array.from(conditional, nats => nats / Math.log(n));
    list.push(judge('lexical', 'given the token', { plugIn, jackknife: [], bootstrap: [], permuted: [] }));
  }
  return list;
}

/** The script of most resampled languages; null if too few share one, or all do, so that nothing would change. */
function commonestScript(header: TraceHeader, documents: Int32Array): { name: string; languages: number[] } | null {
  const of = new Map<string, number[]>();
  for (const [l, { script }] of header.languages.entries()) {
    if (documents[l] > 1) of.set(script, [...(of.get(script) ?? []), l]);
  }
  const [name, languages] = [...of].sort((a, b) => b[1].length - a[1].length)[0] ?? ['', []];
  return of.size > 1 && languages.length >= FEWEST_LANGUAGES ? { name, languages } : null;
}
