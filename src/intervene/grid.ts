// The whole grid: every intervention on every language, with its controls and a verdict. Effects are bits per byte, positive is worse.
//   random   ≥ 20 draws of as many experts of like load: null mean and σ, of the target and of each language
//   moved    the same experts in other layers
//   others   the same layers with the experts of another target
import seedrandom from 'seedrandom';
import type { Target } from './choose.ts';
import { type Effect, effectOf, type PairedDocument } from './effect.ts';
import type { Passed, Passes } from './passes.ts';
import type { Planned } from './plan.ts';
import { type ModuleVerdict, moduleVerdict, nullOf, type RandomNull } from './verdict.ts';

export interface GridRequest {
  planned: Planned[];
  /** Groups among which the worst effect off the target is looked for. */
  units: Target[];
  /** On whom the effect of an intervention is wanted; null: its own target. */
  on: Target | null;
  /** Language ids with held-out text. */
  languages: readonly number[];
  /** Experts that stand in for another target where only one is planned. */
  spare: Planned | null;
  draws: number;
  seed: number;
}

export interface LanguageEffect extends Effect {
  language: number;
  null: RandomNull | null;
}

export interface Unit {
  name: string;
  effect: Effect;
}

export interface GridColumn {
  planned: Planned;
  flipRate: Map<number, number>;
  byLanguage: LanguageEffect[];
  /** On the target's languages together. */
  target: Effect;
  random: RandomNull;
  /** Mean load of the random draws. */
  randomLoad: number;
  worst: Unit | null;
  verdict: ModuleVerdict | null;
  /** Sources of text in which the target has documents, and whether the rule of points holds there. */
  sources: { source: string; points: boolean }[];
  /** By intervals on all text, and by points in two sources or more. */
  module: boolean;
  moved: { byLanguage: LanguageEffect[]; target: Effect } | null;
  others: { name: string; byLanguage: LanguageEffect[]; target: Effect } | null;
}

export async function runGrid(passes: Passes, request: GridRequest): Promise<GridColumn[]> {
  const own: Passed[] = [];
  for (const { acts } of request.planned) own.push(await passes.run(acts));
  const columns: GridColumn[] = [];
  for (const [i, planned] of request.planned.entries()) columns.push(await column(passes, request, planned, own, i));
  return columns;
}

async function column(passes: Passes, request: GridRequest, planned: Planned, own: Passed[], i: number) {
  const { draws, seed, languages } = request;
  const random = seedrandom(`${seed}/${planned.target.name}`);
  const target = request.on ?? planned.target;
  const drawn: Passed[] = [];
  let randomLoad = 0;
  for (let draw = 0; draw < draws; draw++) {
    const acts = planned.randomActs(random);
    randomLoad += planned.load(acts) / draws;
    drawn.push(await passes.run(acts));
  }
  const each = (passed: Passed): LanguageEffect[] => byLanguage(passed, languages, drawn, random);
  const effect = (passed: Passed): Effect => effectOf(of(passed.paired, target), random);
  const nulls = nullOfTarget(drawn, target);
  const moved = planned.movedActs && (await passes.run(planned.movedActs));
  const other = await otherTarget(passes, request, own, i);
  const onTarget = effect(own[i]);
  const worst = worstUnit(own[i], request.units, target, random);
  const verdict = judged(onTarget, worst?.effect, nulls);
  const sources = bySource(own[i], drawn, request.units, target);
  return {
    planned,
    flipRate: own[i].flipRate,
    byLanguage: each(own[i]),
    target: onTarget,
    random: nulls,
    randomLoad,
    worst,
    verdict,
    sources,
    module: (verdict?.intervals ?? false) && sources.filter(({ points }) => points).length >= 2,
    moved: moved && { byLanguage: each(moved), target: effect(moved) },
    others: other && { name: other.name, byLanguage: each(other.passed), target: effect(other.passed) },
  };
}

const of = (paired: readonly PairedDocument[], { languages }: Target): PairedDocument[] =>
  paired.filter(({ language }) => languages.includes(language));

/** Effect without an interval. */
const pointOf = (paired: readonly PairedDocument[]): number | null => effectOf(paired, () => 0, 0).value;

function nullOfTarget(drawn: Passed[], target: Target): RandomNull {
  const values = drawn.flatMap(({ paired }) => pointOf(of(paired, target)) ?? []);
  return values.length > 1 ? nullOf(values) : { mean: Number.NaN, sd: Number.NaN, draws: values.length };
}

function byLanguage(passed: Passed, languages: readonly number[], drawn: Passed[], random: () => number) {
  return languages.map(language => {
    const alone = { name: '', languages: [language] };
    const nulls = nullOfTarget(drawn, alone);
    return { language, ...effectOf(of(passed.paired, alone), random), null: nulls.draws > 1 ? nulls : null };
  });
}

/** The largest effect on a group that shares no language with the target; null where there is none with text. */
function worstUnit(passed: Passed, units: Target[], target: Target, random: () => number): Unit | null {
  const apart = units.filter(({ languages }) => !languages.some(language => target.languages.includes(language)));
  const found = apart
    .map(unit => ({ name: unit.name, documents: of(passed.paired, unit) }))
    .flatMap(unit => ({ ...unit, value: pointOf(unit.documents) }))
    .filter(({ value }) => value !== null)
    .sort((a, b) => b.value! - a.value!);
  return found.length > 0 ? { name: found[0].name, effect: effectOf(found[0].documents, random) } : null;
}

function judged(target: Effect, worst: Effect | undefined, random: RandomNull): ModuleVerdict | null {
  if (target.value === null || !worst || worst.value === null || random.draws < 2) return null;
  return moduleVerdict({ ...target, value: target.value }, { ...worst, value: worst.value }, random);
}

/** The rule of points in each source of text that the target has. */
function bySource(passed: Passed, drawn: Passed[], units: Target[], target: Target) {
  const from = (name: string) => (one: Passed) => ({
    ...one,
    paired: one.paired.filter(({ source }) => source === name),
  });
  const names = [...new Set(of(passed.paired, target).map(({ source }) => source))].sort();
  return names.flatMap(source => {
    const here = from(source)(passed);
    const target_ = pointOf(of(here.paired, target));
    const worst = worstUnit(here, units, target, () => 0);
    if (target_ === null || worst === null) return [];
    const nulls = nullOfTarget(drawn.map(from(source)), target);
    const ends = { low: null, high: null };
    const { points } = moduleVerdict({ value: target_, ...ends }, { value: worst.effect.value!, ...ends }, nulls);
    return [{ source, points }];
  });
}

/** The next target whose experts are others; where only one is planned, the spare one. */
async function otherTarget({ run }: Passes, { planned, spare }: GridRequest, own: Passed[], i: number) {
  const acts = (one: Planned): string => JSON.stringify([...one.acts]);
  for (let step = 1; step < planned.length; step++) {
    const next = (i + step) % planned.length;
    if (acts(planned[next]) !== acts(planned[i])) return { name: planned[next].target.name, passed: own[next] };
  }
  return spare && { name: spare.target.name, passed: await run(spare.acts) };
}
