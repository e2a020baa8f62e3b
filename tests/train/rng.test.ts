import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRng, createStreams, restoreRng, restoreStreams, streamStates } from '../../src/train/rng.ts';

const take = (count: number, draw: () => number): number[] => Array.from({ length: count }, draw);

describe('random streams', () => {
  it('go on bit for bit from a state that went through JSON, after any number of draws', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(9), fc.string(), (uniforms, gaussians, seed) => {
        const rng = createRng(seed);
        take(uniforms, rng.uniform);
        take(gaussians, rng.gaussian);
        const copy = restoreRng(JSON.parse(JSON.stringify(rng.state())));
        expect(take(7, copy.gaussian)).toEqual(take(7, rng.gaussian));
        expect(take(7, copy.uniform)).toEqual(take(7, rng.uniform));
        expect(copy.integer(1000)).toBe(rng.integer(1000));
      }),
    );
  });

  it('taking a state does not disturb the generator', () => {
    const [one, two] = [createRng('a'), createRng('a')];
    one.state();
    expect(one.uniform()).toBe(two.uniform());
  });

  it('drawing from one stream shifts no other', () => {
    const [one, two] = [createStreams(5), createStreams(5)];
    take(1000, one.init.gaussian);
    expect(take(5, one.upcycle.uniform)).toEqual(take(5, two.upcycle.uniform));
    expect(two.init.uniform()).not.toBe(two.upcycle.uniform());
    expect(createStreams(6).init.uniform()).not.toBe(createStreams(5).init.uniform());
  });

  it('all streams are saved and restored together', () => {
    const streams = createStreams(1);
    take(3, streams.upcycle.gaussian);
    const again = restoreStreams(JSON.parse(JSON.stringify(streamStates(streams))));
    for (const name of ['init', 'upcycle'] as const) expect(again[name].gaussian()).toBe(streams[name].gaussian());
  });

  it('gaussian draws have mean 0, variance 1, and 95 % lie within 1.96', () => {
    const draws = take(100_000, createRng('moments').gaussian);
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
    const inside = draws.filter(x => Math.abs(x) < 1.96).length / draws.length;
    // Four standard errors of each.
    expect(Math.abs(mean)).toBeLessThan(0.0127);
    expect(Math.abs(variance - 1)).toBeLessThan(0.0179);
    expect(Math.abs(inside - 0.95)).toBeLessThan(0.0028);
  });

  it('integers cover 0 to below, evenly', () => {
    const rng = createRng('dice');
    const count = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 60_000; i++) count[rng.integer(6)]++;
    for (const c of count) expect(Math.abs(c - 10_000)).toBeLessThan(400);
  });

  it('the first numbers of seed 0 stay as they are: old runs must be repeatable', () => {
    const { init } = createStreams(0);
    expect(init.uniform()).toBe(0.3230930680655316);
    expect(init.gaussian()).toBeCloseTo(-0.49488280600537665, 14);
    expect(init.gaussian()).toBeCloseTo(0.4542390408981865, 14);
  });
});
