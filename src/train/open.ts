// A model folder as a model ready to run, with its tokenizer and languages.
import { join } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { loadTokenizer } from '../data/tokenizer/file.ts';
import type { Tokenizer } from '../data/types.ts';
import { type ModelFolder, readModelFolder, readTensors } from '../hub/model-folder.ts';
import { createModel, type Model } from '../model/weights.ts';

export interface OpenedModel {
  model: Model;
  map: FamilyMap;
  tokenizer: Tokenizer;
  /** Ids that end a text: a model may have several. */
  eosIds: number[];
}

/** For training: everything in fp32. @throws UserError when a file is missing, damaged or of a model that we cannot compute */
export function openModel(directory: string): OpenedModel {
  const folder = readModelFolder(directory);
  const opened = withTokenizer(folder);
  return { ...opened, model: createModel(folder.spec, readTensors(folder, { halves: false }), directory) };
}

/** For inference: matrices that the file has in BF16 stay so in memory, but for routers, whose decisions keep fp32.
 *  @throws UserError when a file is missing, damaged or of a model that we cannot compute */
export function openForInference(directory: string): OpenedModel {
  const folder = readModelFolder(directory);
  return { ...withTokenizer(folder), model: openWithoutTokenizer(folder) };
}

/** For what needs ids and logits alone. */
export const openWithoutTokenizer = (folder: ModelFolder): Model =>
  createModel(folder.spec, readTensors(folder, { halves: true }), folder.directory);

/** Before the weights: what is missing is said at once. */
export function withTokenizer({ directory, map, eosIds }: ModelFolder): Omit<OpenedModel, 'model'> {
  const tokenizer = loadTokenizer(join(directory, 'tokenizer.json'));
  return { map, tokenizer, eosIds: eosIds.length > 0 ? eosIds : [tokenizer.eosId] };
}
