// Orders, bands and paths on numbers that fit on paper.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cellPanel, cellRow, shade } from '../../analysis/figures/cells.ts';
import { chainOf, modalPaths, viterbi } from '../../analysis/figures/modal-path.ts';
import {
  barycentreOrder,
  chainOrder,
  columnOrder,
  correspondenceAxis,
  crossings,
  languageOrder,
} from '../../analysis/figures/order.ts';
import { difference, luminance } from '../../analysis/figures/palette.ts';
import { type Ribbon, stopOrders } from '../../analysis/figures/ribbons.ts';
import { bands, stopsOf } from '../../analysis/figures/stops.ts';
import { canvas } from '../../analysis/figures/svg.ts';
import { familiesOf } from '../../analysis/table.ts';
import { modelFixture, SIZES, tableOf } from './model-fixture.ts';

const small = modelFixture(SIZES[0]);

describe('correspondence axis', () => {
  it('of three rows, one between the others: −√2, √2, 0', () => {
    const axis = correspondenceAxis([
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
    // masses 1, 1, 2: mean 0 and variance (2 + 2 + 0) / 4 = 1
    for (const [i, value] of [-Math.SQRT2, Math.SQRT2, 0].entries()) expect(axis[i]).toBeCloseTo(value, 9);
  });
  it('does not depend on the scale, gives nothing to rows without mass or without difference', () => {
    const rows = [
      [5, 1, 0],
      [1, 4, 2],
      [0, 1, 6],
    ];
    const axis = correspondenceAxis(rows);
    const scaled = correspondenceAxis(rows.map(row => row.map(value => value * 1000)));
    for (const [i, value] of axis.entries()) expect(scaled[i]).toBeCloseTo(value, 9);
    expect(axis[0]).toBeLessThan(axis[1]);
    expect(axis[1]).toBeLessThan(axis[2]);
    const withEmpty = correspondenceAxis([...rows, [0, 0, 0]]);
    expect(withEmpty[3]).toBe(0);
    expect(withEmpty[2]).toBeCloseTo(axis[2], 6);
    expect(
      correspondenceAxis([
        [1, 2],
        [2, 4],
      ]),
    ).toEqual([0, 0]);
  });
});

describe('orders', () => {
  it('columns follow the rows that use them', () => {
    const rows = [
      [0, 0, 9],
      [9, 0, 1],
      [0, 9, 0],
    ];
    expect(columnOrder(rows)).toEqual([2, 0, 1]);
  });
  it('a chain of like items is found whatever their numbers', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6], { minLength: 7, maxLength: 7 }), place => {
        const likeness = place.map(a => place.map(b => -Math.abs(a - b)));
        const chain = chainOrder(likeness).map(i => place[i]);
        expect([
          [0, 1, 2, 3, 4, 5, 6],
          [6, 5, 4, 3, 2, 1, 0],
        ]).toContainEqual(chain);
      }),
    );
    expect(
      chainOrder([
        [0, 1],
        [1, 0],
      ]),
    ).toEqual([0, 1]);
  });
  it('barycentre sweeps never make crossings worse', () => {
    const matrix = fc.array(fc.array(fc.nat(9), { minLength: 4, maxLength: 4 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(matrix, { minLength: 1, maxLength: 4 }), links => {
        const identity = [0, 1, 2, 3];
        const plain = links.map(() => identity);
        const best = barycentreOrder(links);
        expect(crossings(links, [identity, ...best])).toBeLessThanOrEqual(crossings(links, [identity, ...plain]));
        for (const order of best) expect([...order].sort()).toEqual(identity);
      }),
    );
  });
  it('languages: families in one piece and in their order, like beside like, those without text last', () => {
    const { header, usage } = modelFixture(SIZES[1]);
    const order = languageOrder(usage, header);
    expect(order.map(l => l.code).sort()).toEqual(header.languages.map(l => l.code).sort());
    expect([...new Set(order.map(l => l.family))]).toEqual(familiesOf(header));
    expect(order.map(l => l.family)).toEqual(
      familiesOf(header).flatMap(f => order.filter(l => l.family === f).map(() => f)),
    );
    const last = (family: string) => order.filter(l => l.family === family).at(-1)!.code;
    expect([last('Austronesian'), last('Afro-Asian')]).toEqual(['doi', 'ckb']);
    const use = { zh: [1, 0], ja: [1, 0], ko: [0, 1] } as Record<string, number[]>;
    const like = tableOf(
      ['ko', 'ja'].flatMap(group => use[group].map((share, expert) => ({ layer: 5, group, expert, share }))),
      ['layer', 'group', 'expert', 'share'],
    );
    const two = { ...header, moeLayers: [5], numExperts: 2 };
    expect(
      languageOrder(like, two)
        .filter(l => l.family === 'Altaic')
        .map(l => l.code),
    ).toEqual(['ja', 'ko', 'mn']);
  });
});

describe('stops of the flow picture', () => {
  const expert = (e: number, universality: number | null, load: number, family: string | null) => {
    return { layer: 0, expert: e, universality, load, family };
  };
  const table = tableOf(
    [
      expert(0, 0.95, 0.4, 'Altaic'),
      expert(1, 0.5, 0.3, 'Altaic'),
      expert(2, null, 0, null),
      expert(3, 0.2, 0.1, 'Kongolese'),
    ],
    ['layer', 'expert', 'universality', 'load', 'family'],
  );
  const header = { ...small.header, moeLayers: [0], numExperts: 4 };
  it('bands: shared above .9, else the family of most lift, other when dead', () => {
    const { stops, of, owns, universality } = bands(header, table);
    const names = [...of.get(0)!].map(stop => stops[stop].name);
    expect(names).toEqual(['Shared', 'Altaic', 'Other', 'Kongolese']);
    const japanese = header.languages.find(l => l.code === 'ja')!;
    expect(stops.map((_, s) => owns(s, japanese))).toEqual(stops.map(({ name }) => name === 'Altaic'));
    expect(universality.get(0)![stops.findIndex(({ name }) => name === 'Altaic')]).toBeCloseTo(0.5, 12);
  });
  it('no more than nine: families beyond the seven with most languages are other', () => {
    const languages = Array.from({ length: 18 }, (_, i) => {
      return { ...header.languages[0], code: `l${i}`, family: `family ${i < 9 ? i : i - 9}`, expert: -1 };
    }).slice(0, 16); // families 7 and 8 have one language, the others two
    const many = tableOf(
      [expert(0, 0.5, 0.5, 'family 0'), expert(1, 0.5, 0.5, 'family 8')],
      ['layer', 'expert', 'universality', 'load', 'family'],
    );
    const { stops, of } = bands({ ...header, languages }, many);
    expect(stops.length).toBe(9);
    expect([...of.get(0)!.slice(0, 2)].map(stop => stops[stop].name)).toEqual(['family 0', 'Other']);
  });
  it('twelve experts are drawn one by one, thirteen in bands if the bands are known', () => {
    expect(stopsOf(small.header, small.universality).kind).toBe('experts');
    expect(stopsOf({ ...small.header, numExperts: 13 }, small.universality).kind).toBe('bands');
    expect(stopsOf({ ...small.header, numExperts: 13 }).kind).toBe('experts');
  });
  it('entropic order runs from specialist to universal, fixed by number', () => {
    const stops = stopsOf(small.header, small.universality);
    const [order] = stopOrders([] as Ribbon[], 12, [3], stops, 'entropic');
    const u = stops.universality.get(3)!;
    for (let i = 1; i < order.length; i++) expect(u[order[i]]).toBeGreaterThanOrEqual(u[order[i - 1]]);
    expect(stopOrders([] as Ribbon[], 12, [3], stops, 'fixed')).toEqual([small.header.expertNames.map((_, e) => e)]);
  });
});

describe('modal path', () => {
  const probability = (steps: number[][], path: number[], E: number): number => {
    const row = (step: number[], e: number) => step.slice(e * E, (e + 1) * E).reduce((a, b) => a + b, 0);
    return path.slice(1).reduce(
      (p, f, l) => {
        const mass = row(steps[l], path[l]);
        return mass > 0 ? (p * steps[l][path[l] * E + f]) / mass : 0;
      },
      row(steps[0], path[0]),
    );
  };
  it('is the most probable chain, not the chain of most probable steps', () => {
    // 0→0 and 0→1 tie at .3, 1→0 is the likeliest single step at .4; yet 0→1→1 has probability .6 · ½ · 1 = .3
    const steps = [
      [0.3, 0.3, 0.4, 0],
      [0.35, 0.35, 0, 0.3],
    ];
    expect(viterbi(steps, 2)).toEqual([0, 1, 1]);
    expect(probability(steps, [0, 1, 1], 2)).toBeCloseTo(0.3, 12);
  });
  it('equals the best of all paths', () => {
    const step = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 9, maxLength: 9 });
    fc.assert(
      fc.property(fc.array(step, { minLength: 3, maxLength: 3 }), steps => {
        const all = Array.from({ length: 81 }, (_, i) => [27, 9, 3, 1].map(n => Math.floor(i / n) % 3));
        const best = Math.max(...all.map(path => probability(steps, path, 3)));
        expect(probability(steps, viterbi(steps, 3), 3)).toBeCloseTo(best, 9);
      }),
    );
  });
  it('of a family is that of the mean of its languages, with the share that takes each step', () => {
    const row = (from: number, group: string, source: number, target: number, flow: number) => {
      return { from, to: from + 1, group, source, target, flow };
    };
    const flows = tableOf(
      [
        row(0, 'ja', 0, 1, 1),
        row(0, 'ko', 0, 1, 0.5),
        row(0, 'ko', 2, 2, 0.5),
        row(1, 'ja', 1, 3, 1),
        row(1, 'ko', 1, 3, 1),
      ],
      ['from', 'to', 'group', 'source', 'target', 'flow'],
    );
    expect(chainOf(flows)).toEqual([0, 1, 2]);
    expect(modalPaths(flows, small.header)).toEqual([{ family: 'Altaic', experts: [0, 1, 3], shares: [0.75, 1] }]);
  });
});

describe('cells', () => {
  it('a row is one path per colour, neighbours in one stroke, nothing where there is nothing', () => {
    const root = canvas(10, 10, 't', 'd');
    const row = cellRow(cellPanel(root, 5, 2, 9, [3, 1, 0, 2]), 4, ['#a', '#a', null, '#a'], [12, 0, null, 7]);
    const markup = (row.node() as unknown as { outerHTML: string }).outerHTML;
    expect(markup).toBe(
      '<g transform="translate(0 4)" data-values="12,,,7"><path stroke="#a" d="M0 0h2m1 0h1"></path></g>',
    );
  });
  it('shades are few and keep the ends', () => {
    expect([-1, 0, 0.5, 1, 2].map(shade)).toEqual([0, 0, 0.5, 1, 1]);
    expect(new Set(Array.from({ length: 1000 }, (_, i) => shade(i / 999))).size).toBe(25);
  });
});

it('the diverging scale darkens away from 0 on both sides', () => {
  for (const sign of [-1, 1]) {
    const steps = Array.from({ length: 21 }, (_, i) => luminance(difference((sign * i) / 20)));
    for (let i = 1; i < steps.length; i++) expect(steps[i]).toBeLessThan(steps[i - 1]);
  }
  expect(difference(-3)).toBe(difference(-1));
  expect(difference(0)).toBe('#f7f7f7');
});
