// Shares against numbers worked by hand; the cap; the paper's draw.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mixtureShares, PAPER_DRAW, paperDraw, weightedDraw } from '../../src/data/mixture.ts';

const shares = (sizes: number[], budget: number, alpha: number, maxEpochs: number) =>
  mixtureShares({ bytes_G: sizes, tokens_G: sizes, budget, alpha, maxEpochs });

describe('mixtureShares', () => {
  it('is proportional to bytes to the alpha', () => {
    // √900 : √100 : √25 = 30 : 10 : 5
    const { share_G, epochs_G } = shares([900, 100, 25], 450, 0.5, Infinity);
    expect([...share_G]).toEqual([30 / 45, 10 / 45, 5 / 45]);
    expect([...epochs_G].map(x => Number(x.toFixed(12)))).toEqual(
      [300 / 900, 100 / 100, 50 / 25].map(x => Number(x.toFixed(12))),
    );
  });

  it('gives what a full language cannot take to the others, round after round', () => {
    // Equal thirds of 300 are 100 each. Cap 2 epochs: the 10-token language takes 20; 280 left, 140 each; the 60-token one
    // takes 120; the last takes 160.
    const { share_G, epochs_G, capped_G, withinCap } = shares([10, 60, 1000], 300, 0, 2);
    for (const [g, want] of [20 / 300, 120 / 300, 160 / 300].entries()) expect(share_G[g]).toBeCloseTo(want, 14);
    expect(epochs_G[0]).toBeCloseTo(2, 12);
    expect(epochs_G[2]).toBeCloseTo(0.16, 12);
    expect(capped_G).toEqual([true, true, false]);
    expect(withinCap).toBe(true);
  });

  it('says so when the budget is more than all caps, and then reads all equally often', () => {
    const { share_G, epochs_G, withinCap } = shares([10, 30], 400, 0, 2);
    expect(withinCap).toBe(false);
    expect(share_G[0]).toBeCloseTo(0.25, 14);
    for (const epochs of epochs_G) expect(epochs).toBeCloseTo(10, 12);
  });

  it('gives nothing to a language without text', () => {
    expect([...shares([10, 0, 10], 20, 0, 8).share_G]).toEqual([0.5, 0, 0.5]);
    expect(() => shares([0, 0], 20, 0, 8)).toThrow(/no language has any training text/);
    expect(() => shares([1], 0, 0, 8)).toThrow(/number of tokens to train on is 0/);
    expect(() => shares([1], 5, 0, 0)).toThrow(/cap of epochs per language is 0/);
  });

  it('always sums to 1, keeps the cap where it can, and keeps proportions among the uncapped', () => {
    const size = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(
        fc.array(size, { minLength: 1, maxLength: 12 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0.1, max: 20, noNaN: true }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (sizes, alpha, cap, budget) => {
          const { share_G, epochs_G, capped_G, withinCap } = shares(sizes, budget, alpha, cap);
          expect(share_G.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
          if (!withinCap) return;
          const open = [...sizes.keys()].filter(g => !capped_G[g]).map(g => share_G[g] / sizes[g] ** alpha);
          for (const epochs of epochs_G) expect(epochs).toBeLessThanOrEqual(cap * (1 + 1e-9));
          for (const ratio of open) expect(ratio / open[0]).toBeCloseTo(1, 9);
        },
      ),
    );
  });
});

describe('weightedDraw', () => {
  it('holds each sample as often as its epochs say, in an order of the seed alone', () => {
    const settings = [PAPER_DRAW.qa, PAPER_DRAW.other, PAPER_DRAW.qa, PAPER_DRAW.other];
    const draw = weightedDraw(settings, 3407);
    expect([...draw].sort()).toEqual([0, 1, 1, 2, 3, 3]);
    expect(weightedDraw(settings, 3407)).toEqual(draw);
    const orders = new Set(Array.from({ length: 20 }, (_, seed) => weightedDraw(settings, seed).join(' ')));
    expect(orders.size).toBeGreaterThan(10);
  });

  it('knows the paper’s kinds by the source key', () => {
    const draw = paperDraw(['medicalBook_en_qa', 'general_en', 'udhr']);
    expect([...draw].sort()).toEqual([0, 1, 1, 2, 2]);
    expect(draw).toEqual(weightedDraw([PAPER_DRAW.qa, PAPER_DRAW.other, PAPER_DRAW.other], 3407));
  });

  it('draws first by weight: 16 against 2 + 2 comes first in 16/20 of the seeds', () => {
    const settings = [PAPER_DRAW.qa, PAPER_DRAW.other];
    let first = 0;
    for (let seed = 0; seed < 4000; seed++) if (weightedDraw(settings, seed)[0] === 0) first++;
    expect(first / 4000).toBeCloseTo(0.8, 1.6); // standard error 0.006
  });
});
