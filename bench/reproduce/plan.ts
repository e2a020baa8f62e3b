// The plan of the reproduction: parts × seeds × runs, read from plan.yaml and laid out as jobs in the order they are run.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { UserError } from '../../src/errors.ts';

const run = z.strictObject({
  /** Preset of the part's configuration; left out: its base. */
  preset: z.string().optional(),
  /** Run of the same seed, in this part or as `part/run`, whose last checkpoint this one starts from. */
  from: z.string().optional(),
  /** Single settings, by dotted key. */
  set: z.record(z.string(), z.unknown()).default({}),
  /** Seeds of this run alone, among the part's. */
  seeds: z.array(z.int().nonnegative()).optional(),
});
const planSchema = z.strictObject({
  parts: z.record(
    z.string(),
    z.strictObject({
      config: z.string(),
      seeds: z.array(z.int().nonnegative()).min(1),
      runs: z.record(z.string(), run),
    }),
  ),
});
export type Plan = z.infer<typeof planSchema>;

export interface Job {
  part: string;
  run: string;
  seed: number;
  /** `part/run-sSEED`: its folder below the folder of all runs, and its name in tables. */
  id: string;
  /** Job that must be finished first, whose checkpoint it starts from. */
  from: string | null;
  config: string;
  preset: string | null;
  set: Record<string, unknown>;
}

/** What grows out of a dense model draws its data and routers by another seed than the dense model did. */
export const GROWN_SEED = 1000;

/** @throws UserError for a plan of another shape */
export function readPlan(file: string): Plan {
  const result = planSchema.safeParse(parse(readFileSync(file, 'utf8')));
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0];
  throw new UserError(`${file}: '${path.join('.')}' is not right (${message}); correct the plan.`);
}

/** Jobs seed by seed, so that the first seed's table is there first. @throws UserError for a `from` that the plan lacks */
export function jobsOf(plan: Plan): Job[] {
  const jobs = Object.entries(plan.parts).flatMap(([part, { config, seeds, runs }]) =>
    seeds.flatMap(seed =>
      Object.entries(runs)
        .filter(([, wanted]) => wanted.seeds === undefined || wanted.seeds.includes(seed))
        .map(([name, { preset, from, set }]): Job => {
          const parent = from === undefined ? null : from.includes('/') ? from : `${part}/${from}`;
          return {
            part,
            run: name,
            seed,
            id: `${part}/${name}-s${seed}`,
            from: parent === null ? null : `${parent}-s${seed}`,
            config,
            preset: preset ?? null,
            set,
          };
        }),
    ),
  );
  const known = new Set(jobs.map(({ id }) => id));
  for (const { id, from } of jobs)
    if (from !== null && !known.has(from))
      throw new UserError(`the plan starts ${id} from ${from}, which it does not have; add that run or its seed.`);
  return jobs;
}

/** Arguments of `moe` that do a job. */
export function trainArguments(job: Job, folder: string, parent: string | null, threads: number): string[] {
  const settings = Object.entries(job.set).flatMap(([key, value]) => ['--set', `${key}=${JSON.stringify(value)}`]);
  return [
    ...['train', '--families', job.config, '--out', folder],
    ...(job.preset === null ? [] : ['--preset', job.preset]),
    ...settings,
    ...(parent === null ? [] : ['--init', parent]),
    ...['--seed', String(job.seed + (parent === null ? 0 : GROWN_SEED))],
    ...['--backend', 'native', '--threads', String(threads)],
  ];
}

/** The first job that is neither finished nor under way and whose parent is finished. */
export function nextJob(jobs: Job[], finished: ReadonlySet<string>, taken: ReadonlySet<string>): Job | null {
  return (
    jobs.find(({ id, from }) => !finished.has(id) && !taken.has(id) && (from === null || finished.has(from))) ?? null
  );
}

/** `confirm`, `confirm/A`, `A`, `confirm/A-s61` or several of them with commas; parents come along. */
export function selectJobs(jobs: Job[], only: string | undefined): Job[] {
  if (only === undefined) return jobs;
  const wanted = only.split(',');
  const chosen = new Set(
    jobs.filter(job => wanted.some(name => [job.part, job.run, `${job.part}/${job.run}`, job.id].includes(name))),
  );
  const byId = new Map(jobs.map(job => [job.id, job]));
  for (const job of chosen) if (job.from !== null) chosen.add(byId.get(job.from)!);
  return jobs.filter(job => chosen.has(job));
}

/** Written last, so a job that was killed is done again. */
export const finishedFile = (root: string, id: string): string => join(root, id, 'finished.json');
