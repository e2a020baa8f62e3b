// What an export is made of: a config.json, and tensors each of which is one of ours under a name of its own, or zeros.
import { type ModelSpec, type TensorSpec, tensorSpecs } from '../../model/spec.ts';

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

/** The model's tensors under their own names, zeros for the biases of Qwen2 that it lacks, and what else is `lacking` after a tensor. */
export function qwen2Tensors(spec: ModelSpec, lacking: (after: TensorSpec) => LaidOut[] = () => []): LaidOut[] {
  return tensorSpecs(spec).flatMap(tensor => {
    const { name, shape } = tensor;
    const projection = spec.decoder.qkv_bias ? null : /^(.*\.self_attn\.[qkv]_proj)\.weight$/.exec(name);
    const bias = projection ? [{ name: `${projection[1]}.bias`, shape: shape.slice(0, 1), from: null }] : [];
    return [{ name, shape, from: name }, ...bias, ...lacking(tensor)];
  });
}

/** Keys of Qwen2's configuration that Python writes as floats. */
export const QWEN2_FLOATS: ReadonlySet<string> = new Set([
  'attention_dropout',
  'initializer_range',
  'rms_norm_eps',
  'rope_theta',
  'router_aux_loss_coef',
]);
