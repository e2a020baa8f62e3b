// Profiles over depth from a long table with the columns layer, group and a value: one row of numbers per group.
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { meanOf } from './depth.ts';

/** Values of a group by place in `layers`; null where there is none. */
export type Profile = (number | null)[];

/** MoE layers that a table speaks of, ascending. */
export function layersIn(table: ColumnTable): number[] {
  return [...new Set(Array.from(table.array('layer') as ArrayLike<number>))].sort((a, b) => a - b);
}

/** Profile of each group, in table order; an absent column gives nulls. */
export function profilesOf(table: ColumnTable, column: string, layers = layersIn(table)): Map<string, Profile> {
  const place = new Map(layers.map((layer, i) => [layer, i]));
  const profiles = new Map<string, Profile>();
  for (const row of table.objects() as Record<string, unknown>[]) {
    const group = row.group as string;
    if (!profiles.has(group)) profiles.set(group, new Array<number | null>(layers.length).fill(null));
    const value = row[column];
    const i = place.get(row.layer as number);
    if (i !== undefined && typeof value === 'number' && Number.isFinite(value)) profiles.get(group)![i] = value;
  }
  return profiles;
}

/** Layer by layer the mean over profiles, of those that have a value there. */
export function meanProfile(profiles: Profile[], count: number): Profile {
  return Array.from({ length: count }, (_, i) => meanOf(profiles.map(profile => profile[i])));
}

/** Languages with family beside family, in the order of their experts, else of the header. */
export function byFamily(header: TraceHeader): TraceLanguage[] {
  return familiesOf(header).flatMap(family => header.languages.filter(language => language.family === family));
}

export const nameOf = (header: TraceHeader, code: string): string =>
  header.languages.find(language => language.code === code)?.name ?? code;
