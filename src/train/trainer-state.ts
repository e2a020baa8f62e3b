// trainer_state.json: where a run stands, and the seal over the checkpoint's other files (bytes and SHA-256 of each, and a
// SHA-256 of this file's own content), so that a truncated, changed or foreign checkpoint is refused before it is used.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';

/** Plain JSON: finite numbers, text, lists and objects. */
export interface TrainerState {
  /** Updates done. */
  step: number;
  seed: number;
  /** The run's resolved configuration; compared on resume. */
  config: object;
  /** All that the loop must have back: phase, random streams, data cursor, tokens seen, the watch. */
  run: object;
}

export interface FileSeal {
  bytes: number;
  sha256: string;
}

interface SealedState extends TrainerState {
  format: string;
  version: number;
  configHash: string;
  files: Record<string, FileSeal>;
}

export const STATE_FILE = 'trainer_state.json';
const FORMAT = 'language-family-moe checkpoint';
const VERSION = 1;
const MEND = 'resume from another checkpoint of the run';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** SHA-256 of a configuration, over its JSON. */
export const configHash = (config: object): string => sha256(JSON.stringify(config));

/** Bytes and SHA-256 of a file, read in pieces. */
export function sealFile(path: string): FileSeal {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(4 * 1024 * 1024);
  const file = openSync(path, 'r');
  try {
    let bytes = 0;
    for (;;) {
      const got = readSync(file, piece);
      if (got === 0) return { bytes, sha256: hash.digest('hex') };
      hash.update(piece.subarray(0, got));
      bytes += got;
    }
  } finally {
    closeSync(file);
  }
}

/** JSON would turn NaN into null and a typed array into an object: neither could be restored. */
function plain(this: unknown, key: string, value: unknown): unknown {
  const lost = typeof value === 'number' ? !Number.isFinite(value) : ArrayBuffer.isView(value) || value instanceof Map;
  if (lost) throw new Error(`trainer state '${key}' is not plain JSON`);
  return value;
}

/** The text of trainer_state.json for a checkpoint with these other files. */
export function sealState(state: TrainerState, files: Record<string, FileSeal>): string {
  const sealed: SealedState = {
    format: FORMAT,
    version: VERSION,
    ...state,
    configHash: configHash(state.config),
    files,
  };
  const text = JSON.stringify(sealed, plain);
  return `${JSON.stringify({ ...JSON.parse(text), sha256: sha256(text) }, null, 2)}\n`;
}

/** Reads and checks trainer_state.json alone. UserError: missing, foreign, newer, damaged. */
function openState(directory: string): SealedState {
  const path = join(directory, STATE_FILE);
  if (!existsSync(directory)) throw new UserError(`There is no checkpoint ${directory}: check the path.`);
  if (!existsSync(path))
    throw new UserError(
      `${directory} has no ${STATE_FILE}, so a run cannot be resumed from it: name a folder checkpoints/step-… of a run.`,
    );
  const damaged = new UserError(`${path} is damaged: ${MEND}.`);
  let content: Record<string, unknown>;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw damaged;
  }
  const { sha256: own, ...sealed } = content ?? {};
  if (sealed.format !== FORMAT && own === undefined)
    throw new UserError(`${path} was written by another program: only checkpoints of moe train can be resumed.`);
  if (own !== sha256(JSON.stringify(sealed))) throw damaged;
  if (sealed.version !== VERSION)
    throw new UserError(
      `${path} has format version ${sealed.version}, this program reads ${VERSION}: resume with the moe that wrote it.`,
    );
  return sealed as unknown as SealedState;
}

function checkFile(path: string, seal: FileSeal): void {
  if (!existsSync(path)) throw new UserError(`${path} is missing: ${MEND}.`);
  const { size } = statSync(path);
  if (size !== seal.bytes)
    throw new UserError(
      `${path} has ${size} bytes instead of ${seal.bytes}: it is ${size < seal.bytes ? 'truncated' : 'not the file that was saved'}; ${MEND}.`,
    );
  if (sealFile(path).sha256 !== seal.sha256) throw new UserError(`${path} is damaged (its SHA-256 differs): ${MEND}.`);
}

/** Reads every byte of a checkpoint against its seals; returns its state. UserError in one sentence for whatever is wrong. */
export function verifyCheckpoint(directory: string): TrainerState {
  const { format, version, configHash: hash, files, ...state } = openState(directory);
  for (const [name, seal] of Object.entries(files)) checkFile(join(directory, name), seal);
  return state;
}
