// A checkpoint folder of ours as a model ready to run, with its tokenizer, languages and raw tensors.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { loadTokenizer } from '../data/tokenizer/file.ts';
import type { Tokenizer } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { readFloat32, readSafetensors } from '../hub/read-safetensors.ts';
import { fromConfigJson } from '../model/config-json.ts';
import { createModel, type HostTensor, type Model } from '../model/weights.ts';

export interface OpenedModel {
  model: Model;
  map: FamilyMap;
  tokenizer: Tokenizer;
  weights: Map<string, HostTensor>;
}

/** @throws UserError when a file is missing, damaged or of another program */
export function openModel(directory: string): OpenedModel {
  const configFile = join(directory, 'config.json');
  const { spec, map } = fromConfigJson(readJson(configFile), configFile);
  const file = join(directory, 'model.safetensors');
  const weights = new Map<string, HostTensor>();
  for (const entry of readSafetensors(file).tensors.values())
    weights.set(entry.name, { shape: [...entry.shape], values: readFloat32(entry) });
  const tokenizer = loadTokenizer(join(directory, 'tokenizer.json'));
  return { model: createModel(spec, weights, file), map, tokenizer, weights };
}

function readJson(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing' : 'is not valid JSON';
    throw new UserError(`${path} ${why}; name a checkpoint folder that moe wrote.`);
  }
}
