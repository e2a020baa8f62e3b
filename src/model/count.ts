// Parameter counts without allocating anything. Total: every tensor. Active: what one token passes, k experts of E.
import { expertsIn, type ModelSpec, tensorSpecs } from './spec.ts';

export interface ParameterCount {
  total: number;
  active: number;
  /** Parameters of one expert in one layer. */
  expert: number;
  tensors: number;
}

/** Tied heads are counted once. */
export function countParameters(spec: ModelSpec): ParameterCount {
  const tensors = tensorSpecs(spec);
  const size = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);
  const total = tensors.reduce((sum, t) => sum + size(t.shape), 0);
  const expert = 3 * spec.hidden_size * spec.decoder.moe_intermediate_size;
  const spare = spec.layers.map((kind, i) => (kind === 'moe' ? expertsIn(spec, i) - spec.num_experts_per_tok : 0));
  const active = total - expert * spare.reduce((sum, experts) => sum + experts, 0);
  return { total, active, expert, tensors: tensors.length };
}
