// A checkpoint folder of ours as a model ready to run, with its tokenizer, languages and raw tensors.
import { join } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { loadTokenizer } from '../data/tokenizer/file.ts';
import type { Tokenizer } from '../data/types.ts';
import { readFloat32, readSafetensors } from '../hub/read-safetensors.ts';
import { readConfigJson } from '../model/config-json.ts';
import { createModel, type HostTensor, type Model } from '../model/weights.ts';

export interface OpenedModel {
  model: Model;
  map: FamilyMap;
  tokenizer: Tokenizer;
  weights: Map<string, HostTensor>;
}

/** @throws UserError when a file is missing, damaged or of another program */
export function openModel(directory: string): OpenedModel {
  const { spec, map } = readConfigJson(join(directory, 'config.json'));
  const file = join(directory, 'model.safetensors');
  const weights = new Map<string, HostTensor>();
  for (const entry of readSafetensors(file).tensors.values())
    weights.set(entry.name, { shape: [...entry.shape], values: readFloat32(entry) });
  const tokenizer = loadTokenizer(join(directory, 'tokenizer.json'));
  return { model: createModel(spec, weights, file), map, tokenizer, weights };
}
