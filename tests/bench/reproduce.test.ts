// The reproduction's own arithmetic: its plan, what it counts, its contrasts, intervals and checks; numbers by hand.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { afterEach, describe, expect, test } from 'vitest';
import { acceptance, type RunSummary } from '../../bench/reproduce/acceptance.ts';
import { collect } from '../../bench/reproduce/collect.ts';
import { drawProfiles } from '../../bench/reproduce/figure.ts';
import { geometryOfRows } from '../../bench/reproduce/geometry.ts';
import { countByDocument, type MeasuredStep } from '../../bench/reproduce/measure.ts';
import { meanProfile, overSeeds } from '../../bench/reproduce/over-seeds.ts';
import {
  finishedFile,
  type Job,
  jobsOf,
  nextJob,
  readPlan,
  selectJobs,
  trainArguments,
} from '../../bench/reproduce/plan.ts';
import { contrastsOf, informationOf, type LayerProfile, nodesWith, profileOf } from '../../bench/reproduce/profile.ts';
import { trainAll } from '../../bench/reproduce/train.ts';
import { verdictOfSeeds } from '../../bench/reproduce/verdict.ts';
import { loadConfig } from '../../src/config/load.ts';
import { UserError } from '../../src/errors.ts';

const folders: string[] = [];
const folder = (): string => {
  folders.push(mkdtempSync(join(tmpdir(), 'reproduce-')));
  return folders.at(-1)!;
};
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true });
});

const plan = {
  parts: {
    one: {
      config: 'c.yaml',
      seeds: [5, 6],
      runs: { dense: { set: {} }, A: { preset: 'A', from: 'dense', set: { 'router.init_bias': 0.5 } } },
    },
    two: { config: 'd.yaml', seeds: [6], runs: { B: { preset: 'B', from: 'one/dense', set: {} } } },
  },
};

describe('plan', () => {
  const jobs = jobsOf(plan);
  test('seed by seed, each job after the one it starts from', () => {
    expect(jobs.map(({ id, from }) => `${id}<${from}`)).toEqual([
      'one/dense-s5<null',
      'one/A-s5<one/dense-s5',
      'one/dense-s6<null',
      'one/A-s6<one/dense-s6',
      'two/B-s6<one/dense-s6',
    ]);
  });
  test('what grows from a dense model has another seed; settings and parent are named', () => {
    expect(trainArguments(jobs[0], 'out', null, 1).join(' ')).toBe(
      'train --families c.yaml --out out --seed 5 --backend native --threads 1',
    );
    expect(trainArguments(jobs[1], 'out', 'runs/dense', 2).join(' ')).toBe(
      'train --families c.yaml --out out --preset A --set router.init_bias=0.5 --init runs/dense --seed 1005 --backend native --threads 2',
    );
  });
  test('selection brings parents along, also from another part', () => {
    expect(selectJobs(jobs, 'two').map(({ id }) => id)).toEqual(['one/dense-s6', 'two/B-s6']);
    expect(selectJobs(jobs, 'A').map(({ id }) => id)).toEqual(['one/dense-s5', 'one/A-s5', 'one/dense-s6', 'one/A-s6']);
    expect(selectJobs(jobs, 'one/A-s5').map(({ id }) => id)).toEqual(['one/dense-s5', 'one/A-s5']);
    expect(selectJobs(jobs, undefined)).toBe(jobs);
  });
  test('the next job waits for its parent and is given out once', () => {
    const next = (finished: string[], taken: string[]) => nextJob(jobs, new Set(finished), new Set(taken))?.id;
    expect(next([], [])).toBe('one/dense-s5');
    expect(next([], ['one/dense-s5'])).toBe('one/dense-s6');
    expect(next([], ['one/dense-s5', 'one/dense-s6'])).toBeUndefined();
    expect(next(['one/dense-s5'], ['one/A-s5'])).toBe('one/dense-s6');
  });
  test('a parent that the plan lacks is refused in words', () => {
    const lost = { parts: { two: { ...plan.parts.two, seeds: [7] }, one: plan.parts.one } };
    expect(() => jobsOf(lost)).toThrow('starts two/B-s7 from one/dense-s7');
  });
  test('the plan of the repository is whole, and no seed of it confirms what it chose', () => {
    const real = readPlan('bench/reproduce/plan.yaml');
    expect(jobsOf(real).length).toBeGreaterThan(45);
    const { confirm, explore, offset } = real.parts;
    expect(confirm.seeds).toHaveLength(5);
    expect(offset.seeds).toHaveLength(5);
    expect(offset.seeds.filter(seed => [...explore.seeds, ...confirm.seeds].includes(seed))).toEqual([]);
  });
  test('every job of it is a configuration that loads, and differs from its part’s other recipes', () => {
    const configs = jobsOf(readPlan('bench/reproduce/plan.yaml')).map(
      ({ part, run, config, preset, set, from }): [string, string] => {
        const presets = preset === null ? [] : [preset];
        const resolved = loadConfig(config, { presets, overrides: Object.entries(set) }).config;
        return [`${part}/${run}`, `${from?.replace(/-s\d+$/, '')} ${JSON.stringify(resolved)}`];
      },
    );
    const recipes = new Map(configs);
    for (const part of new Set([...recipes.keys()].map(name => name.split('/')[0]))) {
      const own = [...recipes].filter(([name]) => name.startsWith(`${part}/`)).map(([, config]) => config);
      expect(new Set(own).size, part).toBe(own.length);
    }
  });
  test('an unknown key is refused with the file', () => {
    const file = join(folder(), 'plan.yaml');
    writeFileSync(file, 'parts: { a: { config: x, seeds: [], runs: {} } }\n');
    expect(() => readPlan(file)).toThrow(UserError);
  });
});

describe('runner', () => {
  /** A program that makes its --out folder, notes that it ran, and fails where the folder's name says so. */
  const program = (root: string): string => {
    const path = join(root, 'program.mjs');
    writeFileSync(
      path,
      `import { appendFileSync, mkdirSync } from 'node:fs';
       const out = process.argv[process.argv.indexOf('--out') + 1];
       mkdirSync(out, { recursive: true });
       appendFileSync(${JSON.stringify(join(root, 'ran.txt'))}, out.split('/').at(-1) + '\\n');
       if (out.includes('broken')) process.exit(3);`,
    );
    return path;
  };
  const ran = (root: string): string[] => readFileSync(join(root, 'ran.txt'), 'utf8').trim().split('\n');
  const job = (id: string, from: string | null): Job => {
    const [part, run] = id.split('/');
    return { part, run, seed: 1, id, from, config: 'c.yaml', preset: null, set: {} };
  };

  test('skips what is finished, parents first, and says what it did', async () => {
    const root = folder();
    const lines: string[] = [];
    const jobs = [job('p/a', null), job('p/b', 'p/a'), job('p/c', 'p/a')];
    const options = {
      root,
      processes: 2,
      threads: 1,
      program: program(root),
      say: (line: string) => void lines.push(line),
    };
    await trainAll([jobs[0]], options);
    await trainAll(jobs, options);
    expect(ran(root)).toHaveLength(3);
    expect(ran(root)[0]).toBe('a');
    expect(lines[2]).toBe('3 runs, 1 of them finished.');
    expect(JSON.parse(readFileSync(finishedFile(root, 'p/c'), 'utf8')).command).toContain(join(root, 'p/a'));
  });
  test('a failure is named, what is under way ends, nothing new begins', async () => {
    const root = folder();
    const jobs = [job('p/broken', null), job('p/after', 'p/broken'), job('p/later', 'p/broken')];
    const options = { root, processes: 1, threads: 1, program: program(root), say: () => {} };
    await expect(trainAll(jobs, options)).rejects.toThrow(/p\/broken failed; see .*p\/broken\.log/);
    expect(ran(root)).toEqual(['broken']);
  });
});

/** Two languages with a document each; own experts 0 and 2 of three, k 2; one layer. */
const step = (slots: number[][], first = slots): MeasuredStep => ({
  ...{ step: 1, tokens: 4, free: 2, given: 1.5, byLanguage: [], layers: [0], experts: 3, k: 2, own: [0, 2] },
  documents: [
    { language: 0, item: 'a' },
    { language: 1, item: 'a' },
  ],
  slots: [slots],
  first: [first],
  geometry: { sharedMean: [0], language: [0], probe: [0] },
});

describe('profile of a layer', () => {
  test('own mass, information and effective experts by hand', () => {
    const [layer] = profileOf(
      step(
        [
          [4, 4, 0],
          [0, 4, 4],
        ],
        [
          [4, 0, 0],
          [0, 3, 1],
        ],
      ),
      'seed',
    );
    expect(layer.own).toBeCloseTo(0.5, 12);
    expect(layer.firstOwn).toBeCloseTo((1 + 0.25) / 2, 12);
    // H(¼,½,¼) − H(½,½) = 1.5 ln 2 − ln 2 = ½ ln 2, over ln 2 languages
    expect(layer.information).toBeCloseTo(0.5, 12);
    expect(layer.pooledEffective).toBeCloseTo(2 ** 1.5, 12);
    expect(layer.languageEffective).toBeCloseTo(2, 12);
    expect(layer.halfMass).toBe(1);
    expect(layer.ownMostUsed).toBe(1); // language 0's first of two equals; language 1's most used is expert 1
    expect(layer.shuffled).toBeCloseTo(0.5, 12); // two documents: either labelling says the same
  });
  test('labels shuffled over many documents tell next to nothing where documents tell everything', () => {
    const documents = Array.from({ length: 60 }, (_, d) => ({ language: d % 2, item: String(d) }));
    const slots = documents.map(({ language }) => (language === 0 ? [10, 10, 0] : [0, 10, 10]));
    const [layer] = profileOf({ ...step([]), documents, slots: [slots], first: [slots] }, 'seed');
    expect(layer.information).toBeCloseTo(0.5, 12);
    expect(layer.shuffled).toBeLessThan(0.03);
  });
  test('information is none for equal rows and all for separate ones; a language without text is left out', () => {
    expect(
      informationOf([
        [0.5, 0.5],
        [0.5, 0.5],
      ]),
    ).toBeCloseTo(0, 12);
    expect(
      informationOf([
        [1, 0],
        [0, 1],
        [0, 0],
      ]),
    ).toBeCloseTo(1, 12);
  });
  test('experts with half of the mass', () => {
    expect(nodesWith([0.3, 0.2, 0.2, 0.1, 0.1, 0.1], 0.5)).toBe(2);
    expect(nodesWith(new Array(12).fill(1 / 12), 0.5)).toBe(6);
    expect(nodesWith([0.5, 0.5, 0], 0.5)).toBe(1);
  });
  test('contrasts: thirds of six layers, quarters of twelve', () => {
    const six = contrastsOf([0.12, 0.05, 0.04, 0.06, 0.2, 0.3]);
    expect(six.lateEarly).toBeCloseTo(0.165, 12);
    expect(six.lastMiddle).toBeCloseTo(0.3 - 0.0875, 12);
    expect(six.firstMiddle).toBeCloseTo(0.12 - 0.0875, 12);
    const twelve = contrastsOf([0, 0, 0, 5, 5, 5, 5, 5, 5, 3, 3, 3]);
    expect(twelve.lateEarly).toBe(3);
    expect(() => contrastsOf([1, 2])).toThrow(RangeError);
  });
  test('counting: choices by rank, padding and the end of text left out', () => {
    const counts = countByDocument([4], 2, 3, 9);
    const batch = { document_BS: Int32Array.from([0, 1, 1, -1]), inputId_BS: Int32Array.from([5, 6, 9, 7]) };
    counts.add({ layer: 4, k: 2, expertId_TK: Int32Array.from([0, 1, 2, 1, 0, 1, 0, 1]) }, batch);
    counts.add({ layer: 4, k: 2, expertId_TK: Int32Array.from([1, 0, 2, 0, 0, 1, 0, 1]) }, batch);
    expect(counts.slots).toEqual([
      [
        [2, 2, 0],
        [1, 1, 2],
      ],
    ]);
    expect(counts.first).toEqual([
      [
        [1, 1, 0],
        [0, 0, 2],
      ],
    ]);
  });
});

describe('geometry', () => {
  /** Tokens of two languages around a common mean. */
  const rows = (common: number, apart: number, noise: number) => {
    const random = seedrandom('geometry');
    const T = 400;
    const x_TD = new Float32Array(T * 3);
    const language_T = Int32Array.from({ length: T }, (_, t) => t % 2);
    language_T.forEach((g, t) => {
      x_TD[3 * t] = common;
      x_TD[3 * t + 1] = g === 0 ? apart : -apart;
      x_TD[3 * t + 2] = noise * (random() < 0.5 ? -1 : 1);
    });
    return { x_TD, language_T, half_T: language_T.map((_, t) => (t >> 1) % 2) };
  };
  test('shares of energy by hand: 9 common, 4 between languages, 1 noise', () => {
    const { sharedMean, language, probe } = geometryOfRows(rows(3, 2, 1), 2);
    expect(sharedMean).toBeCloseTo(9 / 14, 2);
    expect(language).toBeCloseTo(4 / 5, 2);
    expect(probe).toBe(1);
  });
  test('a probe of nothing is at chance', () => {
    const { language, probe } = geometryOfRows(rows(3, 0, 1), 2);
    expect(language).toBeLessThan(0.02);
    expect(Math.abs(probe - 0.5)).toBeLessThan(0.1);
  });
});

test('over seeds: mean, standard error and the 95 % t-interval', () => {
  const { mean, error, interval } = overSeeds([1, 2, 3, 4, 5]);
  expect(mean).toBe(3);
  expect(error).toBeCloseTo(Math.sqrt(0.5), 12);
  expect(interval![0]).toBeCloseTo(3 - 2.776445 * Math.sqrt(0.5), 5);
  expect(interval![1]).toBeCloseTo(3 + 2.776445 * Math.sqrt(0.5), 5);
  expect(overSeeds([4]).interval).toBeNull();
  expect(
    meanProfile([
      [1, 2],
      [3, 6],
    ]),
  ).toEqual([2, 4]);
});

const profile = (own: number[], change: Partial<LayerProfile> = {}): LayerProfile[] =>
  own.map(value => ({
    ...{ own: value, firstOwn: value, information: 0.3, shuffled: 0.01, pooledEffective: 10, halfMass: 4 },
    ...{ languageEffective: 5, ownMostUsed: 10, ...change },
  }));
const chance = [0.08, 0.09, 0.08, 0.09, 0.08, 0.09];
const run = (
  name: string,
  seed: number,
  own: number[],
  loss: [number, number | null],
  change?: Partial<LayerProfile>,
): RunSummary => ({
  ...{ run: name, seed, untrained: own.length ? profile(chance, change) : [], trained: profile(own, change) },
  ...{ free: loss[0], given: loss[1] },
});
const high = [0.4, 0.36, 0.35, 0.34, 0.38, 0.41];

describe('verdict over seeds', () => {
  const seeds = (own: number[], effective: number[]): LayerProfile[][] =>
    [-0.01, 0, 0.01, 0.005, -0.005].map((shift, seed) =>
      own.map((value, l) => ({
        ...profile([value + (l > 3 ? shift : 0)])[0],
        information: value + (l > 3 ? shift : 0) + 0.02,
        shuffled: 0.02,
        pooledEffective: effective[l] + seed / 10,
      })),
    );
  const flat = [9, 9, 9, 9, 9, 9];
  test.each([
    ['late spread', [0.1, 0.1, 0.1, 0.1, 0.3, 0.3]],
    ['U-shape', [0.3, 0.3, 0.1, 0.1, 0.3, 0.3]],
    ['both', [0.2, 0.2, 0.1, 0.1, 0.3, 0.3]],
    ['neither', [0.3, 0.2, 0.2, 0.1, 0.1, 0.1]],
  ] as const)('%s', (verdict, own) => {
    const seen = verdictOfSeeds(seeds([...own], flat));
    expect(seen.verdict).toBe(verdict);
    expect(seen.ownVerdict).toBe(verdict);
  });
  test('index by hand, with the t-interval; early layers share when late ones have more effective experts', () => {
    const seen = verdictOfSeeds(seeds([0.12, 0.05, 0.04, 0.06, 0.2, 0.3], [4, 4, 9, 9, 9, 9]));
    expect(seen.index.estimate).toBeCloseTo(0.165, 10);
    expect(seen.index.high! - 0.165).toBeCloseTo(2.776445 * Math.sqrt(0.00025 / 4 / 5), 6);
    expect(seen.earlyShares).toBe('yes');
    expect(verdictOfSeeds(seeds([0.1, 0.1, 0.1, 0.1, 0.3, 0.3], flat)).earlyShares).toBe('no');
  });
  test('two seeds tell nothing', () => {
    const two = seeds([0.1, 0.1, 0.1, 0.1, 0.3, 0.3], flat).slice(0, 2);
    expect(verdictOfSeeds(two).verdict).toBe('cannot tell');
    expect(verdictOfSeeds(two).earlyShares).toBe('cannot tell');
  });
});

describe('acceptance', () => {
  const good = [1, 2].flatMap(seed => [
    run('A', seed, [0.2, 0.2, 0.2, 0.2, 0.2, 0.3], [4.1, 4]),
    run('R_rinit0', seed, [0.3, 0.28, 0.26, 0.3, 0.36, 0.35], [4, 3.97]),
    run('R_norm', seed, high, [3.9, 3.89]),
    run('C0', seed, chance, [4, null]),
    run('C0_norm', seed, chance, [3.9, null]),
    run('last2', seed, [0.3, 0.3], [3.95, 3.9]),
    run('dense-on', seed, [], [3.95, null]),
  ]);
  test('all hold where the study’s numbers come back', () => {
    const checks = acceptance(good);
    expect(checks).toHaveLength(12);
    expect(checks.filter(({ holds }) => !holds)).toEqual([]);
    expect(checks.every(({ n }) => n === 2)).toBe(true);
  });
  test.each([
    [
      'untrained control',
      good.map(one => (one.run === 'A' ? { ...one, untrained: profile([0.2, ...chance.slice(1)]) } : one)),
    ],
    [
      'artefact is shown',
      good.map(one => (one.run === 'A' ? { ...one, untrained: profile(chance, { shuffled: 0.07 }) } : one)),
    ],
    ['negative control', good.map(one => (one.run === 'C0' ? { ...one, trained: profile(high) } : one))],
    [
      'language experts reached',
      good.map(one => (one.run === 'R_norm' ? { ...one, trained: profile(high, { ownMostUsed: 7 }) } : one)),
    ],
    ['mismatch closed', good.map(one => (one.run === 'R_norm' ? { ...one, given: one.free - 0.05 } : one))],
    ['mismatch is real', good.map(one => (one.run === 'A' ? { ...one, given: one.free - 0.04 } : one))],
    [
      'late > early',
      good.map(one => (one.run === 'R_rinit0' ? { ...one, trained: profile([0.4, 0.3, 0.3, 0.3, 0.3, 0.3]) } : one)),
    ],
    ['loss', good.map(one => (one.run === 'last2' ? { ...one, free: 4 } : one))],
    [
      'forcing isolated',
      good.map(one => (one.run === 'C0_norm' ? { ...one, trained: profile(high.map(v => v - 0.15)) } : one)),
    ],
  ])('%s is noticed when it is broken', (what, runs) => {
    expect(
      acceptance(runs)
        .filter(({ holds }) => !holds)
        .map(check => check.what),
    ).toContain(what);
  });
  test('pairs rest on the seeds that both have', () => {
    const checks = acceptance(good.filter(one => !(one.run === 'dense-on' && one.seed === 2)));
    expect(checks.filter(({ what }) => what === 'loss').map(({ n }) => n)).toEqual([1, 1]);
  });
});

test('the picture has a panel per recipe and every number in its CSV', () => {
  const one = {
    untrained: [
      [0.1, 0.1],
      [0.1, 0.1],
    ],
    trained: [
      [0.1, 0.4],
      [0.2, 0.3],
    ],
  };
  const panel = { title: 'A', note: '', layers: [4, 5], experts: 12, own: one, effective: one };
  const figure = drawProfiles([panel, { ...panel, title: 'B' }], { name: 'profiles', title: 'T', k: 2 });
  expect(figure.csv.trim().split('\n')).toHaveLength(1 + 2 * 2 * 2 * 2);
  expect(figure.csv).toContain('"A",trained,1,5,0.30000,0.3000');
  expect(figure.svg.match(/<polyline/g)).toHaveLength(2 * 2 * (2 + 2 + 2));
  expect(drawProfiles([panel], { name: 'profiles', title: 'T', k: 2 }).svg).toBe(
    drawProfiles([panel], { name: 'profiles', title: 'T', k: 2 }).svg,
  );
});

test('collecting reads measured runs alone and may be done again', () => {
  const root = folder();
  const job: Job = { part: 'p', run: 'A', seed: 1, id: 'p/A-s1', from: null, config: '', preset: null, set: {} };
  const missing: Job = { ...job, run: 'B', id: 'p/B-s1' };
  mkdirSync(join(root, 'p/A-s1'), { recursive: true });
  const layers = {
    layers: [0, 1, 2],
    slots: new Array(3).fill([
      [4, 4, 0],
      [0, 4, 4],
    ]),
    first: new Array(3).fill([
      [4, 4, 0],
      [0, 4, 4],
    ]),
  };
  const steps = [step([]), step([])].map(one => ({ ...one, ...layers }));
  writeFileSync(join(root, 'p/A-s1/measured.json'), JSON.stringify({ run: 'x', steps }));
  writeFileSync(finishedFile(root, 'p/A-s1'), '{"seconds": 90}');
  const said: string[] = [];
  collect([job, missing], root, line => void said.push(line));
  const table = readFileSync(join(root, 'table.md'), 'utf8');
  collect([job, missing], root, () => {});
  expect(readFileSync(join(root, 'table.md'), 'utf8')).toBe(table);
  expect(table).toContain('| A | 1 | .50 .50 .50 |');
  expect(table).toContain('1.5–1.5');
  expect(table).not.toContain('| B |');
  expect(readFileSync(join(root, 'profiles-p.svg'), 'utf8')).toContain('late − early +0.00');
  expect(said.join()).toBe(table.trimEnd());
});
