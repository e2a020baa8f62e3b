// M13, flow between layers: F_λ(e,f) = mean over tokens of w̃_a(e) · w̃_b(f), w̃ = the token's gates divided by their sum.
// Margins are the gate-view usage of layers a and b. All k × k pairs are used: pairing rank with rank is biased by score order.
// Pairs of layers at any distance are counted from the tokens, never multiplied together from neighbours.
//   affinity      P(f | e) = F(e,f) / Σ_f F(e,f)                                    (ExFlow, 2401.08383)
//   information   I(E_a;E_b) of the mean over languages, and I(E_a;E_b|Λ) = mean_λ of each language's own: language alone
//                 makes layers depend on each other. Inside a token the two choices count as independent, so both are lower bounds.
//   null          the layer-b rows shuffled among the tokens of a document: what document and language alone explain
import { type ColumnTable, table } from 'arquero';
import type { Trace, TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';
import { collectNow } from './collect.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';
import { blocksOf } from './read/stream.ts';
import { shuffle } from './shuffle.ts';
import type { Averaging } from './usage.ts';

export interface FlowOptions {
  /** Pairs of layer numbers; neighbours by default. */
  pairs?: [number, number][];
  /** Default `documents`: each document counts once. */
  averaging?: Averaging;
  /** Numbers in [0, 1) for the null; without it there is none. */
  random?: () => number;
}

export interface FlowSums {
  pairs: [number, number][];
  /** Per pair [n · E · E]: Σ weight · w̃_a(e) · w̃_b(f), unnormalised. */
  joint: Float64Array[];
  shuffled: Float64Array[] | null;
  /** Per pair [blocks · E · E], over languages weighted as their share of documents in the header asks. */
  inBlock: Float64Array[];
  blocks: number;
}

/** Neighbouring MoE layers, or neighbours in a list. */
export const neighbours = (layers: number[]): [number, number][] =>
  layers.slice(1).map((layer, i) => [layers[i], layer] as [number, number]);

/** Sums 8 · pairs · E² · (n + 20) bytes, n more with the null. Tokens without slots in both layers are left out. */
export function flowCollector(header: TraceHeader, options: FlowOptions = {}): Collector<FlowSums> {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k } = header;
  const { averaging = 'documents', random, pairs = neighbours(moeLayers) } = options;
  const { blocks, of } = itemBlocks(header);
  const L = moeLayers.length;
  const indices = pairs.map(([a, b]) => [moeLayers.indexOf(a), moeLayers.indexOf(b)]);
  const cells = (groups: number) => pairs.map(() => new Float64Array(groups * E * E));
  const sums: FlowSums = {
    pairs,
    joint: cells(languages.length),
    shuffled: random ? cells(languages.length) : null,
    inBlock: cells(blocks),
    blocks,
  };
  const ofLanguage = new Map(languages.map(({ code }) => [code, 0]));
  for (const { language } of header.documents) ofLanguage.set(language, (ofLanguage.get(language) ?? 0) + 1);
  const languageWeight = languages.map(({ code }) => (averaging === 'documents' ? 1 / (ofLanguage.get(code) || 1) : 1));
  return {
    add(block: DocumentBlock) {
      const { language, document } = block;
      const offset = language * E * E;
      for (const [p, [a, b]] of indices.entries()) {
        const tokens = tokensInBoth(block, a, b, L, k);
        const weight = averaging === 'documents' ? 1 / tokens.length : 1;
        const own: Target = { mass: sums.joint[p], offset, weight };
        const pooled = { ...{ mass: sums.inBlock[p], offset: of[document] * E * E }, weight: languageWeight[language] };
        addProducts(block, tokens, a, tokens, b, header, own, pooled);
        if (!sums.shuffled || !random) continue;
        const others = tokens.slice();
        shuffle(others, random);
        addProducts(block, tokens, a, others, b, header, { mass: sums.shuffled[p], offset, weight });
      }
    },
    finish: () => sums,
  };
}

/** Counted tokens with a slot in both layers. */
function tokensInBoth({ counted, expert }: DocumentBlock, a: number, b: number, L: number, k: number): Int32Array {
  const tokens = new Int32Array(counted.length);
  let n = 0;
  const any = (start: number) => {
    for (let i = start; i < start + k; i++) if (expert[i] >= 0) return true;
    return false;
  };
  for (let t = 0; t < counted.length; t++) {
    if (counted[t] === 1 && any((t * L + a) * k) && any((t * L + b) * k)) tokens[n++] = t;
  }
  return tokens.subarray(0, n);
}

/** An E × E matrix that starts at `offset` of `mass`, and what its entries are multiplied by. */
interface Target {
  mass: Float64Array;
  offset: number;
  weight: number;
}

/** Adds w̃_a of token `from[i]` × w̃_b of token `to[i]` for every i; to `pooled` too, times the weights of both. */
function addProducts(
  { expert, share }: DocumentBlock,
  from: Int32Array,
  a: number,
  to: Int32Array,
  b: number,
  { moeLayers: { length: L }, expertsPerToken: k, numExperts: E }: TraceHeader,
  own: Target,
  pooled?: Target,
): void {
  const into = own.mass;
  const also = pooled?.mass;
  const factor = pooled?.weight ?? 0;
  for (let i = 0; i < from.length; i++) {
    const x = (from[i] * L + a) * k;
    const y = (to[i] * L + b) * k;
    for (let s = x; s < x + k; s++) {
      if (expert[s] < 0) continue;
      const row = own.offset + expert[s] * E;
      const second = (pooled?.offset ?? 0) + expert[s] * E;
      const mass = own.weight * share[s];
      for (let u = y; u < y + k; u++) {
        if (expert[u] < 0) continue;
        const product = mass * share[u];
        into[row + expert[u]] += product;
        if (also) also[second + expert[u]] += product * factor;
      }
    }
  }
}

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

/** Flow of each language through every collected pair of layers (or those in `pairs`). Only cells with mass are listed. */
export function flowTable(sums: FlowSums, header: TraceHeader, pairs = sums.pairs): ColumnTable {
  const { numExperts: E, languages } = header;
  const rows = { from: [], to: [], group: [], source: [], target: [], flow: [] } as {
    [Name in keyof FlowRow]: FlowRow[Name][];
  };
  for (const [from, to] of pairs) {
    const joint = sums.joint[pairIndex(sums, from, to)];
    for (const [l, { code }] of languages.entries()) {
      const total = massOf(joint, l * E * E, E * E);
      for (let cell = 0; cell < E * E; cell++) {
        const mass = joint[l * E * E + cell];
        if (mass === 0) continue;
        rows.from.push(from);
        rows.to.push(to);
        rows.group.push(code);
        rows.source.push(Math.floor(cell / E));
        rows.target.push(cell % E);
        rows.flow.push(mass / total);
      }
    }
  }
  return table(rows);
}

/** Flow through a trace in memory. */
export function flow(trace: Trace, options: FlowOptions & { dropFirst?: boolean } = {}): ColumnTable {
  const sums = collectNow(blocksOf(trace, options), flowCollector(trace.header, options));
  return flowTable(sums, trace.header);
}

/** P(f | e) of one pair of layers, languages weighted equally: [E · E], rows sum to 1 or, for an expert without mass, are 0. */
export function affinity(sums: FlowSums, header: TraceHeader, from: number, to: number): Float64Array {
  const E = header.numExperts;
  const mean = meanOverLanguages(sums.joint[pairIndex(sums, from, to)], header.languages.length, E);
  for (let e = 0; e < E; e++) {
    const row = massOf(mean, e * E, E);
    for (let f = 0; f < E; f++) mean[e * E + f] = row > 0 ? mean[e * E + f] / row : 0;
  }
  return mean;
}

/**
 * One row per pair of layers: information I(E_a;E_b) in nats, normalised by the smaller margin's entropy, conditional
 * I(E_a;E_b|Λ) and normalised the same, both under the null (null without it), and the jackknife over blocks of items of the
 * first. Null where nothing was counted.
 */
export function flowInformation(sums: FlowSums, header: TraceHeader): ColumnTable {
  const { numExperts: E, languages } = header;
  const n = languages.length;
  const rows = sums.pairs.map(([from, to], p) => {
    const mean = meanOverLanguages(sums.joint[p], n, E);
    const whole = dependence(mean, 0, E);
    const own = conditional(sums.joint[p], n, E);
    const shuffled = sums.shuffled?.[p];
    const interval = whole ? blockEstimate(whole.information, withoutBlocks(sums.inBlock[p], sums.blocks, E)) : null;
    return {
      ...{ from, to, information: whole?.information ?? null, normalised: whole?.normalised ?? null },
      ...{ conditional: own?.information ?? null, conditionalNormalised: own?.normalised ?? null },
      nullMean: shuffled ? (dependence(meanOverLanguages(shuffled, n, E), 0, E)?.information ?? null) : null,
      conditionalNull: shuffled ? (conditional(shuffled, n, E)?.information ?? null) : null,
      ...{ estimate: interval?.estimate ?? null, se: interval?.se ?? null },
      ...{ low: interval?.low ?? null, high: interval?.high ?? null },
    };
  });
  const names = [
    ...(['from', 'to', 'information', 'normalised', 'conditional', 'conditionalNormalised'] as const),
    ...(['nullMean', 'conditionalNull', 'estimate', 'se', 'low', 'high'] as const),
  ];
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

export interface Dependence {
  information: number;
  normalised: number | null;
}

/**
 * I(E_a;E_b) of the E × E masses at `offset` (they need not sum to 1), and its share of the smaller margin's entropy, 0…1 (null
 * where that entropy is 0). Null without mass.
 */
export function dependence(joint: ArrayLike<number>, offset: number, E: number): Dependence | null {
  const rows = new Float64Array(E);
  const columns = new Float64Array(E);
  let [total, cells] = [0, 0];
  for (let e = 0, i = offset; e < E; e++) {
    for (let f = 0; f < E; f++, i++) {
      const mass = joint[i];
      if (mass <= 0) continue;
      rows[e] += mass;
      columns[f] += mass;
      total += mass;
      cells += mass * Math.log(mass);
    }
  }
  if (total === 0) return null;
  const entropy = (masses: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < masses.length; i++) if (masses[i] > 0) sum += masses[i] * Math.log(masses[i]);
    return Math.log(total) - sum / total;
  };
  const [a, b] = [entropy(rows), entropy(columns)];
  const information = a + b - (Math.log(total) - cells / total);
  return { information, normalised: Math.min(a, b) > 1e-12 ? information / Math.min(a, b) : null };
}

/** Mean over the languages that have mass. */
function conditional(joint: Float64Array, n: number, E: number): Dependence | null {
  const own = Array.from({ length: n }, (_, l) => dependence(joint, l * E * E, E)).filter(one => one !== null);
  if (own.length === 0) return null;
  const mean = (values: number[]) => (values.length > 0 ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const shares = own.map(one => one.normalised).filter(value => value !== null);
  return { information: mean(own.map(one => one.information)) ?? 0, normalised: mean(shares) };
}

function withoutBlocks(inBlock: Float64Array, blocks: number, E: number): number[] {
  const whole = new Float64Array(E * E);
  for (let i = 0; i < inBlock.length; i++) whole[i % (E * E)] += inBlock[i];
  return Array.from({ length: blocks }, (_, block) => {
    // Rounding may leave less than nothing where a block had all.
    const rest = whole.map((mass, cell) => Math.max(0, mass - inBlock[block * E * E + cell]));
    return dependence(rest, 0, E)?.information ?? Number.NaN;
  });
}

/** Each language's matrix normalised to 1, then their mean; languages without mass are left out. */
function meanOverLanguages(joint: Float64Array, n: number, E: number): Float64Array {
  const mean = new Float64Array(E * E);
  const totals = Array.from({ length: n }, (_, l) => massOf(joint, l * E * E, E * E));
  const present = totals.filter(total => total > 0).length;
  for (const [l, total] of totals.entries()) {
    if (total === 0) continue;
    for (let cell = 0; cell < E * E; cell++) mean[cell] += joint[l * E * E + cell] / total / present;
  }
  return mean;
}

function massOf(values: Float64Array, offset: number, length: number): number {
  let sum = 0;
  for (let i = offset; i < offset + length; i++) sum += values[i];
  return sum;
}

function pairIndex(sums: FlowSums, from: number, to: number): number {
  const index = sums.pairs.findIndex(([a, b]) => a === from && b === to);
  if (index < 0) throw new Error(`flow from layer ${from} to ${to} was not collected`);
  return index;
}
