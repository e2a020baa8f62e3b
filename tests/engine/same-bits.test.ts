// Same seed, same bits: a small mixture trained again, and on more threads, ends with the very same weights.
import { afterAll, describe, expect, it } from 'vitest';
import { kernelBackends, use } from './backends.ts';
import { tinyRun } from './tiny-run.ts';

afterAll(() => use('cpu'));

describe.each(kernelBackends)('%s', name => {
  it('five steps, again and on one, two and three threads', async () => {
    const first = await tinyRun(5, name, { threads: 1 });
    expect(first.losses.at(-1)).toBeLessThan(first.losses[0]);
    for (const threads of [1, 2, 3]) {
      expect(await tinyRun(5, name, { threads }), `${threads} threads`).toEqual(first);
    }
  });
});
