// How the fast form of an operation is registered for the backend `tensorflow`: composed of calls of tfjs, each of which is
// one kernel of TensorFlow there. Only gathers, products, slices and sums of a fixed order: the same bits on repeat.

import type { Tensor } from '../tf.ts';
import { tf } from '../tf.ts';

type TensorflowKernel<A> = (inputs: Record<string, Tensor>, attributes: A) => Tensor[];

/** Registers the form of an operation for TensorFlow, once, at the top level of its file. Integers among the attributes
 *  are on the host. What `kernel` makes on the way is freed; what it answers must be new. */
export function registerTensorflow<A>(kernelName: string, kernel: TensorflowKernel<A>): void {
  tf.registerKernel({
    kernelName,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs }) => tf.tidy(() => kernel(inputs as Record<string, Tensor>, attrs as unknown as A)),
  });
}
