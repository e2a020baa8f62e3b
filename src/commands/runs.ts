// Where runs live: runs/NAME/. Finding the newest, a free name, and the checkpoint that a path means.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { type LatestCheckpoint, latestCheckpoint, listCheckpoints, loadCheckpoint } from '../train/checkpoint.ts';

export const RUNS = 'runs';

/** runs/name, or runs/name-2, … if taken. */
export function freeRunDir(name: string): string {
  const taken = (dir: string): boolean => existsSync(dir);
  const first = join(RUNS, name);
  if (!taken(first)) return first;
  for (let n = 2; ; n++) if (!taken(`${first}-${n}`)) return `${first}-${n}`;
}

/** The run whose checkpoints changed last. @throws UserError when there is none */
export function newestRun(): string {
  const runs = existsSync(RUNS)
    ? readdirSync(RUNS)
        .map(name => join(RUNS, name))
        .filter(dir => existsSync(join(dir, 'checkpoints')))
    : [];
  if (runs.length === 0)
    throw new UserError(
      `there is no run in ${RUNS}/; train one with 'moe train --families configs/50lang.yaml --preset quick', or name a checkpoint.`,
    );
  return runs.toSorted((a, b) => changed(b) - changed(a))[0];
}
const changed = (run: string): number => statSync(join(run, 'checkpoints')).mtimeMs;

/** @throws UserError when a run has no whole checkpoint, with what is wrong with its newest */
export function newestWhole(run: string): LatestCheckpoint {
  const latest = latestCheckpoint(run);
  if (latest) return latest;
  const [newest] = listCheckpoints(run);
  if (newest) loadCheckpoint(newest.directory);
  throw new UserError(`${run} holds no checkpoint; name a run folder with checkpoints/, or a checkpoint itself.`);
}

export interface Place {
  checkpoint: string;
  /** The run folder that it belongs to, if it stands in one. */
  run: string | null;
}

/** A run folder means its newest whole checkpoint (damaged newer ones are named on stderr); a checkpoint folder means itself; nothing means the newest run. */
export function findCheckpoint(path: string | undefined): Place {
  const at = path ?? newestRun();
  if (!existsSync(at))
    throw new UserError(`${at} does not exist; name a run folder such as runs/50lang-quick or a checkpoint in it.`);
  if (existsSync(join(at, 'config.json'))) {
    const run = join(at, '..', '..');
    return { checkpoint: at, run: existsSync(join(run, 'config.yaml')) ? run : null };
  }
  const { directory, skipped } = newestWhole(at);
  for (const sentence of skipped) process.stderr.write(`${sentence} Taking ${directory}.\n`);
  return { checkpoint: directory, run: at };
}
