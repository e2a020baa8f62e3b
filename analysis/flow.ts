// M13, flow between layers: F_λ(e,f) = mean over tokens of w̃_a(e) · w̃_b(f), w̃ = the token's gates divided by their sum.
// Margins are the gate-view usage of layers a and b. All k × k pairs are used: pairing rank with rank is biased by score order.
// Inside a token the two choices count as independent, so information measured on F is a lower bound (ExFlow, 2401.08383).
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { entropyOf } from './entropy.ts';
import { mutualInformation } from './information.ts';
import type { Averaging } from './usage.ts';

export interface FlowRow {
  /** Layer numbers: mass leaves `source` in layer `from` and enters `target` in layer `to`. */
  from: number;
  to: number;
  /** Language code. */
  group: string;
  source: number;
  target: number;
  /** Share of the language's tokens; sums to 1 per language and pair of layers. */
  flow: number;
}

/**
 * Flow of each language between neighbouring MoE layers (or neighbours in `layers`). Only cells with mass are listed.
 * Tokens that are not recorded in both layers are left out. Averaging as in usage.ts.
 */
export function flow(
  slots: ColumnTable,
  header: TraceHeader,
  averaging: Averaging = 'documents',
  layers = header.moeLayers,
): ColumnTable {
  const rows: FlowRow[] = [];
  const tokens = indexTokens(slots);
  for (let i = 0; i + 1 < layers.length; i++)
    rows.push(...between(tokens, header, averaging, layers[i], layers[i + 1]));
  const names = ['from', 'to', 'group', 'source', 'target', 'flow'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

/** I(E_a;E_b) of a joint flow matrix whose cells sum to 1, and its share of the smaller margin's entropy, 0…1. */
export function dependence(joint: ArrayLike<number>[]): { information: number; normalised: number | null } {
  const information = mutualInformation(joint);
  const rows = joint.map(row => Array.from(row).reduce((a, b) => a + b, 0));
  const columns = Array.from(joint[0], (_, f) => joint.reduce((a, row) => a + row[f], 0));
  const smaller = Math.min(entropyOf(rows), entropyOf(columns));
  return { information, normalised: smaller > 0 ? information / smaller : null };
}

interface Tokens {
  /** First row of each token's slots, by layer; −1 where the token was not recorded. */
  start: Map<number, Int32Array>;
  document: Int32Array;
  columns: Record<'document' | 'language' | 'slot' | 'expert' | 'share', ArrayLike<number>>;
}

/** Numbers the tokens by (document, position) and finds the rows of each in every layer. */
function indexTokens(slots: ColumnTable): Tokens {
  const column = (name: string) => slots.array(name) as ArrayLike<number>;
  const [document, position, layer, slot] = ['document', 'position', 'layer', 'slot'].map(column);
  const length: number[] = [];
  for (let i = 0; i < slot.length; i++) length[document[i]] = Math.max(length[document[i]] ?? 0, position[i] + 1);
  const offset: number[] = [];
  let total = 0;
  for (let d = 0; d < length.length; d++) {
    offset[d] = total;
    total += length[d] ?? 0;
  }
  const start = new Map<number, Int32Array>();
  const documentOf = new Int32Array(total);
  for (let i = 0; i < slot.length; i++) {
    if (slot[i] !== 0) continue;
    const token = offset[document[i]] + position[i];
    documentOf[token] = document[i];
    if (!start.has(layer[i])) start.set(layer[i], new Int32Array(total).fill(-1));
    start.get(layer[i])![token] = i;
  }
  const columns = { document, slot, language: column('language'), expert: column('expert'), share: column('share') };
  return { start, document: documentOf, columns };
}

function between(tokens: Tokens, header: TraceHeader, averaging: Averaging, from: number, to: number): FlowRow[] {
  const { numExperts: E, languages } = header;
  const { columns, document } = tokens;
  const { slot, language, expert, share } = columns;
  const a = tokens.start.get(from) ?? new Int32Array(0);
  const b = tokens.start.get(to) ?? new Int32Array(0);
  const weight = tokenWeights(a, b, document, language, averaging, languages.length);
  const mass = languages.map(() => new Float64Array(E * E));
  const sameToken = (row: number, first: number) => row === first || (row < slot.length && slot[row] !== 0);
  for (let t = 0; t < a.length; t++) {
    if (weight[t] === 0) continue;
    const into = mass[language[a[t]]];
    for (let i = a[t]; sameToken(i, a[t]); i++) {
      for (let j = b[t]; sameToken(j, b[t]); j++) into[expert[i] * E + expert[j]] += weight[t] * share[i] * share[j];
    }
  }
  return mass.flatMap((cells, l) =>
    Array.from(cells, (value, c) => ({ value, c }))
      .filter(({ value }) => value > 0)
      .map(({ value, c }) => {
        return { from, to, group: languages[l].code, source: Math.floor(c / E), target: c % E, flow: value };
      }),
  );
}

/** Weight of each token so that a language's weights sum to 1: by document, or by token. */
function tokenWeights(
  a: Int32Array,
  b: Int32Array,
  document: Int32Array,
  language: ArrayLike<number>,
  averaging: Averaging,
  numLanguages: number,
): Float64Array {
  const both = (t: number) => a[t] >= 0 && b[t] >= 0;
  const inDocument = new Map<number, number>();
  const units = new Float64Array(numLanguages);
  for (let t = 0; t < Math.min(a.length, b.length); t++) {
    if (!both(t)) continue;
    const before = inDocument.get(document[t]) ?? 0;
    inDocument.set(document[t], before + 1);
    if (averaging === 'tokens' || before === 0) units[language[a[t]]]++;
  }
  return Float64Array.from(a, (row, t) => {
    if (!both(t)) return 0;
    const inUnit = averaging === 'tokens' ? 1 : inDocument.get(document[t])!;
    return 1 / (inUnit * units[language[row]]);
  });
}
