// A checkpoint: one folder `checkpoints/step-NNNNNN` in Hugging Face layout plus what a resume needs. It appears whole or
// not at all, is read only after every byte has been checked, and the newest whole one is never removed.
//   config.json  model.safetensors  tokenizer.json  optimizer.safetensors  trainer_state.json
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../errors.ts';
import { writeFolderAtomically } from '../hub/atomic.ts';
import { readFloat32, readSafetensors } from '../hub/read-safetensors.ts';
import { writeSafetensors } from '../hub/write-safetensors.ts';
import type { NamedTensor } from './optimizer.ts';
import {
  type FileSeal,
  STATE_FILE,
  sealFile,
  sealState,
  type TrainerState,
  verifyCheckpoint,
} from './trainer-state.ts';

export interface CheckpointContents {
  /** Hugging Face model configuration, config.json. */
  config: object;
  weights: Iterable<NamedTensor>;
  /** From Optimizer.exportState. */
  optimizer: Iterable<NamedTensor>;
  trainerState: Omit<TrainerState, 'step'>;
  /** Text of tokenizer.json. */
  tokenizerJson: string;
  /** How many checkpoints stay, this one included; absent: all. */
  keep?: number;
}

export interface Checkpoint {
  directory: string;
  step: number;
  config: Record<string, unknown>;
  tokenizerJson: string;
  trainerState: TrainerState;
  /** Read from disk one at a time, in the order of the file. */
  weights(): Iterable<NamedTensor>;
  /** For Optimizer.importState. */
  optimizer(): Iterable<NamedTensor>;
}

export interface ListedCheckpoint {
  directory: string;
  step: number;
}

export interface LatestCheckpoint extends ListedCheckpoint {
  /** One sentence for each newer checkpoint that is not whole. Show them: work was lost. */
  skipped: string[];
}

const sealedFiles = ['config.json', 'model.safetensors', 'tokenizer.json', 'optimizer.safetensors'];

/** `checkpoints/step-000120` of a run. */
export const checkpointFolder = (runDir: string, step: number): string =>
  join(runDir, 'checkpoints', `step-${String(step).padStart(6, '0')}`);

/**
 * Saves a checkpoint, then removes old ones beyond `keep`. Returns its folder. One of the same step is replaced.
 * Errors: UserError on a full disk; whatever happens, the run's other checkpoints stay as they are.
 */
export async function saveCheckpoint(runDir: string, step: number, contents: CheckpointContents): Promise<string> {
  const directory = checkpointFolder(runDir, step);
  const goOn = `go on with 'moe train --resume ${runDir}'`;
  await writeFolderAtomically(directory, folder => writeFiles(folder, step, contents), { goOn });
  if (contents.keep !== undefined) pruneCheckpoints(runDir, contents.keep, directory);
  return directory;
}

async function writeFiles(folder: string, step: number, contents: CheckpointContents): Promise<void> {
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(contents.config, null, 2)}\n`);
  writeFileSync(join(folder, 'tokenizer.json'), contents.tokenizerJson);
  // transformers refuses a safetensors file that does not name its framework.
  await writeTensors(join(folder, 'model.safetensors'), contents.weights, { format: 'pt' });
  await writeTensors(join(folder, 'optimizer.safetensors'), contents.optimizer, {});
  const seals = sealedFiles.map((name): [string, FileSeal] => [name, sealFile(join(folder, name))]);
  const state = { step, ...contents.trainerState };
  writeFileSync(join(folder, STATE_FILE), sealState(state, Object.fromEntries(seals)));
}

async function writeTensors(
  path: string,
  tensors: Iterable<NamedTensor>,
  metadata: Record<string, string>,
): Promise<void> {
  const sources = Array.from(tensors, ([name, { shape, values }]) => ({
    name,
    dtype: 'F32' as const,
    shape,
    values: () => values,
  }));
  await writeSafetensors(path, sources, metadata);
}

/** Verifies a checkpoint (every byte) and opens it. UserError in one sentence: missing, truncated, damaged, foreign. */
export function loadCheckpoint(directory: string): Checkpoint {
  const trainerState = verifyCheckpoint(directory);
  const text = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return {
    directory,
    step: trainerState.step,
    trainerState,
    config: JSON.parse(text('config.json')),
    tokenizerJson: text('tokenizer.json'),
    weights: () => readTensors(join(directory, 'model.safetensors')),
    optimizer: () => readTensors(join(directory, 'optimizer.safetensors')),
  };
}

function* readTensors(path: string): Iterable<NamedTensor> {
  for (const entry of readSafetensors(path).tensors.values())
    yield [entry.name, { shape: entry.shape, values: readFloat32(entry) }];
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
