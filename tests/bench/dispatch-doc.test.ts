// docs/dispatch-kernel.svg shows the plan of its example as the planner makes it, and is what its script draws.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { planDispatch } from '../../experts/dispatch/plan.ts';

const PICTURE = new URL('../../docs/dispatch-kernel.svg', import.meta.url);
const SCRIPT = fileURLToPath(new URL('../../docs/draw-dispatch.mjs', import.meta.url));

test('the picture of dispatch', () => {
  const svg = readFileSync(PICTURE, 'utf8');
  const ids = Int32Array.of(0, 1, 1, 2, 0, 2, 1, 0, 2, 1, 0, 1);
  const { offsets_E1, rank_N, inverse_N, slot_M, token_M } = planDispatch(ids, 2, 3);
  const shown = [...svg.matchAll(/monospace" font-size="10.5">([^<]*)</g)].map(([, numbers]) =>
    numbers.split(/ +/).map(Number),
  );
  expect(shown).toEqual([[4, 5, 3], [...offsets_E1], [...rank_N], [...inverse_N], [...slot_M], [...token_M]]);
  execFileSync(process.execPath, [SCRIPT]);
  expect(readFileSync(PICTURE, 'utf8')).toBe(svg);
});
