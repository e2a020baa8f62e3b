// What an export is made of: a config.json, and tensors each of which is one of ours under a name of its own, or zeros.
import type { ModelSpec } from '../../model/spec.ts';

/** One tensor of the new folder. */
export interface LaidOut {
  name: string;
  shape: readonly number[];
  /** Our name of the tensor that it is; null for zeros. */
  from: string | null;
}

export interface Layout {
  modelType: string;
  /** In the order in which they go into shards. */
  tensors: LaidOut[];
  /** Text of config.json. */
  configJson: string;
}

/** What config.json says that does not follow from the model's shape. */
export interface ConfigFacts {
  /** As transformers names it. */
  dtype: 'float32' | 'bfloat16' | 'float16';
  tokens: SpecialTokens;
}

/** Ids; null where the model has none. */
export interface SpecialTokens {
  bos: number | null;
  eos: number[];
  pad: number | null;
}

/** A single id, or a list of several, as Hugging Face writes it. */
export const eosTokenId = ({ eos }: SpecialTokens): number | number[] | null =>
  eos.length > 1 ? eos : (eos[0] ?? null);

export const denseLayers = ({ layers }: ModelSpec): number[] =>
  layers.flatMap((kind, i) => (kind === 'dense' ? [i] : []));
