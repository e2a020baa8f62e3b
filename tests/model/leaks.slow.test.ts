// 200 steps of a tiny mixture on wasm: no tensor, no byte and no resident memory more at the end than at the start.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { memoryOfTraining } from './training-run.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

/** Growth of the process from step 50 to 200 that allocators may cause. Without collections it grows by 0.5 MB a step. */
const SLACK = 4 * 2 ** 20;

test('200 steps', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const resident_S: number[] = [];
  const { memory, losses } = await memoryOfTraining(200, {}, step => {
    if (step % 10 !== 0) return;
    collect();
    resident_S.push(process.memoryUsage().rss);
  });
  expect(memory.slice(2)).toEqual(Array(198).fill(memory[1]));
  const [early, late] = [resident_S.slice(4, 9), resident_S.slice(15)].map(some => Math.min(...some));
  expect(late - early).toBeLessThan(SLACK);
  expect(losses[199]).toBeLessThan(0.75 * losses[0]);
});
