// A checkpoint together with the text it never saw: what eval, analyze-routing and generate work on.
// Languages, families and tokenizer come from the checkpoint; the text's sources from its run, else the built-in ones.
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { loadConfig } from '../config/load.ts';
import { type Config, configSchema } from '../config/schema.ts';
import type { Split, TokenDocument } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { type OpenedModel, openForInference } from '../train/open.ts';
import { type Prepared, prepare } from '../train/prepare.ts';
import { findCheckpoint } from './runs.ts';

export interface HeldOut extends OpenedModel {
  checkpoint: string;
  /** Run folder, or null for a checkpoint that stands alone. */
  run: string | null;
  name: string;
  /** Step in the checkpoint's folder name, 0 if it has none. */
  step: number;
  config: Config;
  prepared: Prepared;
}

/** @param path a run, a checkpoint, or nothing for the newest run
 *  @param open openForInference, or openModel for a model that is trained or grown */
export async function openHeldOut(
  path: string | undefined,
  open: (directory: string) => OpenedModel = openForInference,
): Promise<HeldOut> {
  const { checkpoint, run } = findCheckpoint(path);
  const opened = open(checkpoint);
  const config =
    run !== null && existsSync(join(run, 'config.yaml'))
      ? loadConfig(join(run, 'config.yaml')).config
      : defaults(opened.map);
  const prepared = await prepare(config, opened.map, opened.tokenizer);
  const step = Number(/step-(\d+)$/.exec(resolve(checkpoint))?.[1] ?? 0);
  return { ...opened, checkpoint, run, name: basename(resolve(run ?? checkpoint)), step, config, prepared };
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
export function passShape({ config, tokenizer }: HeldOut): { batch: number; sequence: number; padId: number } {
  return { batch: config.train.batch_size, sequence: config.data.sequence_length, padId: tokenizer.eosId };
}

/** @throws UserError when that part of the text is empty */
export function documentsOf({ prepared }: HeldOut, split: Split): TokenDocument[] {
  const documents = prepared.documents[split];
  if (documents.length > 0) return documents;
  throw new UserError(
    `the text has no ${split} part; add more documents, or give some rows of your own text "split": "${split}".`,
  );
}
