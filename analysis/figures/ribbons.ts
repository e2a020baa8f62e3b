// The ribbons of the flow picture as numbers: what flows from where to where, before anything is drawn. Stage 0: each
// language into the stops of the first drawn layer; stage i: each family from layer to layer. A stage sums to 1.
import { type ColumnTable, from } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { barycentreOrder } from './order.ts';
import type { Stops } from './stops.ts';

/** A ribbon with this share of its language or family is never merged. */
export const KEPT_OF_GROUP = 0.1;

/** A ribbon: mass of one family's languages (a single language in the first stage) between two nodes. */
export interface Ribbon {
  stage: number;
  source: number;
  target: number;
  /** Index of the family, −1 when merged. */
  family: number;
  value: number;
  own: boolean;
}

/**
 * Unmerged ribbons: stage 0 per language and stop, later stages per family and pair of stops. Each stage sums to 1.
 * `first` holds the gate shares of the first drawn layer by language code, `flows` is the M13 table by language.
 */
export function ribbonsOf(
  languages: TraceLanguage[],
  first: Map<string, Float64Array | null>,
  flows: ColumnTable,
  layers: number[],
  stops: Stops,
  header: TraceHeader,
): Ribbon[] {
  const families = familiesOf(header);
  const n = languages.filter(l => first.get(l.code)).length;
  const S = stops.stops.length;
  const into = stops.of.get(layers[0])!;
  const entering = languages.flatMap((language, source) => {
    const mass = new Float64Array(S);
    for (const [e, share] of first.get(language.code)?.entries() ?? []) mass[into[e]] += share / n;
    const family = families.indexOf(language.family);
    return Array.from(mass, (value, target): Ribbon => {
      return { stage: 0, source, target, family, value, own: stops.owns(target, language) };
    });
  });
  const owned = families.map(family => {
    const members = languages.filter(language => language.family === family);
    return stops.stops.map((_, stop) => members.some(language => stops.owns(stop, language)));
  });
  const later = stageMasses(flows, layers, stops, header).flatMap((mass, i) =>
    Array.from(mass, (value, cell): Ribbon => {
      const [family, source, target] = [Math.floor(cell / (S * S)), Math.floor(cell / S) % S, cell % S];
      return { stage: i + 1, source, target, family, value: value / n, own: owned[family][target] };
    }),
  );
  return [...entering, ...later].filter(ribbon => ribbon.value > 0);
}

/** Mass per family × stop × stop of each stage after the first; each language weighs 1. */
function stageMasses(flows: ColumnTable, layers: number[], { stops, of }: Stops, header: TraceHeader): Float64Array[] {
  const families = familiesOf(header);
  const S = stops.length;
  const familyOf = new Map(header.languages.map(l => [l.code, families.indexOf(l.family)]));
  const masses = layers.slice(1).map(() => new Float64Array(families.length * S * S));
  const [start, end, group, source, target, flow] = ['from', 'to', 'group', 'source', 'target', 'flow'].map(
    name => flows.array(name) as ArrayLike<unknown>,
  );
  for (let i = 0; i < flows.numRows(); i++) {
    const stage = layers.indexOf(start[i] as number);
    const family = familyOf.get(group[i] as string);
    if (stage < 0 || layers[stage + 1] !== end[i] || family === undefined) continue;
    const a = of.get(layers[stage])![source[i] as number];
    const b = of.get(layers[stage + 1])![target[i] as number];
    masses[stage][(family * S + a) * S + b] += flow[i] as number;
  }
  return masses;
}

export type Order = 'barycentre' | 'entropic' | 'fixed';

/**
 * Order of the stops of each layer, top to bottom: fewest crossings, specialist to universal, or as they are
 * numbered.
 */
export function stopOrders(all: Ribbon[], rows: number, layers: number[], stops: Stops, order: Order): number[][] {
  const S = stops.stops.length;
  const numbered = layers.map(() => Array.from({ length: S }, (_, s) => s));
  if (order === 'fixed') return numbered;
  if (order === 'entropic') {
    return layers.map((layer, i) => {
      const u = stops.universality.get(layer);
      return u ? numbered[i].sort((a, b) => u[a] - u[b] || a - b) : numbered[i];
    });
  }
  const links = layers.map((_, stage) =>
    Array.from({ length: stage === 0 ? rows : S }, () => new Array<number>(S).fill(0)),
  );
  for (const { stage, source, target, value } of all) links[stage][source][target] += value;
  return barycentreOrder(links);
}

/**
 * Merges what is under `cut` of the layer and under a tenth of its group into grey; says how much that is per stage.
 */
export function mergeSmall(all: Ribbon[], cut: number, rows: number): { ribbons: Ribbon[]; rest: number[] } {
  const group = (r: Ribbon) => (r.stage === 0 ? r.source : rows * r.stage + r.family);
  const mass = new Map<number, number>();
  for (const r of all) mass.set(group(r), (mass.get(group(r)) ?? 0) + r.value);
  const rest: number[] = [];
  const merged = new Map<string, Ribbon>();
  const kept: Ribbon[] = [];
  for (const r of all) {
    rest[r.stage] ??= 0;
    if (r.value >= cut || r.value >= KEPT_OF_GROUP * mass.get(group(r))!) {
      kept.push(r);
      continue;
    }
    rest[r.stage] += r.value;
    const key = `${r.stage} ${r.source} ${r.target}`;
    const value = (merged.get(key)?.value ?? 0) + r.value;
    merged.set(key, { ...r, family: -1, own: false, value });
  }
  return { ribbons: [...merged.values(), ...kept], rest };
}

/** All ribbons before merging, for reading the picture's numbers. */
export function csvOf(
  all: Ribbon[],
  languages: TraceLanguage[],
  layers: number[],
  { stops }: Stops,
  header: TraceHeader,
): string {
  const families = familiesOf(header);
  const rows = all.map(r => ({
    from: r.stage === 0 ? 'language' : `layer ${layers[r.stage - 1]}`,
    source: r.stage === 0 ? languages[r.source].code : stops[r.source].name,
    to: `layer ${layers[r.stage]}`,
    target: stops[r.target].name,
    family: families[r.family],
    flow: r.value,
  }));
  return from(rows).toCSV();
}
