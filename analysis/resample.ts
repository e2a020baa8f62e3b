// Estimate, bias, standard error, interval and null of statistics of language rows: jackknife over blocks of units, bootstrap
// over units, permutation of labels. All statistics of one call share the rows of each draw, which are the cost:
// draws × D × L × E multiply-adds. Everything follows from the seed.
// Under 30 units per language only the jackknife is reported, with the reason.
import seedrandom from 'seedrandom';
import { basicInterval, bootstrapChoice } from './bootstrap.ts';
import type { DocumentCounts, Estimate, LanguageRows, Statistic, View } from './document-counts.ts';
import { jackknife, jackknifeChoices } from './jackknife.ts';
import { exchangeable, permutationTest, permutedChoice } from './permutation.ts';
import { type Averaging, type Choice, emptyRows, everyDocument, fillRows, type Shape, sourceOf } from './rows.ts';
import { type Units, unitsOf } from './units.ts';

export const FEWEST_UNITS = 30;
/** Choices whose rows are filled together. */
const TOGETHER = 16;

export interface ResampleOptions {
  view: View;
  averaging?: Averaging;
  draws?: number;
  blocks?: number;
  permutations?: number;
  seed: string;
  /** Languages to compare; all by default. */
  only?: readonly number[];
}

/** Values of one statistic with C components: [C] as observed, then C lists of replicates, draws and null draws. */
export interface Distribution {
  plugIn: Float64Array;
  jackknife: Float64Array[];
  bootstrap: Float64Array[];
  permuted: Float64Array[];
  /** Per component why it has no interval though others have; absent where all are alike. */
  without?: (string | null)[];
}
export interface Resampling {
  of: Map<string, Distribution>;
  units: Units;
  /** Why there is no interval or no null; null where both are there. */
  reason: string | null;
}

/** An Estimate per component of each statistic. `shape` is the trace's header. */
export function resample(
  counts: DocumentCounts,
  shape: Shape,
  statistics: Statistic[],
  options: ResampleOptions,
): Map<string, Estimate[]> {
  const { of, reason } = distributions(counts, shape, statistics, options);
  return new Map(statistics.map(statistic => [statistic.name, estimates(statistic, of.get(statistic.name)!, reason)]));
}

/** The replicates themselves, for statistics that are functions of others. */
export function distributions(
  counts: DocumentCounts,
  shape: Shape,
  statistics: Statistic[],
  options: ResampleOptions,
): Resampling {
  const { view, averaging = 'documents', draws = 2000, blocks = 50, permutations = 499, seed, only } = options;
  const source = sourceOf(counts, view, averaging, shape);
  const units = unitsOf(counts, source.languages, only);
  const { language } = counts;
  const n = source.languages;
  const run = (wanted: Statistic[], count: number, choose: (i: number) => Choice) => {
    const values = new Map<string, Float64Array[]>();
    for (let first = 0; first < count && wanted.length > 0; first += TOGETHER) {
      const choices = Array.from({ length: Math.min(TOGETHER, count - first) }, (_, i) => choose(first + i));
      const rows = choices.map((_, i) => reused(i));
      fillRows(source, choices, rows);
      for (const statistic of wanted) {
        for (const [i, row] of rows.entries()) collect(values, statistic, row, first + i, count);
      }
    }
    return values;
  };
  const buffers: LanguageRows[] = [];
  // the arrays are used again, the object is not: memos are kept per object
  const reused = (i: number): LanguageRows => {
    buffers[i] ??= emptyRows(source);
    return { ...buffers[i] };
  };
  const random = (what: string) => seedrandom(`${seed} ${what}`);
  const observed = run(statistics, 1, () => everyDocument(language, n, units.kept));
  const deleted = jackknifeChoices(units, language, n, blocks, random('jackknife'));
  const replicates = run(statistics, deleted.length, i => deleted[i]);
  const enough = units.typical >= FEWEST_UNITS;
  const drawn = random('bootstrap');
  const intervals = statistics.filter(statistic => statistic.interval !== 'jackknife');
  const bootstrapped = run(intervals, enough ? draws : 0, () => bootstrapChoice(units, language, n, drawn));
  const groups = exchangeable(units);
  const tested = statistics.filter(statistic => statistic.permute);
  const shuffled = random('permutation');
  const relabel = () => permutedChoice(groups, language, n, units.kept, shuffled);
  const permuted = run(tested, groups.length > 0 ? permutations : 0, relabel);
  const of = new Map<string, Distribution>();
  for (const { name, perLanguage } of statistics) {
    const plugIn = Float64Array.from(observed.get(name) ?? [], ([value]) => value);
    const get = (values: Map<string, Float64Array[]>) => values.get(name) ?? [];
    const without = perLanguage
      ? { without: Array.from(plugIn, (_, c) => fewUnits(units.ofLanguage[c % n], units)) }
      : {};
    const draws = { jackknife: get(replicates), bootstrap: get(bootstrapped), permuted: get(permuted) };
    of.set(name, { plugIn, ...draws, ...without });
  }
  return { of, units, reason: reasonOf(units) };
}

function collect(
  values: Map<string, Float64Array[]>,
  statistic: Statistic,
  rows: LanguageRows,
  at: number,
  count: number,
): void {
  const result = statistic.of(rows);
  let lists = values.get(statistic.name);
  if (!lists) {
    lists = Array.from(result, () => new Float64Array(count));
    values.set(statistic.name, lists);
  }
  for (let c = 0; c < lists.length; c++) lists[c][at] = result[c];
}

/** Estimates of one statistic from its replicates. */
export function estimates(statistic: Statistic, distribution: Distribution, reason: string | null): Estimate[] {
  const { plugIn, jackknife: replicates, bootstrap, permuted, without } = distribution;
  const nulls = permuted.length > 0 ? permutationTest(plugIn, permuted) : [];
  const [least, most] = statistic.range ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const clip = (value: number) => Math.min(Math.max(value, least), most);
  return Array.from(plugIn, (value, c) => {
    const { estimate, se } = jackknife(value, replicates[c] ?? []);
    const known = Number.isFinite(value);
    const far = 1.96 * (se ?? Number.NaN);
    const interval = bootstrap[c] ? basicInterval(value, bootstrap[c]) : { low: estimate - far, high: estimate + far };
    const has =
      known && !without?.[c] && Number.isFinite(interval.low) && (bootstrap[c] || statistic.interval === 'jackknife');
    const test = known ? nulls[c] : undefined;
    return {
      plugIn: value,
      estimate: clip(estimate),
      se,
      low: has ? clip(interval.low) : null,
      high: has ? clip(interval.high) : null,
      nullMean: test?.mean ?? null,
      excess: test ? value - test.mean : null,
      p: test?.p ?? null,
      pFamily: test?.pFamily ?? null,
      reason: reason ?? without?.[c] ?? null,
    };
  });
}

function reasonOf(units: Units): string | null {
  if (units.typical === 0) return 'no language has two documents, so nothing can be resampled';
  return fewUnits(units.typical, units, ' per language');
}

function fewUnits(number: number, { kind }: Units, of = ''): string | null {
  if (number >= FEWEST_UNITS) return null;
  const what = `${kind === 'items' ? 'parallel item' : 'document'}${number === 1 ? '' : 's'}`;
  return `${number} ${what}${of}, fewer than ${FEWEST_UNITS}: jackknife alone, no interval`;
}
