// `moe intervene steer` and `moe intervene ablate`: acts on router logits, their effect on every language, and controls.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkActs } from '../../routing/intervene/acts.ts';
import type { TokenDocument } from '../data/types.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { type Evaluated, sampleByLanguage } from '../eval/evaluate.ts';
import { readMode } from '../eval/modes.ts';
import { byDifference, exclusive, type LayerExperts, ownExperts, type Target } from '../intervene/choose.ts';
import { gridCsv } from '../intervene/csv.ts';
import { type GridColumn, runGrid } from '../intervene/grid.ts';
import { openPasses } from '../intervene/passes.ts';
import { type How, type Planned, planExperts, planShares } from '../intervene/plan.ts';
import { type ExpertUsage, measureUsage, type PassShape } from '../intervene/usage.ts';
import { makeFolder } from '../make-folder.ts';
import { useBackend } from './backend.ts';
import { documentsOf, type HeldOut, openHeldOut, passShape } from './held-out.ts';
import { drawGrid } from './intervene-figure.ts';
import { familiesOf, readExperts, readLayers, readTargets } from './intervene-options.ts';
import { describeGrid } from './intervene-tables.ts';
import { closeModel, openFor } from './memory.ts';
import { createOutput, type Output, thousands } from './output.ts';
import { passProgress } from './pass-progress.ts';

export interface GridOptions {
  targets: string;
  experts: string;
  count: number;
  layers: string;
  on?: string;
  how: string;
  strength?: number;
  keep?: number;
  threshold?: number;
  draws: number;
  seed: number;
  tokens: number;
  routing?: string;
  out?: string;
  families?: string;
  memory?: number;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

const HOW = { steer: ['soft', 'hard', 'off', 'share'], ablate: ['mask', 'zero'] };
/** Of Chen et al.: experts that a language keeps, and the share above which an expert is its own. */
const EXCLUSIVE = { keep: 15, threshold: 0.4 };
const SHARED = { keep: 20, threshold: 0.7 };

export async function interveneOnGrid(
  verb: 'steer' | 'ablate',
  run: string | undefined,
  options: GridOptions,
): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (!HOW[verb].includes(options.how))
    throw new UserError(`--how ${options.how} is not known; use ${HOW[verb].join(' or ')}.`);
  if (options.draws < 2)
    throw new UserError(`--draws ${options.draws} gives no spread; give 2 or more, 20 to publish.`);
  await useBackend(options.backend, options);
  const held = await openHeldOut<Evaluated>(run, openFor(options, out.say), options.families);
  try {
    const shape = { ...passShape(held), mode: readMode(options.routing, held.model.spec.router) };
    refuseDense(held);
    const documents = sampleByLanguage(documentsOf(held, 'test'), options.tokens);
    const columns = await measured(held, shape, documents, options, out);
    const result = {
      ...{ run: held.name, step: held.step, verb, settings: settingsOf(options) },
      columns: columns.map(column => columnJson(column, held)),
    };
    const files =
      options.out === undefined
        ? []
        : writeAll(options.out, {
            'intervention.csv': gridCsv(columns, held.map.languages),
            'intervention.json': `${JSON.stringify(result, null, 2)}\n`,
            'intervention.svg': drawGrid(columns, held, documents, shape.mode),
          });
    for (const line of describeGrid(columns, held.map.languages, verb)) out.say(line);
    if (files.length > 0) out.say('');
    for (const file of files) out.say(file);
    out.result({ ...result, files });
  } finally {
    closeModel(held.model);
  }
}

export function refuseDense({ model, checkpoint }: HeldOut<Evaluated>): void {
  if (model.spec.layers.includes('moe')) return;
  throw new UserError(
    `${checkpoint} is a dense model without a router; upcycle it with 'moe upcycle', or name a sparse one.`,
  );
}

async function measured(
  held: HeldOut<Evaluated>,
  shape: PassShape,
  documents: TokenDocument[],
  options: GridOptions,
  out: Output,
): Promise<GridColumn[]> {
  const { model, map, prepared } = held;
  const { languages } = map;
  const targets = readTargets(options.targets, languages);
  const on = options.on === undefined ? null : together(readTargets(options.on, languages, '--on'));
  const choosing = sampleByLanguage(documentsOf(held, 'validation'), options.tokens);
  const progress = passProgress(out.json, model.spec.num_hidden_layers);
  const usage = await measureUsage(model, choosing, languages, shape);
  const planner = (target: Target): Planned[] => [planOf(usage, target, held, options)].filter(plan => plan !== null);
  const spoken = withText(targets, usage);
  if (spoken.length === 0) throw new UserError(`No target of --targets ${options.targets} has validation text.`);
  const planned = spoken.flatMap(planner);
  sayLeftOut(spoken, planned, options, out);
  const others = familiesOf(languages).filter(family => apart(family, planned[0].target, usage));
  const [spare = null] = planned.length > 1 ? [] : others.flatMap(planner);
  out.say(
    `${held.name}, step ${held.step}: ${shape.mode} routing; experts chosen on ${choosing.length} validation documents, effects on ${documents.length} test documents, ${thousands(documents.reduce((sum, d) => sum + d.ids.length, 0))} tokens.`,
  );
  const most = planned.length * (options.draws + 2) + 1;
  const text = {
    ...{ model, languages, documents, shape },
    bytesOf: ({ id }: { id: string }) => prepared.bytes.get(id) ?? 0,
    actsOn: on === null ? undefined : new Set(on.languages),
    onPass: (done: number) => progress.update(done + 1, most),
  };
  const passes = await openPasses(text);
  const columns = await runGrid(passes, {
    planned,
    units: planned.every(({ target }) => target.languages.length === 1)
      ? readTargets('languages', languages)
      : familiesOf(languages),
    on,
    languages: [...new Set(documents.map(({ language }) => language))].sort((a, b) => a - b),
    spare,
    ...{ draws: options.draws, seed: options.seed },
  });
  progress.stop();
  return columns;
}

const together = (targets: Target[]): Target => ({
  name: targets.map(({ name }) => name).join(' + '),
  languages: [...new Set(targets.flatMap(({ languages }) => languages))],
});

const withText = (targets: Target[], { sums }: ExpertUsage): Target[] => {
  const [rows] = sums.values();
  return targets.filter(({ languages }) => languages.some(language => rows[language] !== null));
};

const apart = (family: Target, target: Target, usage: ExpertUsage): boolean =>
  withText([family], usage).length > 0 && !family.languages.some(language => target.languages.includes(language));

/** Null for a target that has no exclusive experts. */
function planOf(usage: ExpertUsage, target: Target, held: HeldOut<Evaluated>, options: GridOptions): Planned | null {
  const layers = readLayers(options.layers, usage.layers);
  const { how, strength = how === 'share' ? 0.03 : 0.5 } = options;
  const { keep, threshold } = { ...(how === 'share' ? SHARED : EXCLUSIVE), ...given(options) };
  const planned =
    how === 'share'
      ? planShares(usage, target, layers, { keep, threshold, strength })
      : planExperts(
          usage,
          target,
          expertsOf(usage, target, layers, held, options, { keep, threshold }),
          how as How,
          strength,
        );
  if (planned.acts.size === 0) return null;
  for (const [layer, acts] of planned.acts) checkActs(acts, layer, usage.numExperts, usage.k);
  return planned;
}

/** @throws UserError where no target is left */
function sayLeftOut(spoken: Target[], planned: Planned[], { keep, threshold }: GridOptions, out: Output): void {
  const without = spoken.filter(target => !planned.some(plan => plan.target === target)).map(({ name }) => name);
  const limits = { ...EXCLUSIVE, ...given({ keep, threshold }) };
  const why = `no expert above a share of ${limits.threshold} when each language keeps ${limits.keep}`;
  if (planned.length === 0)
    throw new UserError(`${without.join(', ')}: ${why}; lower --threshold, or choose --experts difference.`);
  if (without.length > 0) out.say(`Left out, with ${why}: ${without.join(', ')}.`);
}

const given = ({
  keep,
  threshold,
}: Pick<GridOptions, 'keep' | 'threshold'>): { keep?: number; threshold?: number } => ({
  ...(keep !== undefined && { keep }),
  ...(threshold !== undefined && { threshold }),
});

function expertsOf(
  usage: ExpertUsage,
  target: Target,
  layers: number[],
  held: HeldOut<Evaluated>,
  { experts, count }: GridOptions,
  limits: { keep: number; threshold: number },
): LayerExperts {
  if (experts === 'difference') return byDifference(usage, target, layers, count);
  if (experts === 'own') return ownExperts(target, held.map.languages, layers);
  if (experts !== 'exclusive') return readExperts(experts, layers);
  return exclusive(usage, target, layers, limits);
}

/** @param contents by file name @returns the files */
function writeAll(folder: string, contents: Record<string, string>): string[] {
  makeFolder(folder);
  return Object.entries(contents).map(([name, text]) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  });
}

const settingsOf = ({ backend: _, threads: __, json: ___, out: ____, ...rest }: GridOptions) => rest;

/** What people and programs read of a column: plain names in place of ids and maps. */
function columnJson(column: GridColumn, { map }: HeldOut<Evaluated>) {
  const { planned, flipRate, byLanguage, moved, others, ...rest } = column;
  const named = (effects: GridColumn['byLanguage']) =>
    effects.map(({ language, ...effect }) => ({ code: map.languages[language].code, ...effect }));
  return {
    name: planned.target.name,
    experts: Object.fromEntries(planned.experts),
    load: planned.load(planned.acts),
    flipRate: Object.fromEntries(flipRate),
    ...rest,
    byLanguage: named(byLanguage),
    wrongLayers: moved && { target: moved.target, byLanguage: named(moved.byLanguage) },
    others: others && { ...others, byLanguage: named(others.byLanguage) },
  };
}
