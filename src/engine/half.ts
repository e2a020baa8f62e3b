// Weights in bf16, half the memory of fp32, for inference: products x Wᵀ and embeddings read them in place on backends with
// C kernels, to the same bits as with the widened weights. Whatever else reads such a tensor is given it widened.

import { bfloat16ToFloat32 } from './bfloat16.ts';
import type { KernelMemory } from './memory.ts';
import { type Tensor, tf } from './tf.ts';

/** The running backend as C kernels see it; null for one without them. */
export const kernelMemory = (): KernelMemory | null =>
  'keepHalves' in tf.backend() ? (tf.backend() as unknown as KernelMemory) : null;

/** A tensor of bf16 numbers, fp32 to all who use it. Backends without C kernels widen it for good. Where the kernels
 *  reach the array it is not copied, and must not change. */
export function halfTensor(values: Uint16Array, shape: number[]): Tensor {
  const memory = kernelMemory();
  if (!memory) return tf.tensor(bfloat16ToFloat32(values), shape, 'float32');
  return tf.engine().makeTensorFromTensorInfo(memory.keepHalves(values, shape));
}

/** Whether the running backend keeps the tensor in bf16. */
export const isHalf = (tensor: Tensor): boolean => kernelMemory()?.halves(tensor) != null;
