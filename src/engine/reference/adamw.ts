// Plain-tfjs AdamW (Loshchilov and Hutter 2019, algorithm 2; torch.optim.AdamW's order of decay and step).
import type { Tensor } from '../tf.ts';
import { tf } from '../tf.ts';

/** Settings of one AdamW step. `step` counts from 1. */
export interface AdamwSettings {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  step: number;
  /** Multiplies the gradient, as clipping by norm does; 1 when left out. */
  gradientScale?: number;
}

/** θ ← θ(1 − ηλ); m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η m̂ / (√v̂ + ε). Returns new θ, m, v. */
export function adamwReference(theta: Tensor, unscaled: Tensor, m: Tensor, v: Tensor, s: AdamwSettings): Tensor[] {
  const { gradientScale = 1 } = s;
  const gradient = gradientScale === 1 ? unscaled : tf.mul(unscaled, gradientScale);
  const decayed = tf.mul(theta, 1 - s.learningRate * s.weightDecay);
  const newM = tf.add(tf.mul(m, s.beta1), tf.mul(gradient, 1 - s.beta1));
  const newV = tf.add(tf.mul(v, s.beta2), tf.mul(tf.square(gradient), 1 - s.beta2));
  const unbiasedM = tf.div(newM, 1 - s.beta1 ** s.step);
  const unbiasedV = tf.div(newV, 1 - s.beta2 ** s.step);
  const change = tf.mul(tf.div(unbiasedM, tf.add(tf.sqrt(unbiasedV), s.epsilon)), s.learningRate);
  return [tf.sub(decayed, change), newM, newV];
}
