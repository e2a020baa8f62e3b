// Where a model comes from: its run, its parent, its text and its figures, as provenance.json beside the weights. A folder that has
// this file hands it on unchanged; one that stands in a run gets it from the run. No paths and no dates: the same run, the same bytes.
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { CorpusManifest } from '../../data/types.ts';
import { UserError } from '../../errors.ts';
import { hashWeights } from '../hash-weights.ts';
import type { ModelFolder } from '../model-folder.ts';

export const PROVENANCE_FILE = 'provenance.json';

export interface Provenance {
  /** Of the weights that were exported (hash-weights.ts). */
  weights_sha256?: string;
  run?: { name: string; step: number; seed?: number };
  /** Whom the experts serve, which foreign layouts do not say. */
  families?: { names: string[]; languages: { code: string; name: string; expert: number }[] };
  /** The checkpoint that this one began as. */
  parent?: { name: string; sha256: string };
  /** How the experts were made, one sentence. */
  upcycling?: string;
  /** The text it was trained on, with a hash per language. */
  data?: CorpusManifest['sources'];
  /** Held-out loss at that step. */
  metrics?: HeldOutLoss;
}

export interface HeldOutLoss {
  step: number;
  free: Record<string, Loss>;
  given: Record<string, Loss>;
}
interface Loss {
  loss: number;
  bitsPerByte: number;
  tokens: number;
}

/** @param run the run folder in which the checkpoint stands, if it stands in one */
export function provenanceOf({ directory: checkpoint, map }: ModelFolder, run: string | null): Provenance {
  const handedOn = readJson(join(checkpoint, PROVENANCE_FILE)) as Provenance | null;
  const weights_sha256 = handedOn?.weights_sha256 ?? hashWeights(checkpoint);
  const families = familiesOf(map);
  if (handedOn || run === null) return { weights_sha256, families, ...handedOn };
  const step = Number(/step-(\d+)$/.exec(resolve(checkpoint))?.[1] ?? 0);
  const config = parse(readFileSync(join(run, 'config.yaml'), 'utf8')) as { init?: string | null; seed?: number };
  const environment = readJson(join(run, 'environment.json')) as { corpus?: CorpusManifest } | null;
  return {
    weights_sha256,
    families,
    run: { name: basename(resolve(run)), step, seed: config.seed },
    ...ancestry(config.init ?? null),
    data: environment?.corpus?.sources,
    metrics: heldOutLoss(join(run, 'metrics.jsonl'), step),
  };
}

export function familiesOf({ languages, expertNames }: ModelFolder['map']): Provenance['families'] {
  if (languages.length === 0) return undefined;
  return { names: expertNames, languages: languages.map(({ code, name, expert }) => ({ code, name, expert })) };
}

/** The checkpoint that the run began with, where it still is; what upcycling says of its own parent is handed on. */
function ancestry(init: string | null): Pick<Provenance, 'parent' | 'upcycling'> {
  if (init === null || !existsSync(init)) return {};
  const before = readJson(join(init, PROVENANCE_FILE)) as Provenance | null;
  const parent = { name: basename(resolve(init)), sha256: hashWeights(init) };
  return before?.parent ? { parent: before.parent, upcycling: before.upcycling } : { parent };
}

interface ValidationRow {
  step: number;
  kind: string;
  free: { byLanguage: ({ code: string } & Loss)[] };
  given: { byLanguage: ({ code: string } & Loss)[] };
}

/** The run's own measurement at that step. */
function heldOutLoss(metrics: string, step: number): HeldOutLoss | undefined {
  if (!existsSync(metrics)) return undefined;
  const rows = readFileSync(metrics, 'utf8')
    .split('\n')
    .filter(line => line.includes('"validation"'));
  // A line that a crash cut short is no row of this step.
  const found = rows.map(line => tryJson(line) as ValidationRow | null).findLast(row => row?.step === step);
  if (!found?.free || !found.given) return undefined;
  const byCode = (rows: ValidationRow['free']['byLanguage']): Record<string, Loss> =>
    Object.fromEntries(rows.map(({ code, loss, bitsPerByte, tokens }) => [code, { loss, bitsPerByte, tokens }]));
  return { step, free: byCode(found.free.byLanguage), given: byCode(found.given.byLanguage) };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function readJson(path: string): object | null {
  if (!existsSync(path)) return null;
  const json = tryJson(readFileSync(path, 'utf8'));
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json;
  throw new UserError(`${path} is not a JSON object; mend it or remove it.`);
}
