// The acceptance table of the confirmatory part: what must hold in the mean over seeds, as it was written down beforehand.
import { meanProfile, overSeeds } from './over-seeds.ts';
import type { LayerProfile } from './profile.ts';
import { contrastsOf } from './profile.ts';

/** One run as the checks see it; dense runs have no profiles. */
export interface RunSummary {
  run: string;
  seed: number;
  untrained: LayerProfile[];
  trained: LayerProfile[];
  free: number;
  given: number | null;
}

export interface Check {
  what: string;
  run: string;
  wanted: string;
  found: string;
  /** Seeds that it rests on. */
  n: number;
  holds: boolean;
}

type Find = (runs: RunSummary[]) => { found: string; holds: boolean };
type Of = 'untrained' | 'trained';

const two = (values: number[]): string => values.map(value => value.toFixed(2)).join(' ');
const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
const layers = (runs: RunSummary[], key: keyof LayerProfile, of: Of = 'trained'): number[] =>
  meanProfile(runs.map(run => run[of].map(layer => layer[key])));
const average = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const gap = (runs: RunSummary[]): number => average(runs.map(({ free, given }) => free - given!));
const index = (runs: RunSummary[]): number =>
  average(runs.map(({ trained }) => contrastsOf(trained.map(({ own }) => own)).lateEarly));

const CHECKS: { what: string; run: string; wanted: string; find: Find }[] = [
  {
    what: 'untrained control',
    run: 'A',
    wanted: 'own mass at step 0 within .083 ± .04 in each layer',
    find: runs => {
      const own = layers(runs, 'own', 'untrained');
      return { found: two(own), holds: own.every(value => Math.abs(value - 1 / 12) <= 0.04) };
    },
  },
  {
    what: 'artefact is shown',
    run: 'A',
    wanted: 'information at step 0 > 5 × shuffled labels in each layer',
    find: runs => {
      const shuffled = layers(runs, 'shuffled', 'untrained');
      const ratio = layers(runs, 'information', 'untrained').map((value, l) => value / shuffled[l]);
      return { found: `× ${ratio.map(value => value.toFixed(1)).join(' ')}`, holds: Math.min(...ratio) > 5 };
    },
  },
  {
    what: 'negative control',
    run: 'C0',
    wanted: 'own mass, mean over layers, .05 to .11',
    find: runs => {
      const mean = average(layers(runs, 'own'));
      return { found: mean.toFixed(3), holds: mean >= 0.05 && mean <= 0.11 };
    },
  },
  {
    what: 'language experts reached',
    run: 'R_norm',
    wanted: 'own mass ≥ .32 in each layer, ≥ .38 in the last; most used for ≥ 8 of 12 in the last',
    find: runs => {
      const own = layers(runs, 'own');
      const most = layers(runs, 'ownMostUsed').at(-1)!;
      const holds = own.every(value => value >= 0.32) && own.at(-1)! >= 0.38 && most >= 8;
      return { found: `${two(own)}; ${most.toFixed(1)} of 12`, holds };
    },
  },
  {
    what: 'mismatch closed',
    run: 'R_norm',
    wanted: 'loss without ids − with ids ≤ .03',
    find: runs => ({ found: signed(gap(runs)), holds: gap(runs) <= 0.03 }),
  },
  {
    what: 'mismatch is real',
    run: 'A',
    wanted: 'the same ≥ .05',
    find: runs => ({ found: signed(gap(runs)), holds: gap(runs) >= 0.05 }),
  },
  {
    what: 'late > early',
    run: 'R_rinit0',
    wanted: 'index of own mass > 0 and last > mean of layers 1–4',
    find: runs => {
      const last = average(runs.map(({ trained }) => contrastsOf(trained.map(({ own }) => own)).lastMiddle));
      return { found: `${signed(index(runs))}; ${signed(last)}`, holds: index(runs) > 0 && last > 0 };
    },
  },
  ...['C0', 'C0_norm'].map(run => ({
    what: 'no trend without forcing',
    run,
    wanted: 'index of own mass within ± .03',
    find: (runs: RunSummary[]) => ({ found: signed(index(runs)), holds: Math.abs(index(runs)) < 0.03 }),
  })),
];

/** Checks that compare two recipes, paired by seed. */
const PAIRS: {
  what: string;
  run: string;
  other: string;
  wanted: string;
  find: (a: RunSummary[], b: RunSummary[]) => ReturnType<Find>;
}[] = [
  {
    what: 'loss',
    run: 'R_norm',
    other: 'dense-on',
    wanted: 'loss − that of dense-on < 0',
    find: (a, b) => lossDifference(a, b, value => value < 0),
  },
  {
    what: 'loss',
    run: 'last2',
    other: 'dense-on',
    wanted: 'loss − that of dense-on within ± .03',
    find: (a, b) => lossDifference(a, b, value => Math.abs(value) < 0.03),
  },
  {
    what: 'forcing isolated',
    run: 'R_norm',
    other: 'C0_norm',
    wanted: 'own mass − that of C0_norm ≥ .2 in each layer',
    find: (a, b) => {
      const unforced = layers(b, 'own');
      const more = layers(a, 'own').map((value, l) => value - unforced[l]);
      return { found: two(more), holds: Math.min(...more) >= 0.2 };
    },
  },
];

function lossDifference(a: RunSummary[], b: RunSummary[], holds: (value: number) => boolean): ReturnType<Find> {
  const { mean, error } = overSeeds(a.map(({ free }, i) => free - b[i].free));
  return { found: signed(mean) + (a.length > 1 ? ` ± ${error.toFixed(3)}` : ''), holds: holds(mean) };
}

/** Every check that there are runs for; pairs on the seeds that both have. */
export function acceptance(all: RunSummary[]): Check[] {
  const of = (name: string) => all.filter(({ run }) => run === name);
  const single = CHECKS.flatMap(({ find, ...check }) => {
    const runs = of(check.run);
    return runs.length === 0 ? [] : [{ ...check, ...find(runs), n: runs.length }];
  });
  const paired = PAIRS.flatMap(({ find, other, ...check }) => {
    const others = new Map(of(other).map(run => [run.seed, run]));
    const runs = of(check.run).filter(({ seed }) => others.has(seed));
    if (runs.length === 0) return [];
    return [
      {
        ...check,
        ...find(
          runs,
          runs.map(({ seed }) => others.get(seed)!),
        ),
        n: runs.length,
      },
    ];
  });
  return [...single, ...paired];
}
