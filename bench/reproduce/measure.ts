// What is measured of a run, at step 0 (upcycled, router untrained) and at the end: plain top-k on held-out text that every
// language has. Writes RUN/routing and RUN/routing-0 (traces) and RUN/measured.json (counts by document, losses, geometry).
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TraceColumns } from '../../routing/trace.ts';
import { useBackend } from '../../src/commands/backend.ts';
import { openHeldOut } from '../../src/commands/held-out.ts';
import type { TokenDocument } from '../../src/data/types.ts';
import { aggregateLosses } from '../../src/eval/aggregate.ts';
import { documentLosses, lossesByLanguage } from '../../src/eval/evaluate.ts';
import { givenMode } from '../../src/eval/modes.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import { disposeModel } from '../../src/model/weights.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { listCheckpoints } from '../../src/train/checkpoint.ts';
import { openModel } from '../../src/train/open.ts';
import { prepare } from '../../src/train/prepare.ts';
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

/** Measures a finished run, unless it has been. */
export async function measure(folder: string, say: (line: string) => void, again = false): Promise<void> {
  const file = join(folder, 'measured.json');
  if (existsSync(file) && !again) return;
  await useBackend('native', { threads: 1 });
  const checkpoints = listCheckpoints(folder).map(({ directory }) => directory);
  const [last, first] = [checkpoints[0], checkpoints.at(-1)!];
  const steps = [await measureCheckpoint(last, join(folder, 'routing'))];
  if (steps[0].layers.length > 0) steps.unshift(await measureCheckpoint(first, join(folder, 'routing-0')));
  const measured: Measured = { run: folder, steps };
  writeFileSync(file, `${JSON.stringify(measured)}\n`);
  say(`${folder}: ${steps.map(({ step, free }) => `step ${step} loss ${free.toFixed(4)}`).join(', ')}.`);
}

export const readMeasured = (folder: string): Measured =>
  JSON.parse(readFileSync(join(folder, 'measured.json'), 'utf8')) as Measured;

async function measureCheckpoint(checkpoint: string, traceFolder: string): Promise<MeasuredStep> {
  const held = await openHeldOut(checkpoint, openModel);
  const { model, map, config, tokenizer, step } = held;
  const prepared = await prepare({ ...config, data: { ...config.data, sources: SOURCES } }, map, tokenizer);
  const documents = [...prepared.documents.validation, ...prepared.documents.test];
  const shape = { batch: config.train.batch_size, sequence: config.data.sequence_length, padId: tokenizer.eosId };
  const sparse = model.spec.layers.includes('moe');
  const losses = async (mode: 'free' | 'forced' | 'hinted') => {
    const each = await documentLosses(model, documents, map.languages, { ...shape, mode });
    const bytes = ({ id }: TokenDocument) => prepared.bytes.get(id) ?? 0;
    return aggregateLosses(lossesByLanguage(each, documents, map.languages, bytes));
  };
  const free = await losses('free');
  const mode = sparse ? givenMode(config.router) : null;
  const given = mode === null ? null : await losses(mode);
  const layers = model.spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  const tables = { slots: [] as number[][][], first: [] as number[][][] };
  if (sparse) {
    const names = { run: held.name, modelName: config.name, step };
    const trainingBytes = prepared.trainingBytes;
    const request = { model, map, documents, mode: 'free' as const, ...names, trainingBytes, history: [] };
    const trace = await recordTrace(request, shape);
    writeTrace(traceFolder, trace);
    Object.assign(tables, countByDocument(trace.columns, layers, documents.length, model.spec.numExperts));
  }
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
    ...tables,
    geometry,
  };
}

/** Slots, and first choices alone, as [layer][document][expert]. */
export function countByDocument(
  { layer, document, expert, slot }: Pick<TraceColumns, 'layer' | 'document' | 'expert' | 'slot'>,
  layers: number[],
  documents: number,
  experts: number,
): { slots: number[][][]; first: number[][][] } {
  const empty = () => layers.map(() => Array.from({ length: documents }, () => new Array<number>(experts).fill(0)));
  const [slots, first] = [empty(), empty()];
  const row = new Map(layers.map((number, i) => [number, i]));
  layer.forEach((number, i) => {
    const l = row.get(number)!;
    slots[l][document[i]][expert[i]]++;
    if (slot[i] === 0) first[l][document[i]][expert[i]]++;
  });
  return { slots, first };
}
