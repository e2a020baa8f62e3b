// The dispatch plan made on a GPU: the integers of planDispatch, in tensors, without the host.
import type { Integers } from '../../src/engine/integers.ts';
import { runKernel } from '../../src/engine/kernel.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import type { DispatchPlan } from './plan.ts';

/** The plan of expertId_TK [T, k], int32, ids 0..E−1 or −1. slot_M and token_M have N places, −1 beyond the last row. */
export function planOnGpu(expertId_TK: Tensor, k: number, numExperts: number): DispatchPlan<Tensor> {
  const outputs = runKernel('MoeDispatchPlan', { expertId: expertId_TK }, { k, numExperts });
  const [inverse_N, offsets_E1, slot_M, token_M, rank_N] = outputs;
  return { rank_N, offsets_E1, inverse_N, slot_M, token_M };
}

/** routing/capacity.ts on a GPU: ids with −1 where an expert was full or the token does not count, and the number dropped. */
export function capacityOnGpu(
  expertId_TK: Tensor,
  counted_T: Integers,
  k: number,
  numExperts: number,
  capacity: number,
): { expertId_TK: Tensor; dropped: Tensor } {
  const attributes = { counted_T, k, numExperts, capacity };
  const [kept_TK, dropped] = runKernel('MoeCapacity', { expertId: expertId_TK }, attributes);
  return { expertId_TK: kept_TK, dropped };
}
