// The architectures of the transformers library that this version reads, by model_type.
import { UserError } from '../../errors.ts';
import { show } from '../show.ts';
import { apollo } from './apollo.ts';
import type { Architecture } from './decoder.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { mixtral } from './mixtral.ts';
import { olmoe } from './olmoe.ts';
import { qwen2 } from './qwen2.ts';
import { qwen2Moe } from './qwen2-moe.ts';
import { qwen3 } from './qwen3.ts';
import { qwen3Moe } from './qwen3-moe.ts';

export const ARCHITECTURES: readonly Architecture[] = [
  llama,
  mistral,
  mixtral,
  olmoe,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  apollo,
];

/** @throws UserError for a model_type that is none of them */
export function architectureOf(modelType: unknown, file: string, ours: string): Architecture {
  const found = ARCHITECTURES.find(architecture => architecture.modelType === modelType);
  if (found) return found;
  const known = [ours, ...ARCHITECTURES.map(architecture => architecture.modelType)].join(', ');
  throw new UserError(
    `${file}: model_type is ${show(modelType)}, which this version does not read; it reads ${known}.`,
  );
}
