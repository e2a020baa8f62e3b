// A1, obedience: how often plain top-k picks the language's own expert although nobody told it the language.
//   chosen    share of tokens whose k experts include the own one      null: k / E for a uniform router
//   mass      mean share of the gates that goes to the own expert      null: 1 / E
//   popular   share of all languages' tokens (each language once) that choose that expert: what its load alone would give
//   purity    per layer, I(F;E) / H(F): how much of the family's identity the expert gives away, 0…1
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { presentLanguages } from './distance.ts';
import type { Estimate, Statistic } from './document-counts.ts';
import { entropyOf } from './entropy.ts';
import { budgetOf, information } from './information.ts';
import { pool } from './pool.ts';
import { shareRows } from './usage.ts';

/** Of obedienceStatistic, in the selection view for `chosen` and in the gate view for `mass`. */
export interface ObedienceEstimates {
  chosen?: Estimate[];
  mass?: Estimate[];
}

/**
 * What each language gives to its own expert, [L · n]: the share of tokens that choose it (`chosen`, rows in the selection view)
 * or of gate mass (`mass`, gate view). Its null under permuted languages is what the expert's load alone gives.
 * NaN without own expert.
 */
export function obedienceStatistic(header: TraceHeader, of: 'chosen' | 'mass'): Statistic {
  const scale = of === 'chosen' ? header.expertsPerToken : 1;
  return {
    name: of,
    range: [0, 1],
    permute: true,
    perLanguage: true,
    of: ({ layers, languages: n, experts, q, present }) =>
      Float64Array.from({ length: layers * n }, (_, i) => {
        const { expert } = header.languages[i % n];
        return present[i % n] === 1 && expert >= 0 ? scale * q[i * experts + expert] : Number.NaN;
      }),
  };
}

/** I(F;E) / H(F) of each layer, [L]; NaN with fewer than two families. */
export function purityStatistic(family: readonly string[]): Statistic {
  return {
    name: 'purity',
    range: [0, 1],
    permute: true,
    of: rows => {
      const { layers, languages: n, experts, q } = rows;
      const keep = presentLanguages(rows);
      const names = keep.map(l => family[l]);
      const sizes = [...new Set(names)].map(name => names.filter(other => other === name).length / names.length);
      return Float64Array.from({ length: layers }, (_, layer) => {
        if (sizes.length < 2) return Number.NaN;
        const list = keep.map(l => q.slice((layer * n + l) * experts, (layer * n + l + 1) * experts));
        return budgetOf(list, names).family / entropyOf(sizes);
      });
    },
  };
}

/**
 * One row per layer and language. `selection` and `gate` are usage tables of those views, with the same averaging. With
 * estimates also intervals: `low`, `high` of chosen, `massLow`, `massHigh`.
 */
export function obedience(
  selection: ColumnTable,
  gate: ColumnTable,
  header: TraceHeader,
  estimates: ObedienceEstimates = {},
): ColumnTable {
  const all = pool(selection, header, 'all');
  const rows = header.moeLayers.flatMap((layer, m) => {
    const chosen = shareRows(selection, layer, 'tokenShare');
    const mass = shareRows(gate, layer);
    const load = shareRows(all, layer, 'tokenShare').get('all');
    return header.languages.map(({ code, expert }, l) => {
      const [ofChosen, ofMass] = [estimates.chosen, estimates.mass].map(
        list => list?.[m * header.languages.length + l],
      );
      return {
        layer,
        group: code,
        expert,
        chosen: chosen.get(code)?.[expert] ?? null,
        low: ofChosen?.low ?? null,
        high: ofChosen?.high ?? null,
        mass: mass.get(code)?.[expert] ?? null,
        massLow: ofMass?.low ?? null,
        massHigh: ofMass?.high ?? null,
        popular: load?.[expert] ?? null,
        uniform: header.expertsPerToken / header.numExperts,
      };
    });
  });
  const names = [
    'layer',
    'group',
    'expert',
    'chosen',
    'low',
    'high',
    'mass',
    'massLow',
    'massHigh',
    'popular',
  ] as const;
  return table(Object.fromEntries([...names, 'uniform' as const].map(name => [name, rows.map(row => row[name])])));
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
