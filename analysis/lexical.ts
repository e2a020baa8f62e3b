// The lexical control of M15: does routing know the language beyond the token's identity X? On the tokens whose id occurs in two
// languages, ten times in each:
//   I(Λ;E|X) = Σ_x P(x) · I(Λ;E|X = x)       beside I(Λ;E) of the same tokens; slots count as draws, languages by their tokens
//   null of the first    languages shuffled among the documents within x; of the second, among the versions of an item
//   ratio                (I(Λ;E|X) − its null) / (I(Λ;E) − its null): near 0, routing is token identity; near H(Λ|X) / H(Λ) ≤ 1, context
//   tokenAlone           I(Λ;E) if routing looked at the token alone, P(E|Λ,X) = P(E|X): what the different mix of tokens gives
// Counts of a token in a language are few, so that the null is a large part of I(Λ;E|X): compare excesses, not values.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { mutualInformation } from './information.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';
import { shuffle } from './shuffle.ts';
import { type TokenLog, type TypeRuns, typeRuns } from './token-log.ts';

export interface LexicalOptions {
  /** Occurrences that an id needs in a language. Default 10. */
  minimum?: number;
  random: () => number;
  /** Draws of the nulls. Default 50. */
  draws?: number;
}

const NAMES = [
  ...([
    'layer',
    'information',
    'conditional',
    'ratio',
    'tokens',
    'types',
    'informationNull',
    'conditionalNull',
  ] as const),
  ...(['informationExcess', 'conditionalExcess', 'tokenAlone', 'p', 'low', 'high'] as const),
];

/**
 * One row per layer, informations in nats: plug-in `information` and `conditional`, their nulls and excesses, `ratio` of the
 * excesses (null where language tells nothing beyond its null), p of `conditional`, and the 95 % jackknife interval of
 * `conditionalExcess` over blocks of items. Null where no id is shared.
 */
export function lexical(log: TokenLog, header: TraceHeader, options: LexicalOptions): ColumnTable {
  const { minimum = 10, random, draws = 50 } = options;
  const shared = sharedTypes(log, minimum);
  const types = shared.start.length - 1;
  const layers = header.moeLayers.length;
  const observed = informations(log, header, shared, languagesOf(log, shared));
  const within = Array.from({ length: draws }, () =>
    informations(log, header, shared, withinTypes(log, shared, random)),
  );
  const across = Array.from({ length: draws }, () =>
    informations(log, header, shared, acrossDocuments(log, header, shared, random), false),
  );
  const items = itemBlocks(header);
  const block = shared.order.map(t => items.of[log.document[t]]);
  const without = Array.from({ length: types > 0 ? items.blocks : 0 }, (_, left) => {
    const labels = languagesOf(log, shared).map((language, i) => (block[i] === left ? -1 : language));
    return informations(log, header, shared, labels).conditional;
  });
  const rows = Array.from({ length: layers }, (_, l) => {
    const layer = header.moeLayers[l];
    const empty = Object.fromEntries(NAMES.map(name => [name, null]));
    if (types === 0) return { ...empty, layer, tokens: 0, types };
    const [information, conditional] = [observed.information[l], observed.conditional[l]];
    const informationNull = mean(across.map(draw => draw.information[l]));
    const conditionalNull = mean(within.map(draw => draw.conditional[l]));
    const informationExcess = information - informationNull;
    const conditionalExcess = conditional - conditionalNull;
    const interval = blockEstimate(
      conditional,
      without.map(one => one[l]),
    );
    const reached = within.filter(draw => draw.conditional[l] >= conditional - 1e-12).length;
    const centre = conditionalExcess - interval.estimate;
    return {
      ...{ layer, information, conditional, informationNull, conditionalNull, informationExcess, conditionalExcess },
      ratio: informationExcess > 0 ? conditionalExcess / informationExcess : null,
      ...{ tokens: shared.order.length, types, p: (1 + reached) / (1 + draws) },
      tokenAlone: observed.tokenAlone[l],
      low: interval.low === null ? null : interval.low + centre,
      high: interval.high === null ? null : interval.high + centre,
    } as Record<(typeof NAMES)[number], number | null>;
  });
  return table(Object.fromEntries(NAMES.map(name => [name, rows.map(row => row[name as keyof typeof row])])));
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** Ids that two languages use `minimum` times each, with their tokens in those languages. */
function sharedTypes({ token, language }: TokenLog, minimum: number): TypeRuns {
  return typeRuns(token, (_, tokens) => {
    const counts = new Map<number, number>();
    for (const t of tokens) counts.set(language[t], (counts.get(language[t]) ?? 0) + 1);
    const enough = new Set([...counts].filter(([, n]) => n >= minimum).map(([l]) => l));
    return enough.size < 2 ? new Int32Array(0) : tokens.filter(t => enough.has(language[t]));
  });
}

const languagesOf = ({ language }: TokenLog, { order }: TypeRuns): Int32Array => order.map(t => language[t]);

/** Languages shuffled, inside each type, among the documents that contain it. */
function withinTypes({ language, document }: TokenLog, { order, start }: TypeRuns, random: () => number): Int32Array {
  const label = new Int32Array(order.length);
  for (let x = 0; x + 1 < start.length; x++) {
    const unit: number[] = [];
    for (let i = start[x]; i < start[x + 1]; i++) {
      if (i === start[x] || document[order[i]] !== document[order[i - 1]]) unit.push(i);
    }
    const labels = Int32Array.from(unit, i => language[order[i]]);
    shuffle(labels, random);
    for (const [u, first] of unit.entries()) label.fill(labels[u], first, unit[u + 1] ?? start[x + 1]);
  }
  return label;
}

/** Languages shuffled among the documents of an item; documents of items that occur once swap among themselves. */
function acrossDocuments(
  { language, document }: TokenLog,
  { documents }: TraceHeader,
  { order }: TypeRuns,
  random: () => number,
): Int32Array {
  const of = new Map<number, number>();
  for (const t of order) of.set(document[t], language[t]);
  const byItem = new Map<string, number[]>();
  for (const d of of.keys()) byItem.set(documents[d].item, [...(byItem.get(documents[d].item) ?? []), d]);
  const groups = [...byItem.values()];
  for (const group of [...groups.filter(one => one.length > 1), groups.filter(one => one.length === 1).flat()]) {
    const labels = Int32Array.from(group, d => of.get(d)!);
    shuffle(labels, random);
    for (const [i, d] of group.entries()) of.set(d, labels[i]);
  }
  return order.map(t => of.get(document[t])!);
}

/**
 * I(Λ;E|X), I(Λ;E) and the latter from the mix of tokens alone, per layer for tokens with these languages (−1 leaves a token out). With n counts,
 * N · I = Σ f(n_λe) − Σ f(n_λ) − Σ f(n_e) + f(N), f(n) = n log n.
 */
export function informations(
  { expert, none }: Pick<TokenLog, 'expert' | 'none'>,
  header: Pick<TraceHeader, 'moeLayers' | 'languages' | 'numExperts' | 'expertsPerToken'>,
  { order, start }: TypeRuns,
  language: Int32Array,
  withTypes = true,
): { conditional: Float64Array; information: Float64Array; tokenAlone: Float64Array } {
  const { numExperts: E, expertsPerToken: k, languages } = header;
  const L = header.moeLayers.length;
  const n = languages.length;
  const f = nLogN(order.length * k);
  const whole = new Float64Array(n * E);
  const local = new Float64Array(n * E);
  const [sumsOfLanguage, sumsOfExpert] = [new Float64Array(n), new Float64Array(E)];
  const place = new Int32Array(n).fill(-1);
  const mix = new Float64Array(n * E);
  const result = {
    conditional: new Float64Array(L),
    information: new Float64Array(L),
    tokenAlone: new Float64Array(L),
  };
  for (let l = 0; l < L; l++) {
    whole.fill(0);
    mix.fill(0);
    let [mass, total] = [0, 0];
    for (let x = 0; x + 1 < start.length; x++) {
      let present = 0;
      const members: number[] = [];
      for (let i = start[x]; i < start[x + 1]; i++) {
        const one = language[i];
        if (one < 0) continue;
        if (place[one] < 0) {
          place[one] = present++;
          members.push(one);
          local.fill(0, place[one] * E, (place[one] + 1) * E);
        }
        const base = place[one] * E;
        const slot = (order[i] * L + l) * k;
        for (let s = slot; s < slot + k; s++) {
          if (expert[s] === none) continue;
          if (withTypes) local[base + expert[s]]++;
          whole[one * E + expert[s]]++;
        }
      }
      for (const one of members) place[one] = -1;
      if (!withTypes) continue;
      const part = massTimesInformation(local, present, E, f, sumsOfLanguage, sumsOfExpert);
      mass += part.mass;
      total += part.total;
      for (const [row, one] of members.entries()) {
        const share = part.total > 0 ? sumsOfLanguage[row] / part.total : 0;
        for (let e = 0; e < E; e++) mix[one * E + e] += share * sumsOfExpert[e];
      }
    }
    const all = massTimesInformation(whole, n, E, f, sumsOfLanguage, sumsOfExpert);
    result.conditional[l] = total > 0 ? mass / total : Number.NaN;
    result.information[l] = all.total > 0 ? all.mass / all.total : Number.NaN;
    if (withTypes)
      result.tokenAlone[l] = mutualInformation(Array.from({ length: n }, (_, i) => mix.subarray(i * E, (i + 1) * E)));
  }
  return result;
}

function massTimesInformation(
  counts: Float64Array,
  rows: number,
  E: number,
  f: Float64Array,
  ofRow: Float64Array,
  ofExpert: Float64Array,
): { mass: number; total: number } {
  ofExpert.fill(0);
  let [mass, total] = [0, 0];
  for (let row = 0; row < rows; row++) {
    ofRow[row] = 0;
    for (let e = 0, cell = row * E; e < E; e++, cell++) {
      const count = counts[cell];
      if (count === 0) continue;
      ofRow[row] += count;
      ofExpert[e] += count;
      mass += f[count];
    }
    mass -= f[ofRow[row]];
    total += ofRow[row];
  }
  for (let e = 0; e < E; e++) mass -= f[ofExpert[e]];
  return { mass: mass + f[total], total };
}

function nLogN(most: number): Float64Array {
  const table = new Float64Array(most + 1);
  for (let n = 2; n <= most; n++) table[n] = n * Math.log(n);
  return table;
}
