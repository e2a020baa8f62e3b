// How an operation finds its fast form: kernels are registered in tfjs under one name per operation and backend.
// An operation asks for its kernel on the current backend and falls back to its plain-tfjs reference. A C or WGSL
// kernel registered under the same name is picked up with no change to the operation or the model.

import { isHalf } from './half.ts';
import type { Integers } from './integers.ts';
import type { Tensor, TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

/** Whether the current backend has a kernel of this name. */
export const hasKernel = (name: string): boolean => tf.getKernel(name, tf.getBackend()) != null;

/** Runs a kernel of the current backend. `attributes` may hold host arrays. Returns all its outputs. */
export function runKernel(name: string, inputs: Record<string, Tensor>, attributes: object = {}): Tensor[] {
  const outputs = tf.engine().runKernel(name, inputs, attributes as Record<string, never>) as TensorInfo | TensorInfo[];
  return (Array.isArray(outputs) ? outputs : [outputs]) as Tensor[];
}

/** An operation with its own gradient.
 *  `forward` returns the value and the tensors that the gradient needs; it is run without a tape.
 *  `backward` is refused where an input is in bf16, which is for inference only. It receives the gradient of the value, those tensors and `integers`, and returns one new tensor per input. */
export function withGradient<T extends Tensor>(
  inputs: Tensor[],
  forward: () => { value: T; saved: Tensor[] },
  backward: (gradient: T, saved: Tensor[], integers: Integers[]) => Tensor[],
  integers: Integers[] = [],
): T {
  const operation = tf.customGrad((...parts) => {
    const save = parts[inputs.length] as (tensors: Tensor[]) => void;
    const { value, saved } = forward();
    const onDevice = integers.filter(each => !(each instanceof Int32Array)) as Tensor[];
    save([...saved, ...onDevice]);
    const half = inputs.some(isHalf); // asked now, as inputs may be gone by then
    const gradFunc = (dy: Tensor, kept: Tensor[]) => {
      if (half) throw new Error('weights in bf16 have no gradient: open the checkpoint for training');
      const keptOnDevice = kept.slice(saved.length).values();
      const own = integers.map(each => (each instanceof Int32Array ? each : (keptOnDevice.next().value as Tensor)));
      return tf.tidy(() => backward(dy as T, kept.slice(0, saved.length), own));
    };
    return { value, gradFunc };
  });
  return operation(...inputs) as T;
}
