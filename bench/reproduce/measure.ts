// What is measured of a run, at step 0 (upcycled, router untrained) and at the end: plain top-k on held-out text that every
// language has. Writes RUN/measured.json (counts by document, losses, geometry) and, if asked, traces.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { RoutingMode } from '../../routing/types.ts';
import { useBackend } from '../../src/commands/backend.ts';
import type { FamilyMap } from '../../src/config/families.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import type { Batch, TokenDocument, Tokenizer } from '../../src/data/types.ts';
import { aggregateLosses } from '../../src/eval/aggregate.ts';
import { documentLosses, lossesByLanguage } from '../../src/eval/evaluate.ts';
import { givenMode } from '../../src/eval/modes.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import type { ObservedRouting } from '../../src/model/observed.ts';
import { disposeModel } from '../../src/model/weights.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { listCheckpoints } from '../../src/train/checkpoint.ts';
import { type OpenedModel, openModel } from '../../src/train/open.ts';
import { type Prepared, prepare } from '../../src/train/prepare.ts';
import { type Geometry, geometryOf } from './geometry.ts';

/** Text that every language has, so that domain does not stand for language. */
const SOURCES: ('udhr' | 'quiz')[] = ['udhr', 'quiz'];

export interface MeasuredStep {
  step: number;
  tokens: number;
  /** Nats per token, mean over languages; `given`: with language ids, null where nothing uses them. */
  free: number;
  given: number | null;
  byLanguage: { code: string; free: number; tokens: number }[];
  /** Numbers of the MoE layers; empty for a dense model. */
  layers: number[];
  experts: number;
  k: number;
  /** Own expert by language id; −1: none. */
  own: number[];
  documents: { language: number; item: string }[];
  /** [layer][document][expert]: routed slots, and first choices alone. */
  slots: number[][][];
  first: number[][][];
  geometry: Geometry;
}
export interface Measured {
  run: string;
  /** Step 0 first; a dense model has the last step alone. */
  steps: MeasuredStep[];
}

export interface MeasureOptions {
  /** Also write RUN/routing and RUN/routing-0, for `moe analyze-routing --trace`. */
  traces: boolean;
  say: (line: string) => void;
}

/** Measures a finished run, unless it has been. */
export async function measure(folder: string, { traces, say }: MeasureOptions): Promise<void> {
  const file = join(folder, 'measured.json');
  const done = existsSync(file);
  if (done && !(traces && !existsSync(join(folder, 'routing')))) return;
  await useBackend('native', { threads: 1 });
  const checkpoints = listCheckpoints(folder).map(({ directory }) => directory);
  const [last, first] = [checkpoints[0], checkpoints.at(-1)!];
  if (!done) {
    const steps = [await measureCheckpoint(last, true)];
    if (steps[0].layers.length > 0) steps.unshift(await measureCheckpoint(first, false));
    writeFileSync(file, `${JSON.stringify({ run: folder, steps } satisfies Measured)}\n`);
    say(`${folder}: ${steps.map(({ step, free }) => `step ${step} loss ${free.toFixed(4)}`).join(', ')}.`);
  }
  if (!traces || readMeasured(folder).steps.length < 2) return;
  await traceCheckpoint(last, join(folder, 'routing'));
  await traceCheckpoint(first, join(folder, 'routing-0'));
}

export const readMeasured = (folder: string): Measured =>
  JSON.parse(readFileSync(join(folder, 'measured.json'), 'utf8')) as Measured;

interface Opened extends OpenedModel {
  config: Config;
  prepared: Prepared;
  /** Held-out documents: neither split was trained on. */
  documents: TokenDocument[];
  shape: { batch: number; sequence: number; padId: number };
  step: number;
}

async function open(checkpoint: string): Promise<Opened> {
  const opened = openModel(checkpoint);
  const { config } = loadConfig(join(checkpoint, '..', '..', 'config.yaml'));
  const prepared = await textOf(config, opened.map, opened.tokenizer);
  return {
    ...opened,
    config,
    prepared,
    documents: [...prepared.documents.validation, ...prepared.documents.test],
    shape: { batch: config.train.batch_size, sequence: config.data.sequence_length, padId: opened.tokenizer.eosId },
    step: Number(/step-(\d+)$/.exec(checkpoint)![1]),
  };
}

/** @param withIds also measures the loss with language ids given */
async function measureCheckpoint(checkpoint: string, withIds: boolean): Promise<MeasuredStep> {
  const { model, map, config, prepared, documents, shape, step } = await open(checkpoint);
  const layers = model.spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  const counts = countByDocument(layers, documents.length, model.spec.numExperts, shape.padId);
  const losses = async (mode: RoutingMode, onRouting?: typeof counts.add) => {
    const each = await documentLosses(model, documents, map.languages, { ...shape, mode, onRouting });
    const bytes = ({ id }: TokenDocument) => prepared.bytes.get(id) ?? 0;
    return aggregateLosses(lossesByLanguage(each, documents, map.languages, bytes));
  };
  const free = await losses('free', layers.length > 0 ? counts.add : undefined);
  const mode = withIds && layers.length > 0 ? givenMode(config.router) : null;
  const given = mode === null ? null : await losses(mode);
  const geometry = await geometryOf(model, documents, map.languages.length, shape);
  disposeModel(model);
  return {
    step,
    tokens: free.all.tokens,
    free: free.all.languageMean,
    given: given?.all.languageMean ?? null,
    byLanguage: free.byLanguage.map(({ code, loss, tokens }) => ({ code, free: loss, tokens })),
    layers,
    experts: model.spec.numExperts,
    k: model.spec.num_experts_per_tok,
    own: map.languages.map(({ expert }) => expert),
    documents: documents.map(({ language, item }) => ({ language, item })),
    slots: counts.slots,
    first: counts.first,
    geometry,
  };
}

async function traceCheckpoint(checkpoint: string, folder: string): Promise<void> {
  const { model, map, config, prepared, documents, shape, step } = await open(checkpoint);
  const names = { run: basename(join(checkpoint, '..', '..')), modelName: config.name, step };
  const { trainingBytes } = prepared;
  const request = { model, map, documents, mode: 'free' as const, ...names, trainingBytes, history: [] };
  writeTrace(folder, await recordTrace(request, shape));
  disposeModel(model);
}

/** Text of all runs with the same tokenizer, prepared once. */
const texts = new Map<string, Promise<Prepared>>();
function textOf(config: Config, map: FamilyMap, tokenizer: Tokenizer): Promise<Prepared> {
  const key = createHash('sha256').update(tokenizer.toJson()).digest('hex');
  if (!texts.has(key))
    texts.set(key, prepare({ ...config, data: { ...config.data, sources: SOURCES } }, map, tokenizer));
  return texts.get(key)!;
}

/** Slots, and first choices alone, as [layer][document][expert], added up batch by batch; padding and the end of text do not count. */
export function countByDocument(layers: number[], documents: number, experts: number, padId: number) {
  const empty = () => layers.map(() => Array.from({ length: documents }, () => new Array<number>(experts).fill(0)));
  const [slots, first] = [empty(), empty()];
  const row = new Map(layers.map((number, i) => [number, i]));
  const add = (
    { layer, expertId_TK, k }: Pick<ObservedRouting, 'layer' | 'expertId_TK' | 'k'>,
    { document_BS, inputId_BS }: Pick<Batch, 'document_BS' | 'inputId_BS'>,
  ): void => {
    const l = row.get(layer)!;
    document_BS.forEach((document, t) => {
      if (document < 0 || inputId_BS[t] === padId) return;
      for (let j = 0; j < k; j++) slots[l][document][expertId_TK[t * k + j]]++;
      first[l][document][expertId_TK[t * k]]++;
    });
  };
  return { slots, first, add };
}
