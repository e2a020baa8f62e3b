// Two tokens, two layers, k = 2: first choices, texts and ids.
import { expect, it } from 'vitest';
import { documentTokens } from '../../analysis/document-tokens.ts';
import { headerFixture } from '../helpers/languages-fixture.ts';

it('lists each token’s first choice per layer, in order, null without a slot', () => {
  const block = {
    document: 0,
    language: 0,
    position: Int32Array.from([4, 5]),
    token: Int32Array.from([17, 9]),
    counted: Uint8Array.from([1, 0]),
    expert: Int32Array.from([3, 1, 0, 2, 5, 6, -1, -1]),
    share: new Float32Array(8),
  };
  const table = documentTokens(block, headerFixture(1, [22, 23]), new Map([[17, ' of']]));
  expect(table.objects()).toEqual([
    { position: 4, token: 17, text: ' of', counted: 1, layer: 22, expert: 3 },
    { position: 4, token: 17, text: ' of', counted: 1, layer: 23, expert: 0 },
    { position: 5, token: 9, text: '#9', counted: 0, layer: 22, expert: 5 },
    { position: 5, token: 9, text: '#9', counted: 0, layer: 23, expert: null },
  ]);
});
