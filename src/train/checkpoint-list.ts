// The checkpoints of a run folder: which is the newest whole one, and which old ones may go.
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../errors.ts';
import { verifyCheckpoint } from './trainer-state.ts';

export interface ListedCheckpoint {
  directory: string;
  step: number;
}

export interface LatestCheckpoint extends ListedCheckpoint {
  /** One sentence for each newer checkpoint that is not whole. Show them: work was lost. */
  skipped: string[];
}

/** All folders named as checkpoints, newest first, unverified. Temporaries have other names. */
export function listCheckpoints(runDir: string): ListedCheckpoint[] {
  const parent = join(runDir, 'checkpoints');
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter(name => /^step-\d{6,}$/.test(name))
    .map(name => ({ directory: join(parent, name), step: Number(name.slice('step-'.length)) }))
    .sort((a, b) => b.step - a.step);
}

/** The newest checkpoint whose every byte is as saved; null when the run has none. */
export function latestCheckpoint(runDir: string): LatestCheckpoint | null {
  const skipped: string[] = [];
  for (const checkpoint of listCheckpoints(runDir)) {
    const fault = faultOf(checkpoint.directory);
    if (fault === null) return { ...checkpoint, skipped };
    skipped.push(fault);
  }
  return null;
}

/** What is wrong with a checkpoint, or null. */
function faultOf(directory: string): string | null {
  try {
    verifyCheckpoint(directory);
    return null;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

/**
 * Keeps the newest whole checkpoint and the `keep` − 1 before it; removes older ones and what crashes left half written.
 * Newer ones that are damaged stay for a person to look at. `justSaved` is known to be whole and is not read again.
 * Returns the removed folders.
 */
export function pruneCheckpoints(runDir: string, keep: number, justSaved?: string): string[] {
  const all = listCheckpoints(runDir);
  const newest = all.findIndex(({ directory }) => directory === justSaved || faultOf(directory) === null);
  if (newest < 0) return [];
  const older = all.slice(newest + Math.max(1, keep)).map(({ directory }) => directory);
  const old = older.filter(directory => directory !== justSaved);
  for (const directory of old) remove(directory);
  removeLeftovers(join(runDir, 'checkpoints'));
  return old;
}

/** Renamed first, so that a half-deleted folder never looks like a checkpoint. */
function remove(directory: string): void {
  const aside = join(dirname(directory), `.${basename(directory)}.removed`);
  rmSync(aside, { recursive: true, force: true });
  renameSync(directory, aside);
  rmSync(aside, { recursive: true });
}

function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent))
    if (/^\.step-\d+\.(partial|removed)$/.test(name)) rmSync(join(parent, name), { recursive: true });
}
