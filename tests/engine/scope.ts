// tf.tidy for work that waits: tensors made inside are disposed at its end, once they have been read.
import { type Tensor, tf } from '../../src/engine/tf.ts';

/** A test's body in a scope of its own. Nothing else may run meanwhile. */
export const scoped = (work: () => Promise<void>) => async (): Promise<void> => {
  tf.engine().startScope();
  try {
    await work();
  } finally {
    tf.engine().endScope();
  }
};

/** A copy of a tensor's numbers, on any backend. */
export const read = async (tensor: Tensor): Promise<Float32Array> => (await tensor.data<'float32'>()).slice();
