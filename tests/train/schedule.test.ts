import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { learningRate, type Schedule, warmupSteps } from '../../src/train/schedule.ts';

const plain: Schedule = { kind: 'cosine', peak: 2, steps: 100, warmup: { steps: 10 }, horizon: 1, finalRatio: 0.1 };

describe('learning rate', () => {
  it('warms up linearly: update 1 of 10 has a tenth of the peak, update 10 all of it', () => {
    expect(learningRate(1, plain)).toBeCloseTo(0.2, 12);
    expect(learningRate(5, plain)).toBeCloseTo(1, 12);
    expect(learningRate(10, plain)).toBe(2);
  });

  it('cosine: half way 0.1 + 0.9 / 2 = 0.55 of the peak, a third 0.1 + 0.9 · 0.75, the end 0.1', () => {
    expect(learningRate(55, plain)).toBeCloseTo(1.1, 12);
    expect(learningRate(40, plain)).toBeCloseTo(2 * (0.1 + 0.9 * 0.75), 12);
    expect(learningRate(100, plain)).toBeCloseTo(0.2, 12);
    expect(learningRate(500, plain)).toBeCloseTo(0.2, 12);
  });

  it('linear and constant', () => {
    expect(learningRate(40, { ...plain, kind: 'linear' })).toBeCloseTo(2 * (1 - 0.9 / 3), 12);
    expect(learningRate(100, { ...plain, kind: 'linear' })).toBeCloseTo(0.2, 12);
    expect(learningRate(99, { ...plain, kind: 'constant' })).toBe(2);
    expect(learningRate(3, { ...plain, kind: 'constant' })).toBeCloseTo(0.6, 12);
  });

  it('a horizon of 1.35 with 3 % warm-up ends at 16.6 % of the peak', () => {
    const paper: Schedule = {
      kind: 'cosine',
      peak: 1e-4,
      steps: 100_000,
      warmup: { fraction: 0.03 },
      horizon: 1.35,
      finalRatio: 0,
    };
    expect(warmupSteps(paper)).toBe(4050);
    // (1 + cos(π · (1 − 0.0405) / (1.35 − 0.0405))) / 2 = 0.16610
    expect(learningRate(100_000, paper) / 1e-4).toBeCloseTo(0.1661, 4);
    expect(learningRate(135_000, paper)).toBeCloseTo(0, 12);
  });

  it('without warm-up the first update is just below the peak, and one step is enough', () => {
    expect(learningRate(1, { ...plain, warmup: { fraction: 0 } })).toBeLessThan(2);
    expect(learningRate(1, { ...plain, steps: 1, warmup: { steps: 1 } })).toBe(2);
    expect(learningRate(1, { ...plain, kind: 'constant', steps: 1, warmup: { fraction: 0.5 } })).toBe(2);
  });

  it('stays between 0 and the peak and never rises after warm-up', () => {
    const schedule = fc.record({
      kind: fc.constantFrom('cosine' as const, 'linear' as const, 'constant' as const),
      peak: fc.double({ min: 1e-6, max: 1, noNaN: true }),
      steps: fc.integer({ min: 1, max: 300 }),
      warmup: fc.double({ min: 0, max: 0.9, noNaN: true }).map(fraction => ({ fraction })),
      horizon: fc.double({ min: 1, max: 3, noNaN: true }),
      finalRatio: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(schedule, settings => {
        const rates = Array.from({ length: settings.steps }, (_, index) => learningRate(index + 1, settings));
        for (const [index, rate] of rates.entries()) {
          expect(rate).toBeGreaterThan(-1e-15);
          expect(rate).toBeLessThanOrEqual(settings.peak * (1 + 1e-12));
          if (index + 1 > warmupSteps(settings) && index > 0)
            expect(rate).toBeLessThanOrEqual(
              rates[index - 1] + (index < warmupSteps(settings) + 1 ? settings.peak : 1e-15),
            );
        }
      }),
      { numRuns: 60 },
    );
  });
});
