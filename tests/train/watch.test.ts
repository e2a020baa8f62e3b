import { describe, expect, it } from 'vitest';
import { createWatch, median, watchDefaults } from '../../src/train/watch.ts';

const settings = { window: 5, factor: 3, patience: 2, quietUntil: 3, ceiling: 60 };
const seen = (step: number, loss: number, gradientNorm = 1) => ({ step, loss, gradientNorm, learningRate: 0.001 });

describe('watch', () => {
  it('stops at once on a loss that is NaN or infinite, in the quiet steps too', () => {
    expect(createWatch(settings).observe(seen(1, Number.NaN))).toMatch(
      /^The loss is NaN at step 1 \(learning rate 0\.001\): lower the learning rate/,
    );
    expect(createWatch().observe(seen(7, Infinity))).toMatch(/^The loss is Infinity at step 7/);
  });

  it('stops at once on a gradient that is not finite and names the parameter', () => {
    const sentence = createWatch(settings).observe({ ...seen(9, 2, Number.NaN), nonFinite: ['model.norm.weight'] });
    expect(sentence).toMatch(/^The gradient is not finite at step 9 .*first in model\.norm\.weight: lower/);
  });

  it('stops when the loss is above factor × median for `patience` steps in a row, and not before', () => {
    const watch = createWatch(settings);
    for (let step = 1; step <= 10; step++) expect(watch.observe(seen(step, 2))).toBeNull();
    expect(watch.observe(seen(11, 6.1))).toBeNull();
    expect(watch.observe(seen(12, 6.1))).toMatch(
      /^The loss is exploding: 6\.100 at step 12 .* above 3 × the recent median 2\.000 for 2 steps in a row: lower/,
    );
  });

  it('a single spike, a loss of exactly the limit, and spikes in the quiet steps pass', () => {
    const watch = createWatch(settings);
    const losses = [2, 50, 50, 2, 2, 2, 2, 6, 2, 2, 2, 7, 2, 7, 2, 7, 2];
    for (const [index, loss] of losses.entries()) expect(watch.observe(seen(index + 1, loss))).toBeNull();
  });

  it('stops in the quiet steps when the loss stays above the ceiling, and keeps it out of the median', () => {
    const watch = createWatch(settings);
    expect(watch.observe(seen(1, 60))).toBeNull();
    expect(watch.observe(seen(2, 61))).toBeNull();
    expect(watch.state()).toEqual({ recent: [60], above: 1 });
    expect(watch.observe(seen(3, 61))).toMatch(
      /^The loss is exploding: 61\.00 at step 3 .* above 60\.00, far worse than/,
    );
  });

  it('goes on from a saved state as if never interrupted', () => {
    const watch = createWatch(settings);
    for (let step = 1; step <= 6; step++) watch.observe(seen(step, 2));
    watch.observe(seen(7, 9));
    const resumed = createWatch(settings, JSON.parse(JSON.stringify(watch.state())));
    expect(resumed.observe(seen(8, 9))).toBe(watch.observe(seen(8, 9)));
    expect(resumed.state()).toEqual({ recent: [2, 2, 2, 2, 2], above: 2 });
  });

  it('keeps no more than the window', () => {
    const watch = createWatch();
    for (let step = 1; step < 200; step++) watch.observe(seen(step, 1));
    expect(watch.state().recent).toHaveLength(watchDefaults.window);
  });

  it('median: middle value, or the mean of the two middle ones', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 100])).toBe(3.5);
  });
});
