// Every measure against numbers worked out by hand.
import { describe, expect, it } from 'vitest';
import type { View } from '../../analysis/document-counts.ts';
import { entropy, entropyOf, inverseSimpson, millerMadow } from '../../analysis/entropy.ts';
import { dependence, type FlowRow, flow } from '../../analysis/flow.ts';
import { budgetOf, information, mutualInformation } from '../../analysis/information.ts';
import { massNodes, nodes } from '../../analysis/nodes.ts';
import { obedience, purity } from '../../analysis/obedience.ts';
import { pool } from '../../analysis/pool.ts';
import { countsTable } from '../../analysis/table.ts';
import { type Averaging, shareRows, usageOfCounts } from '../../analysis/usage.ts';
import { tinyTrace } from '../helpers/tiny-trace.ts';
import { usageOf } from '../helpers/usage-of.ts';

const all = { dropFirst: false };
const close = (values: ArrayLike<number> | null | undefined, expected: number[], digits = 6) => {
  expect(values?.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(values?.[i]).toBeCloseTo(value, digits);
};

describe('usage (M1)', () => {
  // k = 2; three tokens choose {0,1}, {0,2}, {0,1}; the gates are raw and do not sum to 1
  const pairs: [number, number][][] = [
    [
      [0, 0.3],
      [1, 0.1],
    ],
    [
      [0, 0.2],
      [2, 0.2],
    ],
    [
      [0, 0.45],
      [1, 0.05],
    ],
  ];
  const trace = tinyTrace(
    pairs.map((slots, i) => ({ language: 'en', document: i < 2 ? 'a/en' : 'b/en', layers: [slots] })),
    3,
  );
  const row = (view: View, averaging: Averaging, column: 'share' | 'tokenShare' = 'share') =>
    shareRows(usageOf(trace, { view, averaging }, all), 3, column).get('en');

  it('selection, tokens pooled: counts 3, 2, 1 of 6', () => {
    close(row('selection', 'tokens'), [1 / 2, 1 / 3, 1 / 6]);
    close(row('selection', 'tokens', 'tokenShare'), [1, 2 / 3, 1 / 3]);
  });
  it('selection, documents first: mean of [2,1,1]/4 and [1,1,0]/2', () => {
    close(row('selection', 'documents'), [0.5, 0.375, 0.125]);
    close(row('selection', 'documents', 'tokenShare'), [1, 0.75, 0.25]);
  });
  it('gate: each token weighs 1 whatever its gates sum to', () => {
    close(row('gate', 'tokens'), [(0.75 + 0.5 + 0.9) / 3, (0.25 + 0.1) / 3, 0.5 / 3], 6);
    close(row('gate', 'documents'), [(0.625 + 0.9) / 2, (0.125 + 0.1) / 2, 0.125], 6);
  });
  it('counts give what pooled slots give', () => {
    for (const view of ['selection', 'gate'] as const) {
      const counts = usageOfCounts(countsTable(trace.counts, trace.header), trace.header, view, 7);
      close(shareRows(counts, 3).get('en'), [...row(view, 'tokens')!]);
    }
  });
  it('leaves out the first token of each document by default, and documents that have no other', () => {
    const table = usageOf(trace, { view: 'selection', averaging: 'documents' });
    close(shareRows(table, 3).get('en'), [0.5, 0, 0.5]);
  });
  it('is null, not zero, for a language without a counted token', () => {
    const { header } = trace;
    const more = { ...header, languages: [...header.languages, { ...header.languages[0], code: 'xx' }] };
    const table = usageOf({ ...trace, header: more }, { view: 'gate', averaging: 'documents' }, all);
    expect(shareRows(table, 3).get('xx')).toBeNull();
    expect(entropy(table, more).objects()[1]).toMatchObject({ group: 'xx', entropy: null, effective: null });
    close(shareRows(pool(table, more, 'all'), 3).get('all'), [...shareRows(table, 3).get('en')!]);
  });
});

describe('entropy (M2)', () => {
  it('of [.5 .25 .125 .125]', () => {
    const q = [0.5, 0.25, 0.125, 0.125];
    expect(entropyOf(q)).toBeCloseTo(1.213008, 6);
    expect(entropyOf(q) / Math.log(4)).toBeCloseTo(0.875, 12);
    expect(Math.exp(entropyOf(q))).toBeCloseTo(3.363586, 6);
    expect(inverseSimpson(q)).toBeCloseTo(2.909091, 6);
  });
  it('of counts [5 3 2 0], with and without Miller–Madow', () => {
    expect(entropyOf([0.5, 0.3, 0.2, 0])).toBeCloseTo(1.029653, 6);
    expect(millerMadow([5, 3, 2, 0])).toBeCloseTo(1.129653, 6);
    expect(millerMadow([5, 3, 2, 0]) / Math.log(4)).toBeCloseTo(0.814872, 6);
  });
  it('as a table: one repeated pair of 4 experts has H = log 2, so h* = 0', () => {
    const layers: [number, number][][] = [
      [
        [1, 0.5],
        [2, 0.5],
      ],
    ];
    const trace = tinyTrace(
      [0, 1].map(i => ({ language: 'en', document: `${i}/en`, layers })),
      4,
    );
    const table = usageOf(trace, { view: 'selection', averaging: 'documents' }, all);
    const [row] = entropy(table, trace.header).objects() as Record<string, number>[];
    expect(row.entropy).toBeCloseTo(Math.LN2, 12);
    expect(row.normalised).toBeCloseTo(0.5, 12);
    expect(row.effective).toBeCloseTo(2, 12);
    expect(row.simpson).toBeCloseTo(2, 12);
    expect(row.aboveMinimum).toBeCloseTo(0, 12);
    expect(nodes(table, trace.header).objects()[0]).toMatchObject({ nodes: 1, experts: '1' });
    expect(nodes(table, trace.header, 0.51).objects()[0]).toMatchObject({ nodes: 2, experts: '1 2' });
  });
});

describe('mass nodes (M3)', () => {
  it('half of the mass', () => {
    expect(massNodes([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])).toEqual([0, 1]);
    expect(massNodes(new Array(12).fill(1 / 12))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(massNodes([0.5, 0.5, 0, 0])).toEqual([0]);
    expect(massNodes([0.1, 0.2, 0.7], 0.9)).toEqual([2, 1]);
  });
});

describe('routing budget (M5)', () => {
  const rows = (...lists: number[][]) => lists.map(list => Float64Array.from(list));
  it('two rows over four experts', () => {
    const budget = budgetOf(rows([0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]), ['a', 'b']);
    expect(budget.total).toBeCloseTo(1.386294, 6);
    expect(budget.unused).toBeCloseTo(0.192745, 6);
    expect(budget.shared).toBeCloseTo(0.940448, 6);
    expect(budget.language).toBeCloseTo(0.253102, 6);
    expect(budget.family).toBeCloseTo(budget.language, 12);
    expect(budget.withinFamily).toBeCloseTo(0, 12);
  });
  it('three cyclic rows; all in one family: nothing is told by the family', () => {
    const budget = budgetOf(rows([0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]), ['a', 'a', 'a']);
    expect(budget.language).toBeCloseTo(0.45958, 6);
    expect(budget.language / Math.log(3)).toBeCloseTo(0.418328, 6);
    expect(budget.family).toBeCloseTo(0, 12);
    expect(budget.withinFamily).toBeCloseTo(0.45958, 6);
  });
  it('counts [[8 2] [3 7]] as a joint table', () => {
    expect(
      mutualInformation([
        [8, 2],
        [3, 7],
      ]),
    ).toBeCloseTo(0.132505, 6);
  });
  it('as a table: two families that never share an expert give away log 2, normalised by two languages 1', () => {
    const tokens = ['en', 'fi'].flatMap((language, l) =>
      [0, 1].map(d => ({ language, document: `${d}/${language}`, layers: [[[l, 1]]] as [number, number][][] })),
    );
    const trace = tinyTrace(tokens, 4);
    const table = usageOf(trace, { view: 'selection', averaging: 'documents' }, all);
    const [row] = information(table, trace.header).objects() as Record<string, number>[];
    expect(row).toMatchObject({ layer: 3, languages: 2, families: 2 });
    expect(row.language).toBeCloseTo(Math.LN2, 12);
    expect(row.unused).toBeCloseTo(Math.LN2, 12);
    expect(row.ofLanguages).toBeCloseTo(1, 12);
    expect(purity(table, trace.header).get(3)).toBeCloseTo(1, 12);
  });
});

describe('flow (M13)', () => {
  const slots = (a: number, b: number): [number, number][] => [
    [0, a],
    [1, b],
  ];
  // gates (.6,.4) → (.5,.5) and, raw with sum .4, (.75,.25) → (.8,.2)
  const tokens = [
    { language: 'en', document: 'a/en', layers: [slots(0.6, 0.4), slots(0.5, 0.5)] },
    { language: 'en', document: 'a/en', layers: [slots(0.3, 0.1), slots(0.8, 0.2)] },
  ];
  const matrix = (rows: FlowRow[]) => {
    const m = [
      [0, 0],
      [0, 0],
    ];
    for (const { source, target, flow } of rows) m[source][target] += flow;
    return m;
  };
  it('is the mean product of normalised gates, with the gate loads as margins', () => {
    const trace = tinyTrace(tokens, 2);
    const m = matrix(flow(trace, all).objects() as FlowRow[]);
    close(m[0], [0.45, 0.225]);
    close(m[1], [0.2, 0.125]);
    const gate = usageOf(trace, { view: 'gate', averaging: 'documents' }, all);
    close(shareRows(gate, 2).get('en'), [0.675, 0.325]);
    close(shareRows(gate, 3).get('en'), [0.65, 0.35]);
  });
  it('averages documents first: a third token in a document of its own weighs as much as the two', () => {
    const third = { language: 'en', document: 'b/en', layers: [slots(1, 0), slots(0, 1)] };
    const trace = tinyTrace([...tokens, third], 2);
    const rows = flow(trace, { ...all, averaging: 'documents' }).objects() as FlowRow[];
    close(matrix(rows)[0], [0.225, 0.6125]);
    const pooled = flow(trace, { ...all, averaging: 'tokens' }).objects() as FlowRow[];
    close(matrix(pooled)[0], [0.3, 0.45 / 3 + 1 / 3]);
  });
  it('information of [[.4 .1] [.1 .4]] is .192745, .278072 of the smaller margin', () => {
    const { information, normalised } = dependence([0.4, 0.1, 0.1, 0.4], 0, 2)!;
    expect(information).toBeCloseTo(0.192745, 6);
    expect(normalised).toBeCloseTo(0.278072, 6);
  });
});

describe('obedience (A1)', () => {
  it('counts tokens whose k experts include the own one, and the mass they give it', () => {
    const tokens = [
      {
        language: 'en',
        document: 'a/en',
        layers: [
          [
            [0, 0.6],
            [1, 0.2],
          ],
        ] as [number, number][][],
      },
      {
        language: 'en',
        document: 'a/en',
        layers: [
          [
            [2, 0.5],
            [1, 0.5],
          ],
        ] as [number, number][][],
      },
      {
        language: 'fi',
        document: 'a/fi',
        layers: [
          [
            [0, 0.9],
            [1, 0.1],
          ],
        ] as [number, number][][],
      },
    ];
    const trace = tinyTrace(tokens, 4);
    const of = (view: View) => usageOf(trace, { view, averaging: 'documents' }, all);
    const [en, fi] = obedience(of('selection'), of('gate'), trace.header).objects() as Record<string, number>[];
    expect(en).toMatchObject({ group: 'en', expert: 0, chosen: 0.5, uniform: 0.5, popular: 0.75 });
    expect(en.mass).toBeCloseTo(0.375, 6);
    expect(fi).toMatchObject({ group: 'fi', expert: 1, chosen: 1, popular: 1 });
    expect(fi.mass).toBeCloseTo(0.1, 6);
  });
});
