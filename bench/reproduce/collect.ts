// From measured runs to the tables and the picture: reads RUN/measured.json alone, so it can be done again at any time and with
// any part of the plan finished. Writes ROOT/results.json, ROOT/table.md and ROOT/profiles-PART.svg with its CSV.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { correlationOf } from '../../analysis/correlation.ts';
import { acceptance, type RunSummary } from './acceptance.ts';
import { drawProfiles, type Panel } from './figure.ts';
import { type MeasuredStep, readMeasured } from './measure.ts';
import { meanProfile, overSeeds } from './over-seeds.ts';
import { finishedFile, type Job } from './plan.ts';
import { contrastsOf, type LayerProfile, profileOf } from './profile.ts';
import { type SeedVerdict, verdictOfSeeds } from './verdict.ts';

export interface Collected extends RunSummary {
  part: string;
  id: string;
  seconds: number;
  k: number;
  experts: number;
  layers: number[];
  geometry: MeasuredStep['geometry'];
}

/** The runs of these jobs that are measured. */
export function collectRuns(jobs: Job[], root: string): Collected[] {
  return jobs.flatMap(job => {
    const folder = join(root, job.id);
    if (!existsSync(join(folder, 'measured.json'))) return [];
    const { steps } = readMeasured(folder);
    const last = steps.at(-1)!;
    const sparse = last.layers.length > 0;
    const { seconds } = JSON.parse(readFileSync(finishedFile(root, job.id), 'utf8')) as { seconds: number };
    return [
      {
        ...{ part: job.part, id: job.id, run: job.run, seed: job.seed, seconds },
        untrained: sparse ? profileOf(steps[0], `${job.id}/0`) : [],
        trained: sparse ? profileOf(last, job.id) : [],
        ...{ free: last.free, given: last.given, k: last.k, experts: last.experts, layers: last.layers },
        geometry: last.geometry,
      },
    ];
  });
}

/** @param say gets the tables as Markdown */
export function collect(jobs: Job[], root: string, say: (line: string) => void): void {
  const runs = collectRuns(jobs, root);
  const parts = [...new Set(runs.map(({ part }) => part))];
  const tables = parts.map(part =>
    partTables(
      part,
      runs.filter(run => run.part === part),
    ),
  );
  const markdown = tables.join('\n\n');
  writeFileSync(join(root, 'table.md'), `${markdown}\n`);
  writeFileSync(join(root, 'results.json'), `${JSON.stringify(runs, null, 1)}\n`);
  const deep = runs.filter(run => run.layers.length > 2);
  for (const [name, of] of [
    ...parts.map(part => [part, deep.filter(run => run.part === part)] as const),
    ['all', deep] as const,
  ]) {
    if (of.length === 0) continue;
    const title = `Where languages go, by layer (${name})`;
    const figure = drawProfiles(panelsOf(of), { name: `profiles-${name}`, title, k: of[0].k });
    writeFileSync(join(root, `${figure.name}.svg`), figure.svg);
    writeFileSync(join(root, `${figure.name}.csv`), figure.csv);
  }
  say(markdown);
}

function panelsOf(runs: Collected[]): Panel[] {
  const nameOf = ({ part, run }: Collected) => `${part}/${run}`;
  return [...new Set(runs.map(nameOf))].map(name => {
    const of = runs.filter(run => nameOf(run) === name);
    const both = (key: keyof LayerProfile) => ({
      untrained: of.map(({ untrained }) => untrained.map(layer => layer[key])),
      trained: of.map(({ trained }) => trained.map(layer => layer[key])),
    });
    const { layers, experts } = of[0];
    const note = `${of.length} ${of.length === 1 ? 'seed' : 'seeds'}; late − early ${lateEarly(of)}`;
    return { title: name, note, layers, experts, own: both('own'), effective: both('pooledEffective') };
  });
}

const lateEarly = (runs: Collected[]): string =>
  interval(overSeeds(runs.map(({ trained }) => contrastsOf(trained.map(({ own }) => own)).lateEarly)), 2);

function partTables(part: string, runs: Collected[]): string {
  const names = [...new Set(runs.map(({ run }) => run))];
  const of = (name: string) => runs.filter(({ run }) => run === name);
  const sparse = names.filter(name => of(name)[0].layers.length > 0);
  const checks = acceptance(runs);
  return [
    `### ${part}`,
    table(
      PROFILE_HEADER,
      sparse.map(name => profileRow(name, of(name))),
    ),
    table(
      CONTRAST_HEADER,
      sparse.filter(name => of(name)[0].layers.length > 2).map(name => contrastRow(name, of(name))),
    ),
    table(
      VERDICT_HEADER,
      sparse.filter(name => of(name)[0].layers.length > 2).map(name => verdictRow(name, of(name))),
    ),
    table(
      LOSS_HEADER,
      names.map(name => lossRow(name, of(name), of('dense-on'))),
    ),
    table(
      GEOMETRY_HEADER,
      names.map(name => geometryRow(name, of(name))),
    ),
    ...(part === 'confirm'
      ? [
          table(
            ['check', 'recipe', 'wanted', 'found', 'seeds', ''],
            checks.map(check => [
              check.what,
              check.run,
              check.wanted,
              check.found,
              String(check.n),
              check.holds ? 'holds' : '**fails**',
            ]),
          ),
        ]
      : []),
  ].join('\n\n');
}

const table = (header: string[], rows: string[][]): string =>
  [header, header.map(() => '--'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n');
const two = (values: number[]): string => values.map(value => value.toFixed(2).replace(/^0/, '')).join(' ');
const one = (values: number[]): string => values.map(value => value.toFixed(1)).join(' ');
const interval = ({ mean, interval: ends }: ReturnType<typeof overSeeds>, places = 3): string =>
  signed(mean, places) + (ends === null ? '' : ` [${signed(ends[0], places)}, ${signed(ends[1], places)}]`);
const signed = (value: number, places = 3): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(places)}`;

const PROFILE_HEADER = [
  'run',
  'n',
  'own mass',
  'first choice own',
  'information',
  'at step 0',
  'shuffled',
  'pooled effective experts',
  'at step 0',
  'half of mass',
  'effective by language',
  'own most used, last',
];
function profileRow(name: string, runs: Collected[]): string[] {
  const of = (key: keyof LayerProfile, state: 'trained' | 'untrained' = 'trained') =>
    meanProfile(runs.map(run => run[state].map(layer => layer[key])));
  return [
    name,
    String(runs.length),
    two(of('own')),
    two(of('firstOwn')),
    two(of('information')),
    two(of('information', 'untrained')),
    two(of('shuffled')),
    one(of('pooledEffective')),
    one(of('pooledEffective', 'untrained')),
    one(of('halfMass')),
    one(of('languageEffective')),
    of('ownMostUsed').at(-1)!.toFixed(1),
  ];
}

const CONTRAST_HEADER = [
  'run',
  'n',
  'own mass, late − early (per seed)',
  'last − middle',
  'first − middle',
  'information, late − early',
  'trained − step 0',
  'pooled effective, late − early',
  'at step 0',
];
function contrastRow(name: string, runs: Collected[]): string[] {
  const over = (
    key: keyof LayerProfile,
    contrast: keyof ReturnType<typeof contrastsOf>,
    state: 'trained' | 'untrained' = 'trained',
  ) => overSeeds(runs.map(run => contrastsOf(run[state].map(layer => layer[key]))[contrast]));
  const own = over('own', 'lateEarly');
  const gained = overSeeds(
    runs.map(
      ({ trained, untrained }) =>
        contrastsOf(trained.map((layer, l) => layer.information - untrained[l].information)).lateEarly,
    ),
  );
  return [
    name,
    String(runs.length),
    `${interval(own)} (${own.values.map(value => signed(value)).join(', ')})`,
    interval(over('own', 'lastMiddle')),
    interval(over('own', 'firstMiddle')),
    interval(over('information', 'lateEarly')),
    interval(gained),
    interval(over('pooledEffective', 'lateEarly'), 2),
    interval(over('pooledEffective', 'lateEarly', 'untrained'), 2),
  ];
}

const VERDICT_HEADER = [
  'run',
  'n',
  'language information D, late − max(early, middle)',
  'late − early',
  'late − middle',
  'early − middle',
  'verdict on D',
  'verdict on own mass',
  'early layers share',
];
function verdictRow(name: string, runs: Collected[]): string[] {
  const seen = verdictOfSeeds(runs.map(({ trained }) => trained));
  const cell = (key: 'index' | 'lateEarly' | 'lateMiddle' | 'earlyMiddle'): string => {
    const { estimate, low, high }: SeedVerdict[typeof key] = seen[key];
    return signed(estimate) + (low === null ? '' : ` [${signed(low)}, ${signed(high!)}]`);
  };
  return [
    ...[name, String(runs.length), cell('index'), cell('lateEarly'), cell('lateMiddle'), cell('earlyMiddle')],
    ...[seen.verdict, seen.ownVerdict, seen.earlyShares],
  ];
}

const LOSS_HEADER = ['run', 'n', 'loss', 'with ids', 'gap', '− dense-on, paired', 'minutes per run'];
function lossRow(name: string, runs: Collected[], dense: Collected[]): string[] {
  const free = overSeeds(runs.map(run => run.free));
  const given = runs.every(run => run.given !== null) ? overSeeds(runs.map(run => run.given!)) : null;
  const base = new Map(dense.map(run => [run.seed, run.free]));
  const paired = runs.filter(({ seed }) => base.has(seed)).map(run => run.free - base.get(run.seed)!);
  const difference = paired.length > 0 ? overSeeds(paired) : null;
  const minutes = runs.map(({ seconds }) => seconds / 60);
  return [
    name,
    String(runs.length),
    free.mean.toFixed(3),
    given?.mean.toFixed(3) ?? '–',
    given === null ? '–' : signed(free.mean - given.mean),
    difference === null ? '–' : signed(difference.mean) + (difference.n > 1 ? ` ± ${difference.error.toFixed(3)}` : ''),
    `${Math.min(...minutes).toFixed(1)}–${Math.max(...minutes).toFixed(1)}`,
  ];
}

const GEOMETRY_HEADER = [
  'run',
  'n',
  'shared mean of the router’s input, share of energy',
  'language means, share of the rest',
  'language probe',
  'effective experts against shared mean, rank correlation',
];
function geometryRow(name: string, runs: Collected[]): string[] {
  const of = (key: keyof Collected['geometry']) => two(meanProfile(runs.map(({ geometry }) => geometry[key])));
  return [name, String(runs.length), of('sharedMean'), of('language'), of('probe'), follows(runs)];
}

/** Rank correlation, over layers and seeds, of pooled effective experts with the shared mean; – for runs without depth. */
function follows(runs: Collected[]): string {
  if (runs[0].layers.length < 3) return '–';
  const effective = runs.flatMap(({ trained }) => trained.map(layer => layer.pooledEffective));
  const shared = runs.flatMap(({ geometry, layers }) => layers.map(layer => geometry.sharedMean[layer]));
  return signed(correlationOf(effective, shared, 'spearman'), 2);
}
