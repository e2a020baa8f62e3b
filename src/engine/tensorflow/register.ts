// All forms for TensorFlow: those of our operations, registered by being imported, and what takes the place of tfjs-node's own.
import './attention.ts';
import './cross-entropy.ts';
import './embedding.ts';
import './gather-rows.ts';
import './grouped-linear.ts';
import './pick-columns.ts';
import './rms-norm.ts';
import './rope.ts';
import './swiglu-network.ts';
import { replaceSoftmax } from './softmax.ts';

/** To be called once tfjs-node has registered its kernels; again does nothing. */
export const registerTensorflowKernels = (): void => replaceSoftmax();
