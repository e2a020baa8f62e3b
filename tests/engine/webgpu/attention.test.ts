// Attention in WGSL: sizes around its tiles, widths of every form, holes, padding and caches against double precision,
// in memory that holds other numbers before; and which bits a document keeps whatever lies beside it.
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Answer,
  bits,
  documents,
  holes,
  layouts,
  NAMES,
  oneDocument,
  type Problem,
  paddedLate,
  paddedMiddle,
  problem,
  sizesOf,
  thirds,
  truth,
} from '../attention-problems.ts';
import { use, webgpuHere } from '../backends.ts';
import { expectClose } from '../judge.ts';
import { expectTruth, solve } from './solve-attention.ts';

// Building the kernels takes seconds where the GPU is a program on a busy processor.
describe.runIf(webgpuHere.works)('on webgpu', { timeout: 300_000 }, () => {
  beforeAll(async () => void (await use('webgpu')));

  it('two keys, by hand', async () => {
    const p: Problem = {
      ...sizesOf(1, 1, 2, 1, 1, 1),
      q: Float32Array.of(Math.log(3)), // scores 0 and ln 3: weights 1/4 and 3/4
      k: Float32Array.of(0, 1),
      v: Float32Array.of(4, 8),
      upstream: Float32Array.of(1), // dp = 4, 8 with mean 7: ds = −3/4, 3/4
      querySegment: Int32Array.of(0),
      keySegment: Int32Array.of(0, 0),
    };
    const { out, dq, dk, dv } = await solve(p);
    expectClose('out', out, [7], 1e-6);
    expectClose('dq', dq, [0.75], 1e-6);
    expectClose('dk', dk, [-0.75 * Math.log(3), 0.75 * Math.log(3)], 1e-6);
    expectClose('dv', dv, [0.25, 0.75], 1e-6);
  });

  it.each([
    [17, 0, 1],
    [31, 0, 2],
    [32, 1, 2],
    [33, 31, 3],
    [63, 0, 1],
    [64, 0, 1],
    [65, 33, 1],
    [64, 65, 7],
    [129, 0, 1],
  ])('%i queries after %i keys, %i heads a key head', async (queries, past, ratio) => {
    for (const layout of Object.values(layouts))
      await expectTruth(problem(sizesOf(2, queries, queries + past, 2 * ratio, 2, 8), layout));
  });

  it.each([4, 5, 32, 64, 72])('width %i', async width => {
    await expectTruth(problem(sizesOf(1, 40, 70, 6, 2, width), documents));
  });

  it.each([
    ['one key', sizesOf(1, 1, 1, 2, 1, 8), oneDocument],
    ['a stretch of keys but one', sizesOf(1, 1, 127, 2, 2, 8), oneDocument],
    ['a stretch of keys', sizesOf(2, 2, 128, 2, 1, 8), thirds],
    ['one key more', sizesOf(1, 1, 129, 4, 2, 5), oneDocument],
    ['many stretches, some of which hold nothing to see', sizesOf(2, 2, 700, 3, 1, 8), documents],
    ['holes', sizesOf(2, 3, 300, 3, 3, 5), holes],
    ['as many as are few', sizesOf(1, 16, 150, 14, 2, 8), paddedLate],
  ])('few queries: %s', async (_, sizes, layout) => {
    await expectTruth(problem(sizes, layout));
  });

  it.each([
    [1, sizesOf(1, 70, 70, 2, 1, 8)],
    [31, sizesOf(2, 70, 75, 6, 2, 8)],
    [32, sizesOf(1, 130, 130, 2, 2, 8)],
    [33, sizesOf(1, 40, 200, 7, 1, 8)],
    [64, sizesOf(1, 200, 200, 1, 1, 8)],
    [20, sizesOf(1, 40, 9, 2, 1, 8)],
    [100, sizesOf(2, 3, 300, 2, 1, 8)],
    [1, sizesOf(1, 2, 130, 2, 1, 8)],
  ])('a window of %i keys', async (window, sizes) => {
    for (const layout of [oneDocument, documents, holes]) await expectTruth({ ...problem(sizes, layout), window });
  });

  it('queries before the first key', async () => {
    await expectTruth(problem(sizesOf(1, 40, 9, 2, 1, 4), oneDocument));
    await expectTruth(problem(sizesOf(1, 4, 2, 2, 1, 4), oneDocument));
  });

  it('no sequences, no queries, no keys', async () => {
    for (const [batch, queries, keys] of [
      [0, 3, 3],
      [2, 0, 3],
      [2, 3, 0],
      [2, 20, 0],
    ]) {
      const answer = await solve(problem(sizesOf(batch, queries, keys, 4, 2, 4), oneDocument));
      for (const name of NAMES) expect(answer[name].every(value => value === 0)).toBe(true);
    }
  });

  it('one token with a cache gives the last row of the whole', async () => {
    const whole = problem(sizesOf(1, 130, 130, 6, 2, 8), oneDocument);
    const row = 6 * 8;
    const last = { ...whole, ...sizesOf(1, 1, 130, 6, 2, 8), querySegment: Int32Array.of(0) };
    last.q = whole.q.slice(129 * row);
    last.upstream = whole.upstream.slice(129 * row);
    expectClose('last row', (await solve(last)).out, (await solve(whole)).out.slice(129 * row), 1e-6);
  });

  it('scores of ± 10,000 give the values of the largest, and finite gradients', async () => {
    for (const queries of [2, 70]) {
      const p = problem(sizesOf(1, queries, 70, 2, 1, 4), holes);
      p.q = p.q.map(value => value * 100);
      p.k = p.k.map(value => value * 100);
      const answer = await solve(p);
      expectClose('out', answer.out, truth(p).out, 2e-3); // a score of 10⁴ is known to 10⁻³
      for (const name of NAMES) expect(answer[name].every(Number.isFinite), name).toBe(true);
    }
  });

  it('the same bits on repeat; padding has output 0 and gradient 0, and what it holds changes no bit', async () => {
    const p = problem(sizesOf(1, 100, 100, 4, 2, 8), paddedMiddle);
    const clean = await solve(p);
    const again = await solve(p);
    const dirty = { ...p, q: p.q.slice(), k: p.k.slice(), v: p.v.slice(), upstream: p.upstream.slice() };
    dirty.q.fill(-1e6, 20 * 32, 61 * 32);
    dirty.upstream.fill(-1e6, 20 * 32, 61 * 32);
    dirty.k.fill(-1e6, 20 * 16, 61 * 16);
    dirty.v.fill(-1e6, 20 * 16, 61 * 16);
    const answer = await solve(dirty);
    for (const name of NAMES) {
      const width = name === 'out' || name === 'dq' ? 32 : 16;
      expect(bits(again[name]), name).toEqual(bits(clean[name]));
      expect(bits(answer[name]), name).toEqual(bits(clean[name]));
      expect(answer[name].slice(20 * width, 61 * width).every(value => value === 0)).toBe(true);
    }
  });

  /** A document of 45 tokens from `start` on, among others that `seed` draws and lays out; its rows of the answer. */
  async function amongOthers(start: number, seed: number, ratio: number): Promise<Answer> {
    const [length, groups, d] = [170, 2, 8];
    const sizes = sizesOf(1, length, length, groups * ratio, groups, d);
    const inside = (position: number) => position >= start && position < start + 45;
    const others = (position: number) => (position % (seed + 2) === 0 ? -1 : 10 + Math.floor(position / (7 * seed)));
    const p = problem(sizes, (_, position) => (inside(position) ? seed : others(position)), seed);
    const document = problem(sizesOf(1, 45, 45, groups * ratio, groups, d), oneDocument);
    const [wide, narrow] = [groups * ratio * d, groups * d];
    p.q.set(document.q, start * wide);
    p.upstream.set(document.upstream, start * wide);
    p.k.set(document.k, start * narrow);
    p.v.set(document.v, start * narrow);
    const answer = await solve(p);
    const cut = (name: (typeof NAMES)[number], width: number) =>
      answer[name].slice(start * width, (start + 45) * width);
    return { out: cut('out', wide), dq: cut('dq', wide), dk: cut('dk', narrow), dv: cut('dv', narrow) };
  }

  it('a document keeps its bits beside any others, and when it moves by tiles', async () => {
    const at = await amongOthers(37, 1, 2);
    const beside = await amongOthers(37, 3, 2);
    const moved = await amongOthers(37 + 32, 2, 2); // a tile of keys, and of 64 rows of two heads
    for (const name of NAMES) {
      expect(bits(beside[name]), name).toEqual(bits(at[name]));
      expect(bits(moved[name]), name).toEqual(bits(at[name]));
    }
    const [one, other, far] = [await amongOthers(37, 1, 1), await amongOthers(69, 2, 1), await amongOthers(101, 3, 1)];
    for (const name of ['out', 'dq'] as const) expect(bits(other[name]), name).toEqual(bits(one[name]));
    for (const name of NAMES) expect(bits(far[name]), name).toEqual(bits(one[name])); // by 64 rows of one head
  });
});
