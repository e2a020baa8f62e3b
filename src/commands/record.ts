// Recording a trace on behalf of a verb: which checkpoint, which text, and what is recorded of it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CountRow } from '../../routing/trace.ts';
import type { RoutingMode } from '../../routing/types.ts';
import { loadCorpus, SOURCE_NAMES } from '../data/corpus.ts';
import { tokenizeDocuments } from '../data/tokenize.ts';
import { openingOf } from '../data/tokenizer/opening.ts';
import { readableTokens } from '../data/tokenizer/readable.ts';
import { specialIds } from '../data/tokenizer/special.ts';
import type { TokenDocument } from '../data/types.ts';
import { readUserText } from '../data/user.ts';
import { UserError } from '../errors.ts';
import { type Evaluated, sampleBeginnings } from '../eval/evaluate.ts';
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
  /** Tokens of a text at most. */
  longest?: number;
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
    const sample = sampleBeginnings(documents, options.tokens, options.longest);
    return { ...traced, documents: options.families === undefined ? sample : opened(sample, held) };
  } catch (error) {
    if (model) closeModel(model);
    throw error;
  }
}

/** Texts as a foreign model expects them, behind what its tokenizer puts before every text. */
function opened(documents: TokenDocument[], { tokenizer }: Named<Evaluated>): TokenDocument[] {
  const opening = openingOf(tokenizer);
  if (opening.length === 0) return documents;
  return documents.map(document => {
    const ids = new Int32Array(opening.length + document.ids.length);
    ids.set(opening);
    ids.set(document.ids, opening.length);
    return { ...document, ids, learn: undefined };
  });
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

/** What training did not read: tests and validation. @param foreign a model that this program did not train has read none of the text for certain */
function heldOut(held: Named<Evaluated> & { prepared: Prepared }, foreign: boolean): Traced {
  const { documents } = held.prepared;
  if (foreign) return { held, documents: Object.values(documents).flat(), trainingBytes: bytesOf(held, held.prepared) };
  const unread = [...documentsOf(held, 'test'), ...documents.validation];
  return { held, documents: unread, trainingBytes: bytesOf(held, held.prepared) };
}

/** Training bytes by language id, 0 where there is no running text. */
const bytesOf = ({ map }: Named<Evaluated>, { trainingBytes, zeroText }: Prepared): number[] =>
  Array.from(trainingBytes, (each, i) => (zeroText.has(map.languages[i].code) ? 0 : each));

/** What a run was trained on; null for a checkpoint that stands alone. */
async function ownBytes(held: Named<Evaluated>): Promise<number[] | null> {
  return held.run === null ? null : bytesOf(held, await prepare(held.config, held.map, held.tokenizer));
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
  const traced = heldOut({ ...held, prepared }, foreign);
  return { ...traced, trainingBytes: (await ownBytes(held)) ?? traced.trainingBytes };
}

async function ownText(held: Named<Evaluated>, path: string): Promise<Traced> {
  const { languages } = held.map;
  const texts = await readUserText(path, languages);
  if (texts.length === 0) throw new UserError(`${path} holds no document; write one JSON object per line.`);
  const documents = tokenizeDocuments(texts, languages, held.tokenizer);
  const bytes = new Float64Array(languages.length);
  const index = new Map(languages.map(language => [language.code, language.index]));
  for (const { language, text } of texts) bytes[index.get(language)!] += Buffer.byteLength(text);
  return { held, documents, trainingBytes: (await ownBytes(held)) ?? bytes };
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
        specialIds: new Set([
          ...specialIds(held.checkpoint, held.tokenizer, held.eosIds),
          ...openingOf(held.tokenizer),
        ]),
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
