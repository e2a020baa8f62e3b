// The oracle: dispatch as one would explain it on a board. Slow, obvious, and what every faster path is tested against.
//   plan: for each expert in turn, list its slots in order.   layer: y_t = Σ_j gate[t, j] · expert_{S[t, j]}(x_t).
import type { DispatchPlan } from './plan.ts';

/** The plan of planDispatch, by filtering the slots once per expert. */
export function referencePlan(expertId_TK: Int32Array, k: number, numExperts: number): DispatchPlan<Int32Array> {
  const slots_E = Array.from({ length: numExperts }, (_, expert) =>
    Array.from(expertId_TK.keys()).filter(n => expertId_TK[n] === expert),
  );
  const slots = slots_E.flat();
  return {
    rank_N: expertId_TK.map((e, n) => (e < 0 ? -1 : slots_E[e].indexOf(n))),
    offsets_E1: Int32Array.from({ length: numExperts + 1 }, (_, e) => slots_E.slice(0, e).flat().length),
    inverse_N: expertId_TK.map((_, n) => slots.indexOf(n)),
    slot_M: Int32Array.from(slots),
    token_M: Int32Array.from(slots, n => Math.floor(n / k)),
  };
}

/** The mixture itself, token by token, in double precision. x_TD [T][D] → y_TD [T][D]; a slot of −1 adds nothing. */
export function referenceMixture(
  x_TD: number[][],
  expertId_TK: Int32Array,
  gate_TK: ArrayLike<number>,
  k: number,
  expert: (e: number, x_D: number[]) => number[],
): number[][] {
  return x_TD.map((x_D, t) => {
    const y_D = x_D.map(() => 0);
    for (let slot = t * k; slot < (t + 1) * k; slot++) {
      if (expertId_TK[slot] < 0) continue;
      expert(expertId_TK[slot], x_D).forEach((value, d) => {
        y_D[d] += gate_TK[slot] * value;
      });
    }
    return y_D;
  });
}
