// Routing over training: the own-expert share and the load of each expert, per recorded step and MoE layer, from the exact
// counts (tokens pooled inside a language, then each language once). Steps without counts are absent.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { pool } from './pool.ts';
import { shareRows, usageOfCounts } from './usage.ts';

/**
 * One row per step × layer × expert: `own`, the mean over languages of the share of tokens that choose the language's own
 * expert (the same for each expert of a layer), and `load`, the expert's mean selection share, which sums to 1 (A1 and M1).
 */
export function trajectory(counts: ColumnTable, header: TraceHeader): ColumnTable {
  const steps = [...new Set(counts.array('step') as ArrayLike<number> as number[])].sort((a, b) => a - b);
  const rows = steps.flatMap(step => {
    const selection = usageOfCounts(counts, header, 'selection', step);
    const all = pool(selection, header, 'all');
    return header.moeLayers.flatMap(layer => {
      const load = shareRows(all, layer).get('all');
      if (!load) return [];
      const chosen = shareRows(selection, layer, 'tokenShare');
      const own = header.languages.map(l => chosen.get(l.code)?.[l.expert]).filter(value => value !== undefined);
      const mean = own.reduce((a, b) => a + b, 0) / own.length;
      return Array.from(load, (value, expert) => ({ step, layer, own: mean, expert, load: value }));
    });
  });
  const names = ['step', 'layer', 'own', 'expert', 'load'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
