// The dispatch plan, the capacity limit and the movement of rows on a GPU: exactly the integers of the host, the same bits on
// repeat and for shuffled tokens. webgpu-plan.slow.test.ts draws more and larger plans.
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, it } from 'vitest';
import { dispatchByGather } from '../../experts/dispatch/tf.ts';
import { capacityOnGpu, planOnGpu } from '../../experts/dispatch/webgpu.ts';
import { applyCapacity } from '../../routing/capacity.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { gpuOf } from '../../src/engine/webgpu/gpu.ts';
import { exclusiveSums } from '../../src/engine/webgpu/scan.ts';
import { use, webgpuHere } from '../engine/backends.ts';
import { expectClose } from '../engine/judge.ts';
import { poison } from '../engine/webgpu/poison.ts';
import { checkPlans, drawCase, drawIds, firstDifference, type Load } from './plan-cases.ts';

/** Reads and disposes. */
async function taken<T extends Float32Array | Int32Array>(tensor: Tensor): Promise<T> {
  const values = (await tensor.data()).slice() as T;
  tensor.dispose();
  return values;
}

/** x_TD through experts that return their rows, with the plan of these ids. */
function throughIdentity(x_TD: Tensor2D, gate_TK: Tensor2D, ids: Int32Array, experts: number): Tensor2D {
  return tf.tidy(() => {
    const k = gate_TK.shape[1];
    return dispatchByGather(x_TD, gate_TK, planOnGpu(ids, k, experts), rows => rows.clone());
  });
}

const numbers = (random: () => number, count: number) => Float32Array.from({ length: count }, () => random() * 4 - 2);

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => {
    await use('webgpu');
  });

  it('worked by hand: 3 tokens, 2 choices, 4 experts, one slot dropped, expert 1 empty', async () => {
    const ids = tf.tensor2d([2, 0, 0, -1, 3, 2], [3, 2], 'int32');
    const plan = planOnGpu(ids, 2, 4);
    ids.dispose();
    expect(await taken(plan.offsets_E1)).toEqual(Int32Array.of(0, 2, 2, 4, 5));
    expect(await taken(plan.rank_N)).toEqual(Int32Array.of(0, 0, 1, -1, 0, 1));
    expect(await taken(plan.inverse_N)).toEqual(Int32Array.of(2, 0, 1, -1, 4, 3));
    expect(await taken(plan.slot_M)).toEqual(Int32Array.of(1, 2, 0, 5, 4, -1));
    expect(await taken(plan.token_M)).toEqual(Int32Array.of(0, 1, 0, 2, 2, -1));
  });

  it('plans as the host does, whatever the load', async () => {
    const random = seedrandom('plans');
    for (let batch = 0; batch < 6; batch++) {
      await checkPlans(Array.from({ length: 50 }, () => drawCase(random, 600)));
    }
  });

  it.each([
    ['each expert walking all slots', 7],
    ['tiles', 65],
  ])('plans many slots by %s', async (_, experts) => {
    const random = seedrandom('many');
    const load = (load: Load) => ({ ids: drawIds(random, 16_000, experts, load, 0.1), k: 2, experts });
    await checkPlans([load('zipf'), load('bursts')]);
  });

  it.each([
    ['few experts', 7],
    ['many experts', 64],
  ])('100 plans of the same ids are the same plan: %s', async (_, experts) => {
    const ids = drawIds(seedrandom('repeat'), 3000, experts, 'zipf', 0.1);
    for (let batch = 0; batch < 4; batch++) {
      await checkPlans(Array.from({ length: 25 }, () => ({ ids, k: 3, experts })));
    }
  });

  it('refuses more experts than a workgroup can count', () => {
    expect(() => planOnGpu(Int32Array.of(0), 1, 1025)).toThrow('webgpu routes to at most 1024 experts, not 1025.');
  });

  it.each([1, 4095, 4096, 16_383, 16_384, 70_000])('sums what stands before each of %d numbers', async size => {
    const random = seedrandom(String(size));
    const values = Int32Array.from({ length: size }, () => Math.floor(random() * 1000));
    const want = new Int32Array(size + 1);
    for (let i = 0; i < size; i++) want[i + 1] = want[i] + values[i];
    await poison([[size + 1]]);
    const gpu = gpuOf(tf.backend());
    const sums = gpu.withIntegers(values, given => exclusiveSums(gpu, given));
    const got = await taken(tf.engine().makeTensorFromTensorInfo(sums));
    expect(firstDifference(got, want)).toBeNull();
  });

  it('limits to the capacity as the host does: first choices first, no place for padding', async () => {
    const random = seedrandom('capacity');
    for (let i = 0; i < 40; i++) {
      const { ids, k, experts } = drawCase(random, 300);
      const tokens = ids.length / k;
      const counted_T = Int32Array.from({ length: tokens }, () => Number(random() < 0.8));
      const capacity = 1 + Math.floor((random() * 2 * ids.length) / experts);
      const wanted_TK = ids.map((e, slot) => (counted_T[Math.floor(slot / k)] === 1 ? e : -1));
      const want = applyCapacity(wanted_TK, k, experts, capacity);
      await poison([[ids.length], [1]]);
      const got = capacityOnGpu(ids, counted_T, k, experts, capacity);
      expect(await taken(got.dropped)).toEqual(Int32Array.of(want.dropped));
      expect(firstDifference(await taken(got.expertId_TK), want.expertId_TK)).toBeNull();
    }
  });

  it('experts that return their rows return the input: bit for bit with one choice of gate 1', async () => {
    const random = seedrandom('identity');
    for (const [tokens, experts, width] of [
      [1, 1, 1],
      [70, 7, 12],
      [65, 40, 257],
      [300, 7, 896],
    ]) {
      const x = numbers(random, tokens * width);
      const ids = drawIds(random, tokens, experts, 'zipf', 0);
      await poison([[tokens, width]], 3);
      const [x_TD, ones] = [tf.tensor2d(x, [tokens, width]), tf.ones([tokens, 1]) as Tensor2D];
      expect(firstDifference(await taken(throughIdentity(x_TD, ones, ids, experts)), x)).toBeNull();
      tf.dispose([x_TD, ones]);
    }
  });

  it('gates of 1 in all mix to the input, and shuffled tokens come back shuffled, bit for bit', async () => {
    const random = seedrandom('shuffle');
    const [tokens, experts, width] = [333, 8, 20];
    const x = numbers(random, tokens * width);
    const ids = drawIds(random, 3 * tokens, experts, 'zipf', 0);
    const first_T = Float32Array.from({ length: tokens }, () => random() / 2);
    const gates = Float32Array.from(
      { length: 3 * tokens },
      (_, slot) => [1, 0.5, -0.5][slot % 3] * first_T[(slot / 3) | 0],
    );
    for (let t = 0; t < tokens; t++) gates[3 * t] = 1 - (gates[3 * t + 1] + gates[3 * t + 2]);
    const order = Array.from({ length: tokens }, (_, t) => t);
    for (let t = tokens - 1; t > 0; t--) {
      const other = Math.floor(random() * (t + 1));
      [order[t], order[other]] = [order[other], order[t]];
    }
    const shuffled = <T extends Float32Array | Int32Array>(values: T): T => {
      const row = values.length / tokens;
      return values.map((_, i) => values[order[Math.floor(i / row)] * row + (i % row)]) as T;
    };
    const mixed = async (x_: Float32Array, gates_: Float32Array, ids_: Int32Array) => {
      const [x_TD, gate_TK] = [tf.tensor2d(x_, [tokens, width]), tf.tensor2d(gates_, [tokens, 3])];
      const y = await taken<Float32Array>(throughIdentity(x_TD, gate_TK, ids_, experts));
      tf.dispose([x_TD, gate_TK]);
      return y;
    };
    const y = await mixed(x, gates, ids);
    expectClose('mixture', y, x, 1e-6);
    expect(firstDifference(await mixed(shuffled(x), shuffled(gates), shuffled(ids)), shuffled(y))).toBeNull();
  });
});
