// A1, obedience: how often plain top-k picks the language's own expert although nobody told it the language.
//   chosen    share of tokens whose k experts include the own one      null: k / E for a uniform router
//   mass      mean share of the gates that goes to the own expert      null: 1 / E
//   popular   share of all languages' tokens (each language once) that choose that expert: what its load alone would give
//   purity    per layer, I(F;E) / H(F): how much of the family's identity the expert gives away, 0…1
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { entropyOf } from './entropy.ts';
import { information } from './information.ts';
import { pool } from './pool.ts';
import { shareRows } from './usage.ts';

/** One row per layer and language. `selection` and `gate` are usage tables of those views, with the same averaging. */
export function obedience(selection: ColumnTable, gate: ColumnTable, header: TraceHeader): ColumnTable {
  const all = pool(selection, header, 'all');
  const rows = header.moeLayers.flatMap(layer => {
    const chosen = shareRows(selection, layer, 'tokenShare');
    const mass = shareRows(gate, layer);
    const load = shareRows(all, layer, 'tokenShare').get('all');
    return header.languages.map(({ code, expert }) => ({
      layer,
      group: code,
      expert,
      chosen: chosen.get(code)?.[expert] ?? null,
      mass: mass.get(code)?.[expert] ?? null,
      popular: load?.[expert] ?? null,
      uniform: header.expertsPerToken / header.numExperts,
    }));
  });
  const names = ['layer', 'group', 'expert', 'chosen', 'mass', 'popular', 'uniform'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

/** I(F;E) / H(F) per layer, families weighted by their number of languages with text; null with fewer than two families. */
export function purity(usage: ColumnTable, header: TraceHeader): Map<number, number | null> {
  const budgets = information(usage, header).objects() as { layer: number; family: number; languages: number }[];
  return new Map(
    budgets.map(({ layer, family, languages }) => {
      const present = shareRows(usage, layer);
      const size = new Map<string, number>();
      for (const language of header.languages) {
        if (present.get(language.code)) size.set(language.family, (size.get(language.family) ?? 0) + 1 / languages);
      }
      const h = entropyOf([...size.values()]);
      return [layer, h > 0 ? family / h : null];
    }),
  );
}
