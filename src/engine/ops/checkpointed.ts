// Gradient checkpointing (Chen et al. 2016): keep only the inputs, compute again during the backward pass.
import { withGradient } from '../kernel.ts';
import type { Tensor } from '../tf.ts';
import { tf } from '../tf.ts';

interface TapeState {
  activeTape: unknown;
}

/** f(...inputs) whose inner tensors are not kept for the gradient. Every tensor that needs a gradient, weights too,
 *  must be among `inputs`: what f reads by closure gets none. f must give the same result when run again.
 *  The gradients have the bits of the direct computation when no input is also used outside of f (else the same terms
 *  are summed in another order). */
export function checkpointed<T extends Tensor>(f: (...inputs: Tensor[]) => T, inputs: Tensor[]): T {
  return withGradient(
    inputs,
    () => ({ value: f(...inputs), saved: inputs }),
    (gradient, kept) => gradientsOf(f, kept, gradient),
  );
}

/** Gradients of f at `inputs`; zeros for an input that f does not use. */
function gradientsOf<T extends Tensor>(f: (...inputs: Tensor[]) => T, inputs: Tensor[], gradient: T): Tensor[] {
  const state = (tf.engine() as unknown as { state: TapeState }).state;
  const outerTape = state.activeTape; // tfjs would start the inner tape over the outer one and then drop both
  try {
    const { grads } = tf.engine().gradients(() => f(...inputs), inputs, gradient, true);
    return inputs.map((input, i) => grads[i] ?? tf.zerosLike(input));
  } finally {
    state.activeTape = outerTape;
  }
}
