// M7, isolation: printed numbers, nulls and strata; M3's ties.
import { describe, expect, it } from 'vitest';
import { massNodes, nodes } from '../../analysis/nodes.ts';
import {
  intersectionOverUnion,
  massOverlap,
  meanOverlap,
  overlap,
  randomIntersection,
  strata,
  topExperts,
} from '../../analysis/overlap.ts';
import { overlapByStratum } from '../../analysis/overlap-strata.ts';
import { usageTable } from '../../analysis/usage.ts';
import { tinyHeader, tinyRows } from '../helpers/tiny-rows.ts';

const BN = [0.6, 0.2, 0.2, 0];
const EN = [0.2, 0.2, 0.6, 0];

describe('isolation (M7)', () => {
  it('bn [.6 .2 .2 0], en [.2 .2 .6 0]: overlap .6, IoU of the first expert 0', () => {
    expect(massOverlap(BN, EN)).toBeCloseTo(0.6, 12);
    expect(intersectionOverUnion(topExperts(BN, 1).experts, topExperts(EN, 1).experts)).toBe(0);
    expect(intersectionOverUnion(topExperts(BN, 2).experts, topExperts(EN, 2).experts)).toBeCloseTo(1 / 3, 12);
  });
  it('lower ids first where shares are equal, and ties at the cut are counted', () => {
    expect(topExperts(BN, 2)).toEqual({ experts: [0, 1], ties: 1 });
    expect(topExperts(BN, 3)).toEqual({ experts: [0, 1, 2], ties: 0 });
    expect(topExperts([0.25, 0.25, 0.25, 0.25], 1).ties).toBe(3);
  });
  it('random m-subsets: 12,2 .1162; 7,2 .2063; 8,2 .1786; 64,8 .0705; 128,8 .0343; 128,16 .0685', () => {
    const cases: [number, number, number][] = [
      [12, 2, 0.1162],
      [7, 2, 0.2063],
      [8, 2, 0.1786],
      [64, 8, 0.0705],
      [128, 8, 0.0343],
      [128, 16, 0.0685],
    ];
    for (const [E, m, expected] of cases) expect(randomIntersection(E, m)).toBeCloseTo(expected, 4);
    expect(randomIntersection(4, 4)).toBeCloseTo(1, 12);
    expect(randomIntersection(4, 3)).toBeCloseTo(0.5 * 0.75 + 0.25, 12);
  });
  it('strata round half to even: 12 layers are cut at 4 and 8, 28 at 10 and 18, 24 at 9 and 15', () => {
    const sizes = (L: number) => Object.values(strata(L)).map(layers => layers.length);
    expect(sizes(12)).toEqual([4, 4, 4]);
    expect(sizes(28)).toEqual([10, 8, 10]);
    expect(sizes(24)).toEqual([9, 6, 9]);
    expect(sizes(4)).toEqual([2, 0, 2]);
    expect(sizes(20)).toEqual([8, 4, 8]);
  });
  it('as a table of pairs; absent languages have none', () => {
    const header = tinyHeader({ bn: {}, xx: {}, en: {} }, 4, 1);
    const [row, ...rest] = overlap(tinyRows([[BN, null, EN]]), header, 2).objects() as Record<string, number>[];
    expect(rest).toEqual([]);
    expect(row).toMatchObject({ layer: 0, a: 'bn', b: 'en', ties: 2 });
    expect(row.overlap).toBeCloseTo(0.6, 12);
    expect(row.isolation).toBeCloseTo(2 / 3, 12);
  });
  it('by stratum, beside random sets; strata without layers are left out', () => {
    const header = tinyHeader({ bn: {}, en: {} }, 4, 2, 4);
    const rows = tinyRows(
      [
        [BN, BN],
        [BN, EN],
        [BN, EN],
        [BN, EN],
      ].map(([a, b]) => [a, b]),
    );
    const [shallow, deep, ...rest] = overlapByStratum(overlap(rows, header), header).objects() as Record<
      string,
      number
    >[];
    expect(rest).toEqual([]);
    expect(shallow).toMatchObject({ stratum: 'shallow', layers: 2, tied: 1 });
    expect(shallow.overlap).toBeCloseTo(0.8, 12);
    expect(shallow.isolation).toBeCloseTo(1 / 3, 12);
    expect(deep).toMatchObject({ stratum: 'deep', layers: 2 });
    expect(deep.overlap).toBeCloseTo(0.6, 12);
    // random pairs of four: both the same 1/6, one shared 4/6 of 1/3
    expect(deep.random).toBeCloseTo(1 - (1 / 6 + 4 / 18), 12);
  });
  it('the mean over pairs by sorting is that of all pairs', () => {
    const third = [0.1, 0.5, 0.1, 0.3];
    const mean = (massOverlap(BN, EN) + massOverlap(BN, third) + massOverlap(EN, third)) / 3;
    expect(meanOverlap(tinyRows([[BN, EN, null, third]]))[0]).toBeCloseTo(mean, 12);
  });
});

describe('mass nodes (M3)', () => {
  it('half of the mass: [.3 .2 .2 .1 .1 .1] 2, uniform over 12 6, [.5 .5 0] 1', () => {
    expect(massNodes([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])).toEqual([0, 1]);
    expect(massNodes(new Array(12).fill(1 / 12)).length).toBe(6);
    expect(massNodes([0.5, 0.5, 0])).toEqual([0]);
  });
  it('shares that differ by rounding alone go by their ids', () => {
    expect(massNodes([0.1 + 0.2, 0.3, 0.2, 0.2])).toEqual([0, 1]);
    expect(massNodes([0.3, 0.1 + 0.2, 0.2, 0.2], 0.25)).toEqual([0]);
    expect(massNodes([0.1, 0.3, 0.1 + 0.2, 0.3], 0.6)).toEqual([1, 2]);
  });
  it('as a table with ties and the uniform number', () => {
    const header = tinyHeader({ bn: {} }, 4);
    const usage = usageTable(
      BN.map((share, expert) => ({
        ...{ layer: 0, group: 'bn', expert, share, tokenShare: share, tokens: 5, documents: 1 },
      })),
    );
    expect(nodes(usage, header).objects()).toEqual([
      { layer: 0, group: 'bn', nodes: 1, experts: '0', ties: 0, uniform: 2 },
    ]);
    expect(nodes(usage, header, 0.7).objects()[0]).toMatchObject({ nodes: 2, experts: '0 1', ties: 1, uniform: 3 });
  });
});
