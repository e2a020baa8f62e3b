// Parameter counts without allocating anything. Total: every tensor. Active: what one token passes, k experts of E.
import { type ModelSpec, tensorSpecs } from './spec.ts';

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
  const routed = tensors.filter(t => t.role === 'expert').reduce((sum, t) => sum + size(t.shape), 0);
  const active = routed === 0 ? total : total - routed + (routed * spec.num_experts_per_tok) / spec.numExperts;
  return { total, active, expert: 3 * spec.hidden_size * spec.decoder.moe_intermediate_size, tensors: tensors.length };
}
