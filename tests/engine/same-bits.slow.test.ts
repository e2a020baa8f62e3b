// Same seed, same bits, over a hundred repeats; and all backends learn the same.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kernelBackends, use, webgpuHere } from './backends.ts';
import { type TinyRun, tinyRun } from './tiny-run.ts';

afterAll(() => use('cpu'));

describe.each(kernelBackends)('%s', name => {
  it('a hundred repeats of one step, on one, two and three threads in turn', async () => {
    const first = await tinyRun(1, name, { threads: 1 });
    for (let repeat = 1; repeat <= 100; repeat++) {
      const threads = 1 + (repeat % 3);
      expect(await tinyRun(1, name, { threads }), `repeat ${repeat}, ${threads} threads`).toEqual(first);
    }
  });
});

describe.runIf(webgpuHere.works)('webgpu', () => {
  it('a hundred repeats of one step', async () => {
    const first = await tinyRun(1, 'webgpu');
    for (let repeat = 1; repeat <= 100; repeat++) expect(await tinyRun(1, 'webgpu'), `repeat ${repeat}`).toEqual(first);
  });
});

describe('fifty steps', () => {
  let oracle: TinyRun;
  beforeAll(async () => {
    oracle = await tinyRun(50, 'cpu');
    expect(oracle.losses[49]).toBeLessThan(0.9 * oracle.losses[0]);
  }, 600_000);

  it.each([...kernelBackends, ...(webgpuHere.works ? (['webgpu'] as const) : [])])(
    'the losses of %s are those of cpu to 1e-4',
    async name => {
      const { losses } = await tinyRun(50, name, { threads: 2 });
      for (const [step, loss] of losses.entries()) {
        expect(Math.abs(loss - oracle.losses[step]), `step ${step + 1}`).toBeLessThan(1e-4);
      }
    },
  );
});
