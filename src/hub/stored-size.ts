// What the weights of a model folder take on disk, from their headers alone.
import { statSync } from 'node:fs';
import { type ModelFolder, openWeights } from './model-folder.ts';
import { DTYPE_BYTES, type Dtype } from './safetensors.ts';

export interface StoredSize {
  /** Numbers in the tensors that the model reads; a tied head that is stored all the same is not counted again. */
  parameters: number;
  /** How many of them have each type. */
  dtypes: Partial<Record<Dtype, number>>;
  files: number;
  /** Of all files. */
  bytes: number;
  /** The head of a tied model is in the file too. */
  tiedHeadStored: boolean;
  /** One tensor holds all experts of a layer. */
  fusedExperts: boolean;
}

/** @throws UserError for missing, mis-shaped and unknown tensors */
export function storedSize(folder: ModelFolder): StoredSize {
  const { tensors, tiedHead, file } = openWeights(folder);
  const dtypes: StoredSize['dtypes'] = {};
  let parameters = 0;
  for (const { dtype, byteLength } of tensors.values()) {
    const count = byteLength / DTYPE_BYTES[dtype];
    parameters += count;
    dtypes[dtype] = (dtypes[dtype] ?? 0) + count;
  }
  const paths = [...new Set(Array.from(file.tensors.values(), ({ path }) => path))];
  return {
    parameters,
    dtypes,
    files: paths.length,
    bytes: paths.reduce((sum, path) => sum + statSync(path).size, 0),
    tiedHeadStored: tiedHead !== null,
    fusedExperts: Array.from(tensors.values()).some(({ name }) => name.endsWith('.experts.gate_up_proj')),
  };
}
