// What stands in a column of a flow picture: each expert, or, where there are too many to tell apart, bands of
// experts. A band is the family that uses its experts most compared with the others (lift, M9), “shared” what
// languages use alike (universality above .9), “other” the rest: dead experts and those of families beyond the seven
// largest.
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { expertFamilies } from './caption.ts';

/** More experts than this are drawn in bands. */
export const MOST_EXPERTS = 12;
const MOST_FAMILIES = 7;
/** Universality above which an expert counts as shared. */
export const SHARED = 0.9;

export interface Stop {
  name: string;
  /** What stands for the name where it does not fit. */
  mark: string;
  /** Index of its family; −1 where it has none. */
  family: number;
}
export interface Stops {
  kind: 'experts' | 'bands';
  stops: Stop[];
  /** Per layer number: the stop of each expert, and universality of each stop, its experts weighted by load. */
  of: Map<number, Int32Array>;
  universality: Map<number, number[]>;
  /** Whether a stop belongs to the language, or to its family in bands. */
  owns: (stop: number, language: TraceLanguage) => boolean;
}

/**
 * Bands if there are more than 12 experts and a universality table tells how to cut them, else every expert by
 * itself.
 */
export function stopsOf(header: TraceHeader, universality?: ColumnTable): Stops {
  return universality && header.numExperts > MOST_EXPERTS ? bands(header, universality) : experts(header, universality);
}

function experts(header: TraceHeader, table?: ColumnTable): Stops {
  const families = familiesOf(header);
  const stops = expertFamilies(header).map((family, e) => {
    return { name: header.expertNames[e], mark: `${e}`, family: family === null ? -1 : families.indexOf(family) };
  });
  const identity = Int32Array.from(stops, (_, e) => e);
  const of = new Map(header.moeLayers.map(layer => [layer, identity]));
  const universality = table ? meanUniversality(table, of, stops.length) : new Map();
  return { kind: 'experts', stops, of, universality, owns: (stop, language) => stop === language.expert };
}

/** The bands of every layer: up to seven families, shared, other. */
export function bands(header: TraceHeader, table: ColumnTable): Stops {
  const families = familiesOf(header);
  const size = (family: string) => header.languages.filter(language => language.family === family).length;
  const largest = [...families].sort((a, b) => size(b) - size(a)).slice(0, MOST_FAMILIES);
  const kept = families.filter(family => largest.includes(family));
  const named = kept.map((name, i) => ({ name, mark: `${i + 1}`, family: families.indexOf(name) }));
  const stops = [...named, { name: 'Shared', mark: 'S', family: -1 }, { name: 'Other', mark: 'O', family: -1 }];
  const [shared, other] = [kept.length, kept.length + 1];
  const of = new Map(header.moeLayers.map(layer => [layer, new Int32Array(header.numExperts).fill(other)]));
  const [layer, expert, evenness, family] = columnsOf(table, ['layer', 'expert', 'universality', 'family']);
  for (let i = 0; i < table.numRows(); i++) {
    const into = of.get(layer[i] as number);
    const own = kept.indexOf(family[i] as string);
    const even = typeof evenness[i] === 'number' && (evenness[i] as number) > SHARED;
    if (into && typeof evenness[i] === 'number') into[expert[i] as number] = even ? shared : own < 0 ? other : own;
  }
  const universality = meanUniversality(table, of, stops.length);
  const owns = (stop: number, { family }: TraceLanguage) => stops[stop].family === families.indexOf(family);
  return { kind: 'bands', stops, of, universality, owns };
}

/**
 * Load-weighted mean of U over the experts of each stop; 1 where it has none, so that it stands with the universal
 * ones.
 */
function meanUniversality(table: ColumnTable, of: Map<number, Int32Array>, count: number): Map<number, number[]> {
  const [layer, expert, evenness, load] = columnsOf(table, ['layer', 'expert', 'universality', 'load']);
  const sums = new Map([...of.keys()].map(l => [l, Array.from({ length: count }, () => ({ value: 0, weight: 0 }))]));
  for (let i = 0; i < table.numRows(); i++) {
    const stop = of.get(layer[i] as number)?.[expert[i] as number];
    if (stop === undefined || typeof evenness[i] !== 'number') continue;
    const sum = sums.get(layer[i] as number)![stop];
    sum.value += (evenness[i] as number) * (load[i] as number);
    sum.weight += load[i] as number;
  }
  const means = (list: { value: number; weight: number }[]) => list.map(s => (s.weight > 0 ? s.value / s.weight : 1));
  return new Map([...sums].map(([l, list]) => [l, means(list)]));
}

const columnsOf = (table: ColumnTable, names: string[]): ArrayLike<unknown>[] =>
  names.map(name => table.array(name) as ArrayLike<unknown>);
