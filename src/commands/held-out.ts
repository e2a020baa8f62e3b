// A checkpoint together with the text it never saw: what eval, analyze-routing and generate work on.
// Languages, families and tokenizer come from the checkpoint, the text's sources from its run, else the built-in ones; a
// checkpoint of the transformers library names no languages, so a families file does.
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { type Loaded, loadConfig } from '../config/load.ts';
import { type Config, configSchema } from '../config/schema.ts';
import type { Split, TokenDocument } from '../data/types.ts';
import { UserError } from '../errors.ts';
import type { ModelSpec } from '../model/spec.ts';
import type { Model } from '../model/weights.ts';
import type { OpenedModel } from '../train/open.ts';
import { type Prepared, prepare } from '../train/prepare.ts';
import { findCheckpoint } from './runs.ts';

/** What eval and analyze-routing run, in memory or read layer by layer. */
type Opened<M> = Omit<OpenedModel, 'model'> & { model: M };

export interface Named<M = Model> extends Opened<M> {
  checkpoint: string;
  /** Run folder, or null for a checkpoint that stands alone. */
  run: string | null;
  name: string;
  /** Step in the checkpoint's folder name, 0 if it has none. */
  step: number;
  config: Config;
}

export interface HeldOut<M = Model> extends Named<M> {
  prepared: Prepared;
}

/** @param path a run, a checkpoint, or nothing for the newest run
 *  @param open openForInference, openModel for a model that is trained or grown, or openWithin a budget of memory
 *  @param families the file that names languages and text for a checkpoint that names none
 *  @throws UserError for such a checkpoint without the file, and for text that its tokenizer and model do not share */
export async function openHeldOut<M extends Pick<Model, 'spec'>>(
  path: string | undefined,
  open: (directory: string) => Opened<M>,
  families?: string,
): Promise<HeldOut<M>> {
  const named = openNamed(path, open, families);
  const prepared = await prepare(named.config, named.map, named.tokenizer);
  refuseUnknownIds(Object.values(prepared.documents).flat(), named.model.spec.vocab_size, named.checkpoint);
  return { ...named, prepared };
}

/** The checkpoint and its languages, without any text. Parameters and errors as of openHeldOut. */
export function openNamed<M extends Pick<Model, 'spec'>>(
  path: string | undefined,
  open: (directory: string) => Opened<M>,
  families?: string,
): Named<M> {
  const { checkpoint, run } = findCheckpoint(path);
  const opened = open(checkpoint);
  const { config, map } = textOf(checkpoint, run, opened.map, families, opened.model.spec);
  const step = Number(/step-(\d+)$/.exec(resolve(checkpoint))?.[1] ?? 0);
  return { ...opened, map, checkpoint, run, name: basename(resolve(run ?? checkpoint)), step, config };
}

/** Languages and text: the checkpoint's own, or those of a families file. */
function textOf(
  checkpoint: string,
  run: string | null,
  own: FamilyMap,
  families: string | undefined,
  spec: ModelSpec,
): Loaded {
  if (own.languages.length > 0) {
    const inRun = run === null ? null : join(run, 'config.yaml');
    return { config: inRun !== null && existsSync(inRun) ? loadConfig(inRun).config : defaults(own), map: own };
  }
  if (families === undefined)
    throw new UserError(
      `${checkpoint} does not say which languages it is for; name languages and text with --families configs/50lang.yaml.`,
    );
  const { config, map } = loadConfig(families);
  const sequence_length = Math.min(config.data.sequence_length, spec.max_position_embeddings);
  return { config: { ...config, data: { ...config.data, sequence_length } }, map: servedBy(own, map) };
}

/** The families' languages on the checkpoint's experts: whose expert is whose is only known where there are as many. */
function servedBy(own: FamilyMap, families: FamilyMap): FamilyMap {
  if (families.numExperts === own.numExperts) return families;
  return { ...own, languages: families.languages.map(language => ({ ...language, expert: NO_EXPERT })) };
}

/** Of a language that no expert is known to serve. */
const NO_EXPERT = -1;

/** @throws UserError for text that the model has no embedding for */
export function refuseUnknownIds(documents: TokenDocument[], vocabulary: number, checkpoint: string): void {
  for (const { ids } of documents) {
    const foreign = ids.find(id => id >= vocabulary);
    if (foreign !== undefined)
      throw new UserError(
        `${checkpoint}: the text has token ${foreign} by tokenizer.json, but the model has ${vocabulary}; use the model's own tokenizer.json.`,
      );
  }
}

function defaults(map: FamilyMap): Config {
  const families = {
    name: 'checkpoint',
    families: [{ name: 'all', expert: 0, languages: [{ code: 'xx', name: 'x', script: 'Latn' }] }],
  };
  const parsed = configSchema.parse({ families, data: { allow_missing: true } });
  return {
    ...parsed,
    families: {
      ...families,
      families: map.languages.map(({ family, expert, code, name, script }) => ({
        name: family,
        expert,
        languages: [{ code, name, script }],
      })),
    },
  };
}

/** Batch shape for passes without gradients. */
export function passShape({ config, tokenizer }: Pick<HeldOut, 'config' | 'tokenizer'>): {
  batch: number;
  sequence: number;
  padId: number;
} {
  return { batch: config.train.batch_size, sequence: config.data.sequence_length, padId: tokenizer.eosId };
}

/** @throws UserError when that part of the text is empty */
export function documentsOf({ prepared }: Pick<HeldOut, 'prepared'>, split: Split): TokenDocument[] {
  const documents = prepared.documents[split];
  if (documents.length > 0) return documents;
  throw new UserError(
    `the text has no ${split} part; add more documents, or give some rows of your own text "split": "${split}".`,
  );
}
