// M11, activation difference: Δ(e) = a_λ(e) − a_pivot(e), the share of tokens that choose e, mean over documents, in the data of
// interest less in the baseline (English). −1…1. A language expert has Δ > τ; published τ are .25 to .5 (2510.04694).
// "Above τ for any of n languages" gets easier with n: `any` takes the maximum over languages, and its null the maximum too.
// Noise of Δ alone: the baseline against itself, in two random halves.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';
import { discoveries } from './discovery.ts';
import { presentLanguages } from './distance.ts';
import type { DocumentCounts, Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { shuffle } from './shuffle.ts';
import { jackknifeTests } from './student.ts';

/** Δ of every cell, [L · n · E]; NaN for absent languages, or all without the pivot. 0 in the pivot's own cells. */
export function activationStatistic(header: TraceHeader, pivot = 'en'): Statistic {
  return {
    name: 'activation',
    range: [-1, 1],
    interval: 'jackknife',
    of: rows => differences(rows, header, pivot),
  };
}

/** The largest Δ over the languages, [L · E], with its null under permuted languages. */
export function anyActivationStatistic(header: TraceHeader, pivot = 'en'): Statistic {
  return {
    name: 'any activation',
    range: [-1, 1],
    permute: true,
    of: rows => {
      const { layers, languages: n, experts } = rows;
      const all = differences(rows, header, pivot);
      const others = presentLanguages(rows).filter(l => header.languages[l].code !== pivot);
      return Float64Array.from({ length: layers * experts }, (_, i) => {
        const [layer, e] = [Math.floor(i / experts), i % experts];
        return others.length === 0 ? Number.NaN : Math.max(...others.map(l => all[(layer * n + l) * experts + e]));
      });
    },
  };
}

export interface ActivationOptions {
  /** Code of the baseline language. Default en. */
  pivot?: string;
  /** τ. Default 0.3. */
  threshold?: number;
  /** Of activationStatistic and of anyActivationStatistic. */
  estimates?: Estimate[];
  anyEstimates?: Estimate[];
  /** Jackknife blocks behind the standard errors; without it 30, and nothing is found where texts are fewer. */
  blocks?: number;
  /** False discovery rate. Default 0.05. */
  rate?: number;
}

/**
 * One row per layer, expert and present language but the pivot, and one of group `any`, from rows in the selection view:
 * `difference` with `low` and `high`, `selected` (Δ > τ) and `found` (Δ > 0 at the false discovery rate, over all languages;
 * over all experts for `any`; null without estimates). Throws UserError if the pivot is not a language of the trace.
 */
export function activation(rows: LanguageRows, header: TraceHeader, options: ActivationOptions = {}): ColumnTable {
  const { pivot = 'en', threshold = 0.3, estimates, anyEstimates, blocks, rate } = options;
  if (!header.languages.some(({ code }) => code === pivot)) {
    throw new UserError(`The trace has no language ${pivot} to compare with; name another pivot.`);
  }
  const { languages: n, experts: E } = rows;
  const others = presentLanguages(rows).filter(l => header.languages[l].code !== pivot);
  const each = activationStatistic(header, pivot).of(rows);
  const any = anyActivationStatistic(header, pivot).of(rows);
  const found = estimates && discoveries(jackknifeTests(estimates, blocks).p, rate).found;
  const anyFound =
    anyEstimates &&
    discoveries(
      anyEstimates.map(estimate => estimate.p ?? Number.NaN),
      rate,
    ).found;
  const lines = header.moeLayers.flatMap((layer, m) =>
    Array.from({ length: E }, (_, expert) => {
      const row = (group: string, plugIn: number, estimate: Estimate | undefined, call: number | undefined) => {
        const difference = estimate?.estimate ?? plugIn;
        return {
          layer,
          expert,
          group,
          difference: Number.isNaN(difference) ? null : difference,
          low: estimate?.low ?? null,
          high: estimate?.high ?? null,
          selected: difference > threshold,
          found: call === undefined ? null : call === 1 && difference > 0,
        };
      };
      const cells = others.map(l => {
        const cell = (m * n + l) * E + expert;
        return row(header.languages[l].code, each[cell], estimates?.[cell], found?.[cell]);
      });
      const cell = m * E + expert;
      return [...cells, row('any', any[cell], anyEstimates?.[cell], anyFound?.[cell])];
    }).flat(),
  );
  const names = ['layer', 'expert', 'group', 'difference', 'low', 'high', 'selected', 'found'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

/**
 * The baseline against itself: per layer the 95 % quantile, over random halves of the pivot's documents, of the largest Δ of
 * any expert. A τ below it selects noise. Null where the pivot has fewer than two documents. [L]
 */
export function halvesNull(
  counts: DocumentCounts,
  header: TraceHeader,
  random: () => number,
  { pivot = 'en', draws = 200 } = {},
): (number | null)[] {
  const language = header.languages.findIndex(({ code }) => code === pivot);
  const own = Int32Array.from(counts.document.keys()).filter(d => counts.language[d] === language);
  if (own.length < 2) return header.moeLayers.map(() => null);
  const largest = header.moeLayers.map(() => new Float64Array(draws));
  for (let draw = 0; draw < draws; draw++) {
    shuffle(own, random);
    for (const [m, count] of counts.count.entries()) largest[m][draw] = largestOfHalves(count, own, header);
  }
  return largest.map(list => list.sort()[Math.ceil(0.95 * draws) - 1]);
}

function largestOfHalves(
  count: Float32Array,
  order: Int32Array,
  { numExperts: E, expertsPerToken: k }: TraceHeader,
): number {
  const sum = [new Float64Array(E), new Float64Array(E)];
  const size = [0, 0];
  const half = Math.floor(order.length / 2);
  for (const [i, d] of order.entries()) {
    let slots = 0;
    for (let e = 0; e < E; e++) slots += count[d * E + e];
    if (slots === 0) continue;
    const side = i < half ? 0 : 1;
    size[side]++;
    for (let e = 0; e < E; e++) sum[side][e] += (k * count[d * E + e]) / slots;
  }
  return size[0] * size[1] === 0 ? 0 : Math.max(...sum[0].map((value, e) => value / size[0] - sum[1][e] / size[1]));
}

function differences(rows: LanguageRows, header: TraceHeader, pivot: string): Float64Array {
  const { layers, languages: n, experts: E, q, present } = rows;
  const base = header.languages.findIndex(({ code }) => code === pivot);
  const result = new Float64Array(layers * n * E).fill(Number.NaN);
  if (base < 0 || present[base] === 0) return result;
  for (let layer = 0; layer < layers; layer++) {
    for (let l = 0; l < n; l++) {
      if (present[l] === 0) continue;
      for (let e = 0; e < E; e++) {
        const cell = (layer * n + l) * E + e;
        result[cell] = header.expertsPerToken * (q[cell] - q[(layer * n + base) * E + e]);
      }
    }
  }
  return result;
}
