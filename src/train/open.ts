// A checkpoint folder of ours as a model ready to run, with its tokenizer, languages and raw tensors.
import { join } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { loadTokenizer } from '../data/tokenizer/file.ts';
import type { Tokenizer } from '../data/types.ts';
import { readBfloat16, readFloat32, readSafetensors } from '../hub/read-safetensors.ts';
import type { TensorEntry } from '../hub/safetensors.ts';
import { readConfigJson } from '../model/config-json.ts';
import { type ModelSpec, tensorSpecs } from '../model/spec.ts';
import { createModel, type HalfMatrix, type HostTensor, type Model } from '../model/weights.ts';

export interface OpenedModel {
  model: Model;
  map: FamilyMap;
  tokenizer: Tokenizer;
}

/** For training: everything in fp32. @throws UserError when a file is missing, damaged or of another program */
export function openModel(directory: string): OpenedModel & { weights: Map<string, HostTensor> } {
  const weights = new Map<string, HostTensor>();
  const opened = open(directory, () => {
    for (const entry of readSafetensors(weightsFile(directory)).tensors.values())
      weights.set(entry.name, { shape: [...entry.shape], values: readFloat32(entry) });
    return weights;
  });
  return { ...opened, weights };
}

/** For inference: matrices that the file has in BF16 stay so in memory, but for routers, whose decisions keep fp32.
 *  @throws UserError when a file is missing, damaged or of another program */
export function openForInference(directory: string): OpenedModel {
  return open(directory, spec => {
    const routers = new Set(tensorSpecs(spec).flatMap(({ name, role }) => (role === 'router' ? [name] : [])));
    const inHalves = ({ name, dtype, shape }: TensorEntry): boolean =>
      dtype === 'BF16' && shape.length === 2 && !routers.has(name);
    const entries = [...readSafetensors(weightsFile(directory)).tensors.values()];
    return new Map(entries.map(entry => [entry.name, inHalves(entry) ? halfMatrix(entry) : hostTensor(entry)]));
  });
}

function open(directory: string, read: (spec: ModelSpec) => ReadonlyMap<string, HostTensor | HalfMatrix>): OpenedModel {
  const { spec, map } = readConfigJson(join(directory, 'config.json'));
  const weights = read(spec);
  const tokenizer = loadTokenizer(join(directory, 'tokenizer.json'));
  return { model: createModel(spec, weights, weightsFile(directory)), map, tokenizer };
}

const weightsFile = (directory: string): string => join(directory, 'model.safetensors');

// Read when asked for, so that no more than one tensor is in memory twice.
const halfMatrix = (entry: TensorEntry): HalfMatrix => ({
  shape: [...entry.shape],
  get halves() {
    return readBfloat16(entry);
  },
});
const hostTensor = (entry: TensorEntry): HostTensor => ({
  shape: [...entry.shape],
  get values() {
    return readFloat32(entry);
  },
});
