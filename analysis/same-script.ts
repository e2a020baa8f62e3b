// Language information among languages that are written alike: I(Λ;E) of M5 restricted to one script, so that letters cannot
// give the language away. As a statistic of language rows it can be resampled like the whole.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { LanguageRows, Statistic } from './document-counts.ts';
import { entropyOf } from './entropy.ts';

/** Scripts of two languages or more, by number of languages, with the indices of those. */
export function sharedScripts({ languages }: TraceHeader): { script: string; members: number[] }[] {
  const of = new Map<string, number[]>();
  for (const [l, { script }] of languages.entries()) of.set(script, [...(of.get(script) ?? []), l]);
  return [...of]
    .filter(([, members]) => members.length > 1)
    .sort((a, b) => b[1].length - a[1].length)
    .map(([script, members]) => ({ script, members }));
}

/** I(Λ;E) in nats per layer × shared script, [L · scripts]; NaN where fewer than two of its languages were counted. */
export function sameScriptStatistic(header: TraceHeader): Statistic {
  const scripts = sharedScripts(header);
  return {
    name: 'same script',
    of: rows => {
      const values = new Float64Array(rows.layers * scripts.length);
      for (let l = 0; l < rows.layers; l++) {
        for (const [s, { members }] of scripts.entries()) values[l * scripts.length + s] = within(rows, l, members);
      }
      return values;
    },
  };
}

/** One row per layer and shared script: languages counted, information (nats) and its share of log n. */
export function sameScript(rows: LanguageRows, header: TraceHeader): ColumnTable {
  const scripts = sharedScripts(header);
  const values = sameScriptStatistic(header).of(rows);
  const list = header.moeLayers.flatMap((layer, l) =>
    scripts.map(({ script, members }, s) => {
      const languages = members.filter(member => rows.present[member] === 1).length;
      const nats = values[l * scripts.length + s];
      const information = Number.isFinite(nats) ? nats : null;
      return { layer, script, languages, information, ofLanguages: information && information / Math.log(languages) };
    }),
  );
  const names = ['layer', 'script', 'languages', 'information', 'ofLanguages'] as const;
  return table(Object.fromEntries(names.map(name => [name, list.map(row => row[name])])));
}

function within({ q, present, languages: n, experts: E }: LanguageRows, l: number, members: number[]): number {
  const counted = members.filter(member => present[member] === 1);
  if (counted.length < 2) return Number.NaN;
  const pooled = new Float64Array(E);
  let own = 0;
  for (const member of counted) {
    const row = q.subarray((l * n + member) * E, (l * n + member + 1) * E);
    for (let e = 0; e < E; e++) pooled[e] += row[e] / counted.length;
    own += entropyOf(row) / counted.length;
  }
  return entropyOf(pooled) - own;
}
