// The dispatch plan made on a GPU: the integers of planDispatch, in tensors, without the host. The passes are in webgpu-plan.ts.
// Ids are attributes, not inputs, of these kernels: integers have no gradient, and a tape that knew of them would ask for one.

import type { Integers } from '../../src/engine/integers.ts';
import { runKernel } from '../../src/engine/kernel.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import { registerGpu } from '../../src/engine/webgpu/gpu.ts';
import type { DispatchPlan } from './plan.ts';
import { limitToCapacity } from './webgpu-capacity.ts';
import { makePlan } from './webgpu-plan.ts';

interface PlanAttributes {
  expertId_TK: Integers;
  k: number;
  numExperts: number;
}
interface CapacityAttributes extends PlanAttributes {
  counted_T: Integers;
  capacity: number;
}

/** The plan of expertId_TK [T, k], int32, ids 0..E−1 or −1. slot_M and token_M have N places, −1 beyond the last row. */
export function planOnGpu(expertId_TK: Integers, k: number, numExperts: number): DispatchPlan<Tensor> {
  const outputs = runKernel('MoeDispatchPlan', {}, { expertId_TK, k, numExperts });
  const [inverse_N, offsets_E1, slot_M, token_M, rank_N] = outputs;
  return { rank_N, offsets_E1, inverse_N, slot_M, token_M };
}

/** routing/capacity.ts on a GPU: ids with −1 where an expert was full or the token does not count, and the number dropped. */
export function capacityOnGpu(
  expertId_TK: Integers,
  counted_T: Integers,
  k: number,
  numExperts: number,
  capacity: number,
): { expertId_TK: Tensor; dropped: Tensor } {
  const attributes = { expertId_TK, counted_T, k, numExperts, capacity };
  const [kept_TK, dropped] = runKernel('MoeCapacity', {}, attributes);
  return { expertId_TK: kept_TK, dropped };
}

registerGpu<PlanAttributes>('MoeDispatchPlan', (gpu, _, { expertId_TK, k, numExperts }) =>
  gpu.withIntegers(expertId_TK, ids => {
    const { inverse, offsets, slot, token, rank } = makePlan(gpu, ids, k, numExperts);
    return [inverse, offsets, slot, token, rank];
  }),
);

registerGpu<CapacityAttributes>('MoeCapacity', (gpu, _, { expertId_TK, counted_T, ...options }) =>
  gpu.withIntegers(expertId_TK, ids =>
    gpu.withIntegers(counted_T, counted => limitToCapacity(gpu, ids, counted, options)),
  ),
);
