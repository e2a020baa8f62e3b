// What an expert is worth, and which ones stay under a budget: the published scores by hand.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keptExperts } from '../../src/intervene/prune-budget.ts';
import { normalised, pruneScores, scoreOf } from '../../src/intervene/prune-scores.ts';
import type { ExpertUsage } from '../../src/intervene/usage.ts';

test('the printed example: often and sure, rarely and surer', () => {
  expect(scoreOf('importance', 0.5, 0.6, 0)).toBeCloseTo(0.911059, 6);
  expect(scoreOf('importance', 0.1, 0.9, 0)).toBeCloseTo(0.24596, 6);
  expect(scoreOf('vanilla', 0.5, 0.6, 0)).toBeCloseTo(0.3, 12);
  expect(scoreOf('top1', 0.5, 0.6, 0)).toBe(0.5);
  expect(scoreOf('balanced', 0.5, 0.6, 0.25)).toBe(0.125);
});

test('languages count alike, and a layer sums to 1', () => {
  const row = (tokens: number, first: number[], firstGate: number[], gate: number[]) => ({
    ...{ tokens, chosen_E: Float64Array.from(first), first_E: Float64Array.from(first) },
    ...{ gate_E: Float64Array.from(gate), firstGate_E: Float64Array.from(firstGate) },
  });
  const usage: ExpertUsage = {
    ...{ numExperts: 2, k: 1, layers: [3] },
    // Ten tokens of one language, all on expert 0; two of another, all on expert 1: half and half.
    sums: new Map([[3, [row(10, [10, 0], [6, 0], [6, 0]), row(2, [0, 2], [0, 1], [0, 1]), null]]]),
  };
  expect([...pruneScores(usage, 'top1', [0, 1, 2]).get(3)!]).toEqual([0.5, 0.5]);
  expect([...pruneScores(usage, 'top1', [0]).get(3)!]).toEqual([1, 0]);
  expect([...pruneScores(usage, 'top1', [2]).get(3)!]).toEqual([0, 0]);
  const [a, b] = pruneScores(usage, 'importance', [0, 1]).get(3)!;
  expect(a / b).toBeCloseTo(Math.exp(0.6) / Math.exp(0.5), 12);
  const [c, d] = pruneScores(usage, 'balanced', [0, 1]).get(3)!;
  expect(c / d).toBeCloseTo(0.3 / 0.25, 12); // mean gates over all tokens: (.6 + 0) / 2 and (0 + .5) / 2
});

const layers = (...scores: number[][]) => new Map(scores.map((row, layer) => [layer, Float64Array.from(row)]));

describe('budgets', () => {
  test('as many of every layer, ties to the lower id', () => {
    const kept = keptExperts(layers([0.4, 0.1, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]), {
      kind: 'layer',
      share: 0.5,
      least: 1,
    });
    expect([...kept]).toEqual([
      [0, [0, 2]],
      [1, [0, 1]],
    ]);
  });

  test('one threshold: a layer that spreads its work keeps more experts', () => {
    const scores = layers([0.9, 0.05, 0.03, 0.02], [0.3, 0.25, 0.25, 0.2]);
    const kept = (share: number, least = 1) => [...keptExperts(scores, { kind: 'global', share, least }).values()];
    expect(kept(0.5)).toEqual([[0], [0, 1, 2]]); // at θ = .8: .9, and .3 + .25 + .25
    expect(kept(0.375)).toEqual([[0], [0, 1, 2, 3]]); // 5 of 8: θ = .9 needs all four of the second layer
    expect(kept(0.5, 2)).toEqual([
      [0, 1],
      [0, 1],
    ]);
    expect(kept(0)).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
  });

  test('never more than asked, never fewer than the least, and the best of each layer', () => {
    const anyLayer = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(anyLayer, { minLength: 1, maxLength: 4 }),
        fc.double({ min: 0, max: 0.6, noNaN: true }),
        (rows, share) => {
          const scores = new Map(rows.map((row, layer) => [layer, normalised(Float64Array.from(row))]));
          const kept = keptExperts(scores, { kind: 'global', share, least: 2 });
          const total = [...kept.values()].reduce((sum, { length }) => sum + length, 0);
          expect(total).toBeLessThanOrEqual(6 * rows.length - Math.round(share * 6 * rows.length));
          for (const [layer, stay] of kept) {
            expect(stay.length).toBeGreaterThanOrEqual(2);
            const score_E = scores.get(layer)!;
            const worst = Math.min(...stay.map(e => score_E[e]));
            for (const [e, score] of score_E.entries()) if (!stay.includes(e)) expect(score).toBeLessThanOrEqual(worst);
          }
        },
      ),
    );
  });

  test('too much is refused', () => {
    const scores = layers([0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]);
    expect(() => keptExperts(scores, { kind: 'layer', share: 0.75, least: 2 })).toThrow(
      /^--share 0\.75 leaves 1 of 4 experts in layer 0, fewer than 2; drop less\.$/,
    );
    expect(() => keptExperts(scores, { kind: 'global', share: 0.75, least: 2 })).toThrow(/2 layers that keep 2 each/);
  });
});
