// 2,000 dispatch plans on a GPU against the host's, of up to 40,000 tokens: every integer of every table.
import seedrandom from 'seedrandom';
import { beforeAll, describe, it } from 'vitest';
import { use, webgpuHere } from '../engine/backends.ts';
import { checkPlans, drawCase, drawIds, type Load } from './plan-cases.ts';

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => {
    await use('webgpu');
  });

  it('plans 2,000 random choices as the host does', async () => {
    const random = seedrandom('plans, many');
    for (let batch = 0; batch < 40; batch++) {
      await checkPlans(Array.from({ length: 50 }, () => drawCase(random, 1500)));
    }
  });

  it.each(['even', 'one', 'few', 'zipf', 'bursts', 'rising'] as Load[])('plans 40,000 tokens, load %s', async load => {
    const random = seedrandom(load);
    for (const [tokens, k, experts] of [
      [40_000, 2, 7],
      [40_000, 1, 32],
      [39_999, 2, 128],
      [12_345, 8, 300],
    ]) {
      await checkPlans([{ ids: drawIds(random, tokens * k, experts, load, 0.02), k, experts }]);
    }
  });
});
