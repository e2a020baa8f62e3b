// A model that stays in its files: where each tensor lies, and in what form it is held while its layer runs.
import type { FamilyMap } from '../config/families.ts';
import { kernelMemory } from '../engine/half.ts';
import { checkTiedHead } from '../hub/locate-tensors.ts';
import { type ModelFolder, openWeights } from '../hub/model-folder.ts';
import { readFloat32 } from '../hub/read-safetensors.ts';
import { DTYPE_BYTES, type TensorEntry } from '../hub/safetensors.ts';
import { expertsIn, type ModelSpec, type TensorSpec, tensorSpecs } from '../model/spec.ts';

export interface StoredTensor {
  spec: TensorSpec;
  entry: TensorEntry;
  /** Held in bf16, as openForInference does: matrices that the file has so, but for routers. */
  half: boolean;
  /** What it takes in memory, rounded up to whole cache lines. */
  bytes: number;
  /** Used instead of the file's: fp32, made when they are asked for. */
  values?: () => Float32Array;
}

export interface StoredModel {
  directory: string;
  spec: ModelSpec;
  map: FamilyMap;
  tensors: ReadonlyMap<string, StoredTensor>;
  selectionBias: Map<number, Float32Array>;
}

const LINE = 64;
export const alignedBytes = (bytes: number): number => Math.ceil(bytes / LINE) * LINE;

/** Headers are read, weights are not. @throws UserError as openWeights does. The backend must have been chosen. */
export function storedModel(folder: ModelFolder): StoredModel {
  const { spec, map, directory } = folder;
  const located = openWeights(folder);
  checkTiedHead(located, directory);
  const halves = kernelMemory() !== null;
  const tensors = new Map<string, StoredTensor>();
  for (const wanted of tensorSpecs(spec)) {
    const entry = located.tensors.get(wanted.name)!;
    const half = halves && entry.dtype === 'BF16' && wanted.shape.length === 2 && wanted.role !== 'router';
    const count = entry.byteLength / DTYPE_BYTES[entry.dtype];
    tensors.set(wanted.name, { spec: wanted, entry, half, bytes: alignedBytes(count * (half ? 2 : 4)) });
  }
  const selectionBias = new Map<number, Float32Array>();
  spec.layers.forEach((kind, layer) => {
    if (kind !== 'moe') return;
    const stored = located.file.tensors.get(`model.layers.${layer}.mlp.gate.e_score_correction_bias`);
    selectionBias.set(layer, stored ? readFloat32(stored) : new Float32Array(expertsIn(spec, layer)));
  });
  return { directory, spec, map, tensors, selectionBias };
}

/** The output head, which may be the embedding. */
export const headOf = ({ spec, tensors }: StoredModel): StoredTensor =>
  tensors.get(spec.tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight')!;

export interface LayerParts {
  /** Everything but routed experts. */
  base: StoredTensor[];
  /** By expert id; none in a dense layer. */
  experts: StoredTensor[][];
}

/** The tensors of one layer. */
export function layerParts({ spec, tensors }: StoredModel, layer: number): LayerParts {
  const prefix = `model.layers.${layer}.`;
  const own = [...tensors.values()].filter(tensor => tensor.spec.name.startsWith(prefix));
  const count = spec.layers[layer] === 'moe' ? expertsIn(spec, layer) : 0;
  const experts: StoredTensor[][] = Array.from({ length: count }, () => []);
  for (const tensor of own)
    if (tensor.spec.role === 'expert') experts[Number(/\.experts\.(\d+)\./.exec(tensor.spec.name)![1])].push(tensor);
  return { base: own.filter(tensor => tensor.spec.role !== 'expert'), experts };
}

export const bytesOf = (tensors: readonly StoredTensor[]): number => tensors.reduce((sum, { bytes }) => sum + bytes, 0);
