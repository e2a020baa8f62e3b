// Which document stands for a language, and that only its beginning is kept.
import { expect, it } from 'vitest';
import type { DocumentBlock } from '../../analysis/block.ts';
import { exampleCollector } from '../../analysis/example-documents.ts';
import { headerFixture } from '../helpers/languages-fixture.ts';

const L = 2;
const k = 2;
function block(document: number, language: number, counted: number[]): DocumentBlock {
  const n = counted.length;
  return {
    document,
    language,
    position: Int32Array.from(counted, (_, t) => t),
    token: Int32Array.from(counted, (_, t) => 100 * document + t),
    counted: Uint8Array.from(counted),
    expert: new Int32Array(n * L * k).fill(document),
    share: new Float32Array(n * L * k).fill(0.5),
  };
}

it('takes the first document with enough counted tokens, else the longest, and copies its beginning', () => {
  const collector = exampleCollector(headerFixture(1, [22, 23], k), 3);
  const reused = block(2, 0, [0, 1, 1, 1, 1]);
  // language 0: 2 counted, then 4, then more, which comes too late; language 1: never 3, the longest wins, the first of equals
  for (const one of [block(1, 0, [0, 1, 1]), reused, block(3, 0, [1, 1, 1, 1, 1, 1])]) collector.add(one);
  for (const one of [block(4, 1, [1]), block(5, 1, [1, 1]), block(6, 1, [1, 1])]) collector.add(one);
  reused.token.fill(-1);
  const examples = collector.finish();
  expect([...examples].map(([language, { document }]) => [language, document])).toEqual([
    [0, 2],
    [1, 5],
  ]);
  const kept = examples.get(0)!;
  expect([...kept.token]).toEqual([200, 201, 202]);
  expect([...kept.counted]).toEqual([0, 1, 1]);
  expect([kept.expert.length, kept.share.length]).toEqual([3 * L * k, 3 * L * k]);
});
