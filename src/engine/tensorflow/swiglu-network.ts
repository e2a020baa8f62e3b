// SwiGLU networks over row segments for TensorFlow: products per segment, the gate on all rows at once.
//   h = silu(x Wgᵀ) ⊙ (x Wuᵀ);  y = h Wdᵀ.   dh = dy Wd; du = dh silu(g); dg = dh u σ(g) (1 + g (1 − σ(g))).
// Kernels as in fast/swiglu-network.ts.

import type { GroupedLinearAttributes } from '../fast/grouped-linear.ts';
import { type Tensor, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';
import { forwardEach, inputGradientEach, joined, segmentsOf, weightGradientEach, weightsOf } from './segments.ts';

registerTensorflow<GroupedLinearAttributes>('MoeSwigluNetwork', (inputs, { offsets_E1 }) => {
  const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, offsets_E1.length - 1));
  const x = segmentsOf(inputs.x, offsets_E1);
  const [gate_NF, up_NF] = [joined(forwardEach(x, g)), joined(forwardEach(x, u))];
  const hidden_NF = tf.mul(tf.mul(gate_NF, tf.sigmoid(gate_NF)), up_NF);
  return [joined(forwardEach(segmentsOf(hidden_NF, offsets_E1), d)), gate_NF, up_NF];
});

registerTensorflow<GroupedLinearAttributes>('MoeSwigluNetworkGrad', (inputs, { offsets_E1 }) => {
  const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, offsets_E1.length - 1));
  const apart = (tensor: Tensor) => segmentsOf(tensor, offsets_E1);
  const [x, dy] = [inputs.x, inputs.gradient].map(apart);
  const { gate, up } = inputs;
  const open = tf.sigmoid(gate);
  const silu = tf.mul(gate, open);
  const dHidden = joined(inputGradientEach(dy, d));
  const slope = tf.add(open, tf.mul(silu, tf.sub(1, open)));
  const dGate = apart(tf.mul(tf.mul(dHidden, up), slope));
  const dUp = apart(tf.mul(dHidden, silu));
  const dx = tf.add(joined(inputGradientEach(dGate, g)), joined(inputGradientEach(dUp, u)));
  const dDown = weightGradientEach(dy, apart(tf.mul(silu, up)));
  return [dx, ...weightGradientEach(dGate, x), ...weightGradientEach(dUp, x), ...dDown];
});
