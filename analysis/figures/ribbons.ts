// The ribbons of the flow picture as numbers: what flows from where to where, before anything is drawn.
// Stage 0: each language into the experts of the first drawn layer; stage i: each family from layer to layer. A stage sums to 1.
import { from } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import type { FlowRow } from '../flow.ts';
import { familiesOf } from '../table.ts';
import { barycentreOrder } from './order.ts';

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
/** Unmerged ribbons: stage 0 per language and expert, later stages per family and pair of experts. Each stage sums to 1. */
export function ribbonsOf(
  languages: TraceLanguage[],
  first: Map<string, Float64Array | null>,
  flows: FlowRow[],
  layers: number[],
  header: TraceHeader,
): Ribbon[] {
  const families = familiesOf(header);
  const familyOf = new Map(languages.map(l => [l.code, families.indexOf(l.family)]));
  const owned = new Set(languages.map(l => `${families.indexOf(l.family)} ${l.expert}`));
  const n = languages.filter(l => first.get(l.code)).length;
  const ribbons: Ribbon[] = languages.flatMap((language, source) => {
    const q = first.get(language.code);
    const family = families.indexOf(language.family);
    return Array.from(q ?? [], (share, target): Ribbon => {
      return { stage: 0, source, target, family, value: share / n, own: target === language.expert };
    });
  });
  const later = new Map<string, Ribbon>();
  for (const { from, source, target, group, flow } of flows) {
    const family = familyOf.get(group) ?? 0;
    const stage = layers.indexOf(from) + 1;
    const key = `${stage} ${source} ${target} ${family}`;
    const ribbon = later.get(key) ?? { stage, source, target, family, value: 0, own: owned.has(`${family} ${target}`) };
    later.set(key, { ...ribbon, value: ribbon.value + flow / n });
  }
  return [...ribbons, ...later.values()].filter(ribbon => ribbon.value > 0);
}

export function expertOrders(
  all: Ribbon[],
  rows: number,
  E: number,
  layers: number,
  order: 'barycentre' | 'fixed',
): number[][] {
  const links = Array.from({ length: layers }, (_, stage) =>
    Array.from({ length: stage === 0 ? rows : E }, () => new Array<number>(E).fill(0)),
  );
  for (const { stage, source, target, value } of all) links[stage][source][target] += value;
  return order === 'fixed' ? links.map(link => link[0].map((_, e) => e)) : barycentreOrder(links);
}

/** Merges what is under `cut` of the layer and under a tenth of its group into grey; says how much that is per stage. */
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
export function csvOf(all: Ribbon[], languages: TraceLanguage[], layers: number[], header: TraceHeader): string {
  const families = familiesOf(header);
  const rows = all.map(r => ({
    from: r.stage === 0 ? 'language' : `layer ${layers[r.stage - 1]}`,
    source: r.stage === 0 ? languages[r.source].code : header.expertNames[r.source],
    to: `layer ${layers[r.stage]}`,
    target: header.expertNames[r.target],
    family: families[r.family],
    flow: r.value,
  }));
  return from(rows).toCSV();
}
