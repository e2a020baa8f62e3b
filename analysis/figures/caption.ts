// The words that every figure carries: what was counted, in which view, on which model and run.
import type { TraceHeader } from '../../routing/trace.ts';
import type { View } from '../document-counts.ts';
import { familiesOf } from '../table.ts';
import type { Averaging } from '../usage.ts';
import { rankColour } from './palette.ts';

export interface Provenance {
  header: TraceHeader;
  step: number | null;
  /** Tokens and documents behind the numbers; null where only counts were traced. */
  tokens: number;
  documents: number | null;
}

export const VIEW_WORDS: Record<View, string> = {
  selection: 'selection (which experts a token chose)',
  gate: 'gate (how a token’s weight is split over its experts)',
  softmax: 'softmax (mean probability before the choice)',
};
const ROUTING_WORDS = {
  free: 'plain top-k, no language ids',
  forced: 'language expert forced',
  hinted: 'language expert hinted',
};

/** “View … · averaging … · model, run, step · tokens.” */
export function provenance({ header, step, tokens, documents }: Provenance, view: View, averaging: Averaging): string {
  const many = (n: number) => n.toLocaleString('en-US');
  const counted =
    documents === null ? `${many(tokens)} tokens` : `${many(tokens)} tokens in ${many(documents)} documents`;
  const weight =
    averaging === 'documents' ? 'documents, then languages count equally' : 'tokens pooled, languages count equally';
  const routing = ROUTING_WORDS[header.routing].replace('top-k', `top-${header.expertsPerToken}`);
  const at = step === null ? '' : `, step ${step}`;
  const fresh = header.untrainedRouter === undefined ? '' : `, routers drawn anew (seed ${header.untrainedRouter})`;
  const shares = header.gates === 'absent' && view === 'gate' ? ' Gates were not recorded: shares are equal.' : '';
  return `View: ${VIEW_WORDS[view]}; ${weight}. Model ${header.model}, run ${header.run}${at}; ${routing}${fresh}. ${counted}.${shares}`;
}

/** Footnote on zero-text languages: no running text in training, at most words such as names of days. Empty when none. */
export function zeroTextNote(header: TraceHeader): string {
  const names = header.languages.filter(l => l.trainingBytes === 0).map(l => l.name);
  return names.length === 0 ? '' : `‡ zero-text, trained on no running text: ${names.join(', ')}.`;
}

/** At most `most` layers: all if they fit, else evenly spread with the first and the last. */
export function pickLayers(layers: number[], most: number): number[] {
  if (layers.length <= most) return layers;
  const step = (layers.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, i) => layers[Math.round(i * step)]);
}

/** Families of the languages that own each expert; `null` where none or several families share it. */
export function expertFamilies(header: TraceHeader): (string | null)[] {
  return header.expertNames.map((_, e) => {
    const owners = new Set(header.languages.filter(l => l.expert === e).map(l => l.family));
    return owners.size === 1 ? [...owners][0] : null;
  });
}

/** “3 Kongolese”; a name that is only a number in words stands alone. */
export function expertLabel({ expertNames }: TraceHeader, expert: number): string {
  const name = expertNames[expert] ?? '';
  return name === '' || name === `expert ${expert}` ? `expert ${expert}` : `${expert} ${name}`;
}

/** One colour per family, in the order of familiesOf: ranked by number of languages. */
export function familyHues(header: TraceHeader): string[] {
  const families = familiesOf(header);
  const size = (family: string) => header.languages.filter(language => language.family === family).length;
  const ranked = [...families].sort((a, b) => size(b) - size(a) || families.indexOf(a) - families.indexOf(b));
  return families.map(family => rankColour(ranked.indexOf(family)));
}
