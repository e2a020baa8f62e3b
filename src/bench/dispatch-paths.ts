// The paths that `moe bench dispatch` times, each as one function of tensors that are ready: ours, and the two usual ones.
// Shapes: T tokens, D width, k experts per token, E experts, M = T·k rows grouped by expert, C rows per expert's block.
import { type DispatchPlan, planDispatch } from '../../experts/dispatch/plan.ts';
import { dispatchByGather } from '../../experts/dispatch/tf.ts';
import { planOnGpu } from '../../experts/dispatch/webgpu.ts';
import { countOf, type Integers } from '../engine/integers.ts';
import { hasKernel, runKernel } from '../engine/kernel.ts';
import { combine } from '../engine/ops/combine.ts';
import { gatherRows } from '../engine/ops/gather-rows.ts';
import { matmul } from '../engine/ops/matmul.ts';
import { oneHot } from '../engine/reference/one-hot.ts';
import { type Tensor, type Tensor1D, type Tensor2D, tf } from '../engine/tf.ts';

/** Expert ids [T, k], on the GPU for a backend that plans there, else on the host. */
export const idsFor = (expertId_TK: Int32Array, k: number): Integers =>
  tf.getBackend() === 'webgpu' ? tf.tensor2d(expertId_TK, [expertId_TK.length / k, k], 'int32') : expertId_TK;

/** The plan of the running backend. */
export const planOf = (expertId_TK: Integers, k: number, experts: number): DispatchPlan =>
  expertId_TK instanceof Int32Array ? planDispatch(expertId_TK, k, experts) : planOnGpu(expertId_TK, k, experts);

/** The tensors of a plan, to be disposed. */
export const tensorsOf = (plan: DispatchPlan): Tensor[] =>
  Object.values(plan).filter((value): value is Tensor => !(value instanceof Int32Array));

/** x_TD [T, D] → rows [M, D]. */
export const permute = (x_TD: Tensor2D, plan: DispatchPlan): Tensor2D => gatherRows(x_TD, plan.token_M, plan.inverse_N);

/** y_MD [M, D] → [T, D]. */
export const combineRows = (y_MD: Tensor2D, gate_TK: Tensor2D, plan: DispatchPlan): Tensor2D =>
  combine(y_MD, plan.inverse_N, gate_TK, plan.slot_M);

/** Plan, permute and combine around experts that answer what they are given: Σ_j gate[t, j] · x[t]. */
export function dispatch(x_TD: Tensor2D, gate_TK: Tensor2D, expertId_TK: Integers, experts: number): Tensor2D {
  return tf.tidy(() =>
    dispatchByGather(x_TD, gate_TK, planOf(expertId_TK, gate_TK.shape[1], experts), rows_MD => rows_MD),
  );
}

/** dx_TD of permute for dy_MD. The kernel alone where there is one, else the forward pass is run too. */
export function permuteGradient(x_TD: Tensor2D, dy_MD: Tensor2D, plan: DispatchPlan, k: number): Tensor2D {
  if (hasKernel('MoeGatherSum'))
    return runKernel('MoeGatherSum', { x: dy_MD }, { index_MR: plan.inverse_N, width: k })[0] as Tensor2D;
  return tf.grad(x => permute(x as Tensor2D, plan))(x_TD, dy_MD) as Tensor2D;
}

/** [dy_MD, dgate_TK] of combine for dout_TD, likewise. */
export function combineGradient(y_MD: Tensor2D, gate_TK: Tensor2D, dout_TD: Tensor2D, plan: DispatchPlan): Tensor[] {
  const { inverse_N: inverse_TK, slot_M: slot_N } = plan;
  if (hasKernel('MoeCombineGrad'))
    return runKernel('MoeCombineGrad', { y: y_MD, gate: gate_TK, gradient: dout_TD }, { inverse_TK, slot_N });
  return tf.grads((y, gate) => combineRows(y as Tensor2D, gate as Tensor2D, plan))([y_MD, gate_TK], dout_TD);
}

/** The masks of dispatch by one-hot products (GShard): `sends` [T, E·C] and the same with gates, `returns`. */
export interface Masks {
  sends_TR: Tensor2D;
  returns_TR: Tensor2D;
}

/** Columns of the masks: E blocks of as many rows as the fullest expert has. */
export const maskColumns = ({ offsets_E1 }: Pick<DispatchPlan<Int32Array>, 'offsets_E1'>): number =>
  (offsets_E1.length - 1) *
  offsets_E1.reduce((most, end, e) => (e === 0 ? 1 : Math.max(most, end - offsets_E1[e - 1])), 1);

export function oneHotMasks(expertId_TK: Int32Array, gate_TK: Tensor2D, plan: DispatchPlan<Int32Array>): Masks {
  const [tokens, k] = gate_TK.shape;
  const columns = maskColumns(plan);
  const capacity = columns / (plan.offsets_E1.length - 1);
  return tf.tidy(() => {
    const choices = Array.from({ length: k }, (_, j) => {
      const column_T = Int32Array.from(
        { length: tokens },
        (_, t) => expertId_TK[t * k + j] * capacity + plan.rank_N[t * k + j],
      );
      return oneHot(column_T, columns);
    });
    const gated = choices.map((mask_TR, j) => mask_TR.mul<Tensor2D>(gate_TK.slice([0, j], [tokens, 1])));
    return { sends_TR: tf.addN(choices) as Tensor2D, returns_TR: tf.addN(gated) as Tensor2D };
  });
}

/** The two products of dispatch by one-hot masks; the masks are there already, which flatters it. */
export function dispatchByMasks(x_TD: Tensor2D, { sends_TR, returns_TR }: Masks): Tensor2D {
  return tf.tidy(() => matmul(returns_TR, matmul(sends_TR, x_TD, true, false)));
}

/** The usual way: sort the slots by expert, gather the rows; then, choice by choice, gather them back, multiply by the gate and
 *  add. Rows move by the same kernel as ours. */
export function dispatchBySort(x_TD: Tensor2D, gate_TK: Tensor2D, expertId_TK: Integers): Tensor2D {
  const [tokens, k] = gate_TK.shape;
  return tf.tidy(() => {
    const { token_N, place_TK } = sorted(expertId_TK, k);
    const y_ND = gatherRows(x_TD, token_N); // identity experts
    const parts = Array.from({ length: k }, (_, j) => {
      const back_TD = gatherRows(y_ND, column(place_TK, j, k));
      return back_TD.mul<Tensor2D>(gate_TK.slice([0, j], [tokens, 1]));
    });
    return parts.reduce((sum_TD, part_TD) => sum_TD.add(part_TD));
  });
}

/** The token of each row, rows in the order of their experts and of their slots within one; and the row of each slot. */
function sorted(expertId_TK: Integers, k: number): { token_N: Integers; place_TK: Integers } {
  const slots = countOf(expertId_TK);
  if (!(expertId_TK instanceof Int32Array)) {
    const order_N = tf.topk(expertId_TK.flatten().cast('float32').neg(), slots).indices as Tensor1D; // ties: lower slot first
    const place_TK = tf.scatterND(order_N.expandDims(1), tf.range(0, slots, 1, 'int32'), [slots]);
    return { token_N: tf.floorDiv(order_N, tf.scalar(k, 'int32')), place_TK };
  }
  const key_N = expertId_TK.map((e, slot) => e * slots + slot).sort(); // all different, so any sort keeps slots in order
  const token_N = key_N.map(key => Math.floor((key % slots) / k));
  const place_TK = new Int32Array(slots);
  key_N.forEach((key, place) => {
    place_TK[key % slots] = place;
  });
  return { token_N, place_TK };
}

const column = (place_TK: Integers, j: number, k: number): Integers =>
  place_TK instanceof Int32Array
    ? Int32Array.from({ length: place_TK.length / k }, (_, t) => place_TK[t * k + j])
    : place_TK.reshape([-1, k]).slice([0, j], [-1, 1]).flatten();
