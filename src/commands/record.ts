// Recording a trace on behalf of a verb: which checkpoint, which text, and what is recorded of it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CountRow } from '../../routing/trace.ts';
import type { RoutingMode } from '../../routing/types.ts';
import { loadCorpus, SOURCE_NAMES } from '../data/corpus.ts';
import { tokenizeDocuments } from '../data/tokenize.ts';
import { readableTokens } from '../data/tokenizer/readable.ts';
import { specialIds } from '../data/tokenizer/special.ts';
import type { TokenDocument } from '../data/types.ts';
import { readUserText } from '../data/user.ts';
import { UserError } from '../errors.ts';
import { type Evaluated, sampleByLanguage } from '../eval/evaluate.ts';
import { readMode } from '../eval/modes.ts';
import { recordRouting } from '../eval/trace.ts';
import { withUntrainedRouters } from '../eval/untrained-router.ts';
import type { Recorded } from '../trace/recorded.ts';
import { readMetrics } from '../train/metrics.ts';
import { type Prepared, prepare } from '../train/prepare.ts';
import { documentsOf, type Named, openHeldOut, openNamed, passShape, refuseUnknownIds } from './held-out.ts';
import { closeModel, openFor } from './memory.ts';
import { thousands } from './output.ts';
import { passProgress } from './pass-progress.ts';

export interface TextOptions {
  /** Tokens per language. */
  tokens: number;
  /** `builtin`, or a file or folder of text; by default what the checkpoint's training held out. */
  text?: string;
  families?: string;
  memory?: number;
}

export interface Traced {
  held: Named<Evaluated>;
  documents: TokenDocument[];
  /** By language id; 0 marks a language without training text. */
  trainingBytes: ArrayLike<number>;
}

/** Opens a model and the text to trace it on.
 *  @throws UserError for a dense model, and for text that is missing or that tokenizer and model do not share */
export async function openTraced(
  path: string | undefined,
  options: TextOptions,
  say: (line: string) => void,
): Promise<Traced> {
  let model: Evaluated | null = null;
  const open: ReturnType<typeof openFor> = directory => {
    const opened = openFor(options, say)(directory);
    model = opened.model;
    return opened;
  };
  try {
    const traced = await withText(path, options, open);
    const { held, documents } = traced;
    if (!held.model.spec.layers.includes('moe'))
      throw new UserError(
        `${held.checkpoint} is a dense model without a router; train on past its dense phase, or upcycle it with 'moe upcycle'.`,
      );
    refuseUnknownIds(documents, held.model.spec.vocab_size, held.checkpoint);
    return { ...traced, documents: sampleByLanguage(documents, options.tokens) };
  } catch (error) {
    if (model) closeModel(model);
    throw error;
  }
}

async function withText(
  path: string | undefined,
  { text, families }: TextOptions,
  open: ReturnType<typeof openFor>,
): Promise<Traced> {
  const foreign = families !== undefined;
  if (text === undefined) return heldOut(await openHeldOut<Evaluated>(path, open, families), foreign);
  const named = openNamed<Evaluated>(path, open, families);
  return text === 'builtin' ? builtIn(named, foreign) : ownText(named, text);
}

/** What training held out for tests. @param foreign a model that this program did not train has read none of the text for certain */
function heldOut(held: Named<Evaluated> & { prepared: Prepared }, foreign: boolean): Traced {
  const { documents, trainingBytes, zeroText } = held.prepared;
  const all = foreign ? [...documents.train, ...documents.validation, ...documents.test] : documentsOf(held, 'test');
  const bytes = Array.from(trainingBytes, (each, i) => (zeroText.has(held.map.languages[i].code) ? 0 : each));
  return { held, documents: all, trainingBytes: bytes };
}

/** The parallel text of the installed packages, whatever the checkpoint was trained on. */
async function builtIn(held: Named<Evaluated>, foreign: boolean): Promise<Traced> {
  const data = { ...held.config.data, sources: [...SOURCE_NAMES], files: [], allow_missing: true };
  const { languages } = held.map;
  if (loadCorpus(languages, { allowMissing: true }).documents.length === 0)
    throw new UserError(
      `the built-in text has none of the languages ${languages.map(({ code }) => code).join(', ')}; give text of your own with --text FILE.`,
    );
  const prepared = await prepare({ ...held.config, data }, held.map, held.tokenizer);
  return heldOut({ ...held, prepared }, foreign);
}

async function ownText(held: Named<Evaluated>, path: string): Promise<Traced> {
  const { languages } = held.map;
  const documents = await readUserText(path, languages);
  if (documents.length === 0) throw new UserError(`${path} holds no document; write one JSON object per line.`);
  if (held.run !== null) {
    const prepared = await prepare(held.config, held.map, held.tokenizer);
    const { trainingBytes } = heldOut({ ...held, prepared }, true);
    return { held, documents: tokenizeDocuments(documents, languages, held.tokenizer), trainingBytes };
  }
  const bytes = new Float64Array(languages.length);
  const index = new Map(languages.map(language => [language.code, language.index]));
  for (const { language, text } of documents) bytes[index.get(language)!] += Buffer.byteLength(text);
  return { held, documents: tokenizeDocuments(documents, languages, held.tokenizer), trainingBytes: bytes };
}

export interface RecordOptions {
  /** Asked for by name; default: the model's inference mode. */
  routing?: string;
  softmax?: boolean;
  /** Seed: routers are drawn anew before. */
  untrainedRouter?: number;
}

export const modeOf = ({ held }: Traced, { routing }: RecordOptions): RoutingMode =>
  readMode(routing, held.model.spec.router);

/** `name, step 40: free routing over 120 documents in 50 languages, 100,000 tokens.` */
export function describe({ held, documents }: Traced, options: RecordOptions): string {
  const tokens = documents.reduce((sum, { ids }) => sum + ids.length, 0);
  const languages = new Set(documents.map(({ language }) => language)).size;
  return `${held.name}, step ${held.step}: ${modeOf({ held } as Traced, options)} routing over ${documents.length} documents in ${languages} languages, ${thousands(tokens)} tokens.`;
}

/** Runs the model over the text. @param silent no progress bar */
export async function record(traced: Traced, options: RecordOptions, silent: boolean): Promise<Recorded> {
  const { held, documents, trainingBytes } = traced;
  const { untrainedRouter, softmax } = options;
  const untrained = untrainedRouter === undefined ? null : withUntrainedRouters(held.model, untrainedRouter);
  const progress = passProgress(silent, held.model.spec.num_hidden_layers);
  try {
    return await recordRouting(
      {
        ...{ model: untrained?.model ?? held.model, map: held.map, documents, mode: modeOf(traced, options) },
        ...{ run: held.name, modelName: held.run === null ? held.name : held.config.name, step: held.step },
        ...{ trainingBytes, softmax, untrainedRouter },
        history: held.run === null || untrained ? [] : history(held.run),
        specialIds: specialIds(held.checkpoint, held.tokenizer, held.eosIds),
        textOf: ids => readableTokens(held.tokenizer, ids),
      },
      { ...passShape(held), onBatch: progress.update },
    );
  } finally {
    progress.stop();
    untrained?.dispose();
  }
}

/** Counts recorded while training: metrics.jsonl lines of kind routing. */
function history(run: string): CountRow[] {
  const file = join(run, 'metrics.jsonl');
  if (!existsSync(file)) return [];
  return readMetrics(file).flatMap(({ step, kind, rows }) => {
    if (kind !== 'routing') return [];
    return (rows as number[][]).map(([layer, language, expert, count, gate]) => ({
      step,
      layer,
      language,
      expert,
      count,
      gate,
    }));
  });
}
