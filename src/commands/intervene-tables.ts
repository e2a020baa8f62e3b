// The grid of interventions for people: one table of languages × interventions, one of the controls, and a sentence for each verdict.
import pc from 'picocolors';
import type { Language } from '../data/types.ts';
import type { Effect } from '../intervene/effect.ts';
import type { GridColumn, LanguageEffect } from '../intervene/grid.ts';
import { table } from './output.ts';

export function describeGrid(columns: readonly GridColumn[], languages: readonly Language[], verb: string): string[] {
  const lines = ['', pc.bold('Change of loss, bits per byte (+ is worse)'), grid(columns, languages), LEGEND, ''];
  lines.push(pc.bold('On the target, with controls'), controls(columns), '');
  for (const column of columns)
    lines.push((verb === 'ablate' ? verdict(column) : steered(column)).replace(/ {2,}/g, ' '));
  return lines;
}

const LEGEND =
  '  * interval without 0 and beyond random mean ± 2σ; a column is an intervention, its own languages stand in [ ].';

function grid(columns: readonly GridColumn[], languages: readonly Language[]): string {
  const [{ byLanguage }] = columns;
  const rows = byLanguage.map(({ language }, i) => [
    languages[language].code,
    languages[language].family,
    ...columns.map(column => cell(column.byLanguage[i], column.planned.target.languages.includes(language))),
  ]);
  return table(['code', 'family', ...columns.map(({ planned }) => shortened(planned.target.name))], rows);
}

const shortened = (name: string): string => (name.length > 9 ? `${name.slice(0, 8)}…` : name);

/** Columns of figures keep their decimal points below each other: brackets and stars have their places. */
function cell(effect: LanguageEffect, own: boolean): string {
  const { value, low, high } = effect;
  if (value === null) return '–';
  const apart = low !== null && high !== null && (low > 0 || high < 0);
  const beyond = effect.null !== null && Math.abs(value - effect.null.mean) > 2 * effect.null.sd;
  return `${own ? '[' : ' '}${signed(value)}${apart && beyond ? '*' : ' '}${own ? ']' : ' '}`;
}

export const signed = (value: number, decimals = 3): string => {
  const figure = Math.abs(value).toFixed(decimals);
  const sign = Number(figure) === 0 ? ' ' : value < 0 ? '−' : '+';
  return `${sign}${figure}`;
};

function controls(columns: readonly GridColumn[]): string {
  const rows = columns.map(({ planned, flipRate, target, random, moved, others, worst }) => {
    const rates = [...flipRate.values()];
    const flips = rates.reduce((sum, rate) => sum + rate, 0) / Math.max(1, rates.length);
    return [
      planned.target.name,
      [...planned.experts].map(([layer, experts]) => `${layer}:${experts.join('+')}`).join(' '),
      `${(100 * flips).toFixed(0)} %`,
      interval(target),
      `${signed(random.mean)} ± ${random.sd.toFixed(3)}`,
      moved ? point(moved.target) : '–',
      others ? point(others.target) : '–',
      worst ? `${point(worst.effect)} ${worst.name}` : '–',
    ];
  });
  const header = ['intervention', 'experts', 'flips', 'target', 'random', 'wrong layers', 'others’', 'worst elsewhere'];
  return table(header, rows);
}

const point = ({ value }: Effect): string => (value === null ? '–' : signed(value));
export const interval = (effect: Effect): string =>
  effect.low === null || effect.high === null
    ? point(effect)
    : `${point(effect)} [${signed(effect.low)}, ${signed(effect.high)}]`;

function verdict({ planned, target, random, worst, verdict, module, sources }: GridColumn): string {
  const { name } = planned.target;
  if (!verdict || !worst) return `${name}: no verdict, there is no text to compare with.`;
  const numbers = `${interval(target)} on the target, random mean + 2σ ${signed(verdict.threshold)} (${random.draws} draws), worst elsewhere ${point(worst.effect)} on ${worst.name}`;
  const held = sources.filter(({ points }) => points).map(({ source }) => source);
  if (module) return `${pc.bold(`${name}: a module`)}: ${numbers}; also in ${held.join(' and ')} alone.`;
  if (verdict.intervals)
    return `${name}: a module on all text together, but in ${held.length} of ${sources.length} sources of text alone, so no claim: ${numbers}.`;
  if (verdict.points && (target.low === null || worst.effect.high === null))
    return `${name}: perhaps; the rule holds for the points, and for intervals there are too few texts: ${numbers}.`;
  if (verdict.points)
    return `${name}: no module; the rule holds for the points and not for their intervals: ${numbers}.`;
  return `${name}: no module: ${numbers}.`;
}

function steered({ planned, target, random, worst, byLanguage }: GridColumn): string {
  const known = byLanguage.filter(({ value }) => value !== null);
  const better = known.filter(({ value }) => value! < 0).length;
  const z =
    random.sd > 0 && target.value !== null
      ? `, ${signed((target.value - random.mean) / random.sd, 1)} σ from random experts`
      : '';
  const most = worst ? `; worst elsewhere ${point(worst.effect)} on ${worst.name}` : '';
  return `${planned.target.name}: ${interval(target)} on the target${z}${most}; ${better} of ${known.length} languages better.`;
}
