// Does the plan's jobs, so many at a time, each a process of its own. Takes up where it was stopped: finished jobs are skipped,
// an unfinished one begins again.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { UserError } from '../../src/errors.ts';
import { finishedFile, type Job, nextJob, trainArguments } from './plan.ts';

export interface TrainOptions {
  /** Folder of all runs. */
  root: string;
  /** Processes at a time. */
  processes: number;
  threads: number;
  /** The program: bin/moe.mjs. */
  program: string;
  say: (line: string) => void;
}

/** Runs every job that is not finished. @throws UserError when one fails, with where its log is; those under way are let finish */
export async function trainAll(jobs: Job[], options: TrainOptions): Promise<void> {
  const { root, processes, say } = options;
  const finished = new Set(jobs.map(({ id }) => id).filter(id => existsSync(finishedFile(root, id))));
  const taken = new Set<string>();
  say(`${jobs.length} runs, ${finished.size} of them finished.`);
  const failures: string[] = [];
  await new Promise<void>(resolve => {
    const fill = (): void => {
      while (taken.size < processes && failures.length === 0) {
        const job = nextJob(jobs, finished, taken);
        if (job === null) break;
        taken.add(job.id);
        trainOne(job, options).then(seconds => {
          taken.delete(job.id);
          if (seconds === null) failures.push(job.id);
          else {
            finished.add(job.id);
            say(`${job.id}: ${Math.round(seconds)} s; ${finished.size} of ${jobs.length} finished.`);
          }
          fill();
        });
      }
      if (taken.size === 0) resolve();
    };
    fill();
  });
  if (failures.length > 0)
    throw new UserError(`${failures.join(', ')} failed; see ${join(root, `${failures[0]}.log`)} and start again.`);
}

/** @returns seconds, null when it failed */
async function trainOne(job: Job, { root, threads, program }: TrainOptions): Promise<number | null> {
  const folder = join(root, job.id);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  const parent = job.from === null ? null : join(root, job.from);
  const log = openSync(`${folder}.log`, 'w');
  const began = Date.now();
  const command = ['-n', '15', process.execPath, program, ...trainArguments(job, folder, parent, threads)];
  const code = await new Promise<number | null>(resolve => {
    spawn('nice', command, { stdio: ['ignore', log, log] }).on('close', resolve);
  });
  if (code !== 0) return null;
  const seconds = (Date.now() - began) / 1000;
  const facts = { seconds, began: new Date(began).toISOString(), load: loadavg(), command };
  writeFileSync(finishedFile(root, job.id), `${JSON.stringify(facts, null, 2)}\n`);
  return seconds;
}
