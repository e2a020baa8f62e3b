// Choices of experts as they come and as they should not come, and the judgement of a GPU's plan of them: every element of every
// table equal to the host's, in memory that held other numbers before.
import type { PRNG } from 'seedrandom';
import { type DispatchPlan, planDispatch } from '../../experts/dispatch/plan.ts';
import { planOnGpu } from '../../experts/dispatch/webgpu.ts';
import { type Tensor, tf } from '../../src/engine/tf.ts';
import { poison } from '../engine/webgpu/poison.ts';

export interface PlanCase {
  /** [T·k], −1 for a slot without an expert. */
  ids: Int32Array;
  k: number;
  experts: number;
}

const LOADS = ['even', 'one', 'few', 'zipf', 'bursts', 'rising'] as const;
export type Load = (typeof LOADS)[number];

/** Ids of `slots` slots under a load: even, all on one expert, on few of them, 1/rank, in bursts, or in order of expert. */
export function drawIds(random: PRNG, slots: number, experts: number, load: Load, dropped: number): Int32Array {
  const below = (n: number) => Math.floor(random() * n);
  const first = below(experts);
  const few = 1 + below(Math.ceil(experts / 3));
  let current = first;
  const next: Record<Load, (n: number) => number> = {
    even: () => below(experts),
    one: () => first,
    few: () => (first + below(few)) % experts,
    zipf: () => (first + Math.floor(experts ** random()) - 1) % experts,
    bursts: () => {
      if (random() < 0.01) current = below(experts);
      return current;
    },
    rising: n => Math.floor((n * experts) / slots),
  };
  return Int32Array.from({ length: slots }, (_, n) => (random() < dropped ? -1 : next[load](n)));
}

const pick = <T>(random: PRNG, from: readonly T[]): T => from[Math.floor(random() * from.length)];

/** Numbers of experts at and around the edges of the kernels, and any other. */
const EXPERTS = [1, 2, 3, 7, 8, 12, 31, 32, 33, 64, 65, 127, 128, 129, 300];

/** A case of up to `mostTokens` tokens, mostly few; every load, number of experts and share of dropped slots. */
export function drawCase(random: PRNG, mostTokens: number): PlanCase {
  const experts = random() < 0.7 ? pick(random, EXPERTS) : 1 + Math.floor(random() * 128);
  const k = 1 + Math.floor(random() ** 3 * Math.min(experts, 12));
  const edges = [0, 1, 2, 255, 256, 257, 1023, 1024, 1025, 4096, 4097].filter(tokens => tokens <= mostTokens);
  const tokens = random() < 0.2 ? pick(random, edges) : Math.floor(random() ** 3 * (mostTokens + 1));
  const dropped = pick(random, [0, 0, 0.03, 0.5, 1]);
  return { ids: drawIds(random, tokens * k, experts, pick(random, LOADS), dropped), k, experts };
}

/** The host's plan in the GPU's form: places beyond the last row hold −1. */
function planWithPadding({ ids, k, experts }: PlanCase): DispatchPlan<Int32Array> {
  const plan = planDispatch(ids, k, experts);
  const pad = (values: Int32Array) => Int32Array.from(ids, (_, row) => (row < values.length ? values[row] : -1));
  return { ...plan, slot_M: pad(plan.slot_M), token_M: pad(plan.token_M) };
}

const TABLES = ['rank_N', 'offsets_E1', 'inverse_N', 'slot_M', 'token_M'] as const;

/** Plans all cases on the GPU, then reads them. @throws Error naming the first element that differs from the host's plan. */
export async function checkPlans(cases: readonly PlanCase[]): Promise<void> {
  await poison(
    cases.flatMap(({ ids, experts }) => [[ids.length], [experts + 1]]),
    4,
  );
  const plans = cases.map(({ ids, k, experts }) => planOnGpu(ids, k, experts));
  const read = await Promise.all(plans.map(plan => Promise.all(TABLES.map(table => plan[table].data<'int32'>()))));
  for (const plan of plans) tf.dispose(Object.values(plan) as Tensor[]);
  cases.forEach((each, i) => {
    const want = planWithPadding(each);
    TABLES.forEach((table, at) => {
      const difference = firstDifference(read[i][at], want[table]);
      if (difference)
        throw new Error(`${each.ids.length} slots, k ${each.k}, E ${each.experts}: ${table}${difference}`);
    });
  });
}

export function firstDifference(got: ArrayLike<number>, want: ArrayLike<number>): string | null {
  if (got.length !== want.length) return ` has ${got.length} elements, wanted ${want.length}`;
  for (let i = 0; i < want.length; i++) {
    if (!Object.is(got[i], want[i])) return `[${i}] is ${got[i]}, wanted ${want[i]}`;
  }
  return null;
}
