// Weights and inputs as a safetensors file, so that another program can run the very same numbers.
import type { Tensor } from '../engine/tf.ts';
import { writeFileAtomically } from '../hub/atomic.ts';
import { writeSafetensors } from '../hub/write-safetensors.ts';

export interface SavedTensor {
  name: string;
  shape: number[];
  values: Float32Array | Int32Array;
}

export const savedTensor = (name: string, tensor: Tensor): SavedTensor => ({
  name,
  shape: tensor.shape,
  values: tensor.dataSync<'float32'>(),
});

export const savedWeights = (weights: ReadonlyMap<string, Tensor>): SavedTensor[] =>
  [...weights].map(([name, tensor]) => savedTensor(name, tensor));

/** Writes or replaces `path`. Errors: those of the file system. */
export function saveTensors(path: string, tensors: readonly SavedTensor[]): Promise<void> {
  const sources = tensors.map(({ name, shape, values }) => ({
    name,
    shape,
    dtype: values instanceof Int32Array ? ('I32' as const) : ('F32' as const),
    values: () => values,
  }));
  return writeFileAtomically(path, file => writeSafetensors(file, sources));
}
