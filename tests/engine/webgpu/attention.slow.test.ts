// Attention in WGSL where its kernels take long to build on a processor, and sums over many keys.
import { beforeAll, describe, expect, it } from 'vitest';
import { bits, documents, NAMES, oneDocument, problem, sizesOf } from '../attention-problems.ts';
import { use, webgpuHere } from '../backends.ts';
import { expectTruth, solve } from './solve-attention.ts';

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => void (await use('webgpu')));

  it.each([33, 127, 128, 256])('width %i', async width => {
    await expectTruth(problem(sizesOf(1, 40, 70, 6, 2, width), documents));
  });

  it('a document of 1,500 tokens, twice', async () => {
    const p = problem(sizesOf(1, 1500, 1500, 2, 1, 16), oneDocument);
    await expectTruth(p);
    const [one, other] = [await solve(p), await solve(p)];
    for (const name of NAMES) expect(bits(other[name]), name).toEqual(bits(one[name]));
  });

  it('one query after 5,000 keys', async () => {
    await expectTruth(problem(sizesOf(1, 1, 5000, 4, 2, 16), oneDocument));
  });
});
