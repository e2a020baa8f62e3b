// A checkpoint: one folder `checkpoints/step-NNNNNN` in Hugging Face layout plus what a resume needs. It appears whole or
// not at all, and is read only after every byte has been checked.
//   config.json  model.safetensors  tokenizer.json  optimizer.safetensors  trainer_state.json
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFolderAtomically } from '../hub/atomic.ts';
import { readFloat32, readSafetensors } from '../hub/read-safetensors.ts';
import { writeSafetensors } from '../hub/write-safetensors.ts';
import { listCheckpoints } from './checkpoint-list.ts';
import type { NamedArray } from './optimizer.ts';
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
  weights: Iterable<NamedArray>;
  /** From Optimizer.exportState. */
  optimizer: Iterable<NamedArray>;
  trainerState: Omit<TrainerState, 'step'>;
  /** Text of tokenizer.json. */
  tokenizerJson: string;
}

export interface LoadedCheckpoint {
  directory: string;
  step: number;
  config: Record<string, unknown>;
  tokenizerJson: string;
  trainerState: TrainerState;
  /** Read from disk one at a time, in the order of the file. */
  weights(): Iterable<NamedArray>;
  /** For Optimizer.importState. */
  optimizer(): Iterable<NamedArray>;
}

const sealedFiles = ['config.json', 'model.safetensors', 'tokenizer.json', 'optimizer.safetensors'];

/** `checkpoints/step-000120` of a run. */
export const checkpointFolder = (runDir: string, step: number): string =>
  join(runDir, 'checkpoints', `step-${String(step).padStart(6, '0')}`);

/**
 * Saves a checkpoint and returns its folder. One of the same step is replaced.
 * Errors: UserError on a full disk; whatever happens, the run's other checkpoints stay as they are.
 */
export async function saveCheckpoint(runDir: string, step: number, contents: CheckpointContents): Promise<string> {
  const directory = checkpointFolder(runDir, step);
  const resumeFrom = listCheckpoints(runDir)[0]?.directory;
  await writeFolderAtomically(directory, folder => writeFiles(folder, step, contents), { resumeFrom });
  return directory;
}

async function writeFiles(folder: string, step: number, contents: CheckpointContents): Promise<void> {
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(contents.config, null, 2)}\n`);
  writeFileSync(join(folder, 'tokenizer.json'), contents.tokenizerJson);
  // transformers refuses a safetensors file that does not name its framework.
  await writeArrays(join(folder, 'model.safetensors'), contents.weights, { format: 'pt' });
  await writeArrays(join(folder, 'optimizer.safetensors'), contents.optimizer, {});
  const seals = sealedFiles.map((name): [string, FileSeal] => [name, sealFile(join(folder, name))]);
  const state = { step, ...contents.trainerState };
  writeFileSync(join(folder, STATE_FILE), sealState(state, Object.fromEntries(seals)));
}

async function writeArrays(
  path: string,
  arrays: Iterable<NamedArray>,
  metadata: Record<string, string>,
): Promise<void> {
  const sources = Array.from(arrays, ([name, shape, values]) => ({
    name,
    dtype: 'F32' as const,
    shape,
    values: () => values,
  }));
  await writeSafetensors(path, sources, metadata);
}

/** Verifies a checkpoint (every byte) and opens it. UserError in one sentence: missing, truncated, damaged, foreign. */
export function loadCheckpoint(directory: string): LoadedCheckpoint {
  const trainerState = verifyCheckpoint(directory);
  const text = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return {
    directory,
    step: trainerState.step,
    trainerState,
    config: JSON.parse(text('config.json')),
    tokenizerJson: text('tokenizer.json'),
    weights: () => readArrays(join(directory, 'model.safetensors')),
    optimizer: () => readArrays(join(directory, 'optimizer.safetensors')),
  };
}

function* readArrays(path: string): Iterable<NamedArray> {
  for (const entry of readSafetensors(path).tensors.values()) yield [entry.name, entry.shape, readFloat32(entry)];
}
