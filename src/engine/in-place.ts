// Numbers of a tensor where they lie, so that a long pass over a model neither copies them nor leaves arrays to the garbage
// collector: on backends with C kernels memory is used again at once.
import { kernelMemory } from './half.ts';
import { type Tensor, tf } from './tf.ts';

/** A new fp32 tensor; `fill` writes all its values. */
export function filledTensor<T extends Tensor>(shape: number[], fill: (values: Float32Array) => void): T {
  const memory = kernelMemory();
  if (!memory) {
    const values = new Float32Array(tf.util.sizeFromShape(shape));
    fill(values);
    return tf.tensor(values, shape, 'float32') as T;
  }
  const made = memory.allocate(shape);
  fill(memory.view(made));
  return tf.engine().makeTensorFromTensorInfo(made) as T;
}

/** The values, to be read before the tensor is gone and not to be changed. @throws Error on a backend that cannot be read at once */
export const valuesInPlace = (tensor: Tensor): Float32Array =>
  kernelMemory()?.view(tensor) ?? tensor.dataSync<'float32'>();
