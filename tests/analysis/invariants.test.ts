// What must hold of any trace, on seeded synthetic ones; and the shuffled-label null.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { expect, it } from 'vitest';
import { study } from '../../analysis/analyze.ts';
import type { View } from '../../analysis/document-counts.ts';
import { entropy } from '../../analysis/entropy.ts';
import { type FlowRow, flow } from '../../analysis/flow.ts';
import { type Budget, information } from '../../analysis/information.ts';
import { informationStatistic } from '../../analysis/language-information.ts';
import { documentCountsOf } from '../../analysis/read/document-counts.ts';
import { resample } from '../../analysis/resample.ts';
import { countsTable } from '../../analysis/table.ts';
import { trajectory } from '../../analysis/trajectory.ts';
import { type Averaging, shareRows } from '../../analysis/usage.ts';
import type { Trace } from '../../routing/trace.ts';
import { syntheticTrace } from '../helpers/languages-fixture.ts';
import { usageOf } from '../helpers/usage-of.ts';

const anyTrace = fc.record({
  seed: fc.string({ minLength: 1 }),
  documents: fc.integer({ min: 1, max: 2 }),
  k: fc.integer({ min: 1, max: 3 }),
});
const small = (options: { seed: string; documents: number; k: number }) =>
  syntheticTrace({ ...options, tokens: 5, steps: [0, 10] });
const runs = { numRuns: 8, seed: 11 };
const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
const views: View[] = ['selection', 'gate'];
const averagings: Averaging[] = ['documents', 'tokens'];

it('rows sum to 1, token shares to k, and the counts to k per token', () => {
  fc.assert(
    fc.property(anyTrace, options => {
      const trace = small(options);
      for (const view of views) {
        for (const averaging of averagings) {
          const table = usageOf(trace, { view, averaging });
          for (const layer of trace.header.moeLayers) {
            for (const q of shareRows(table, layer).values()) if (q) expect(sum(q)).toBeCloseTo(1, 12);
            for (const a of shareRows(table, layer, 'tokenShare').values())
              if (a) expect(sum(a)).toBeCloseTo(options.k, 12);
          }
        }
      }
      const slots = sum(trace.counts.map(row => row.count));
      expect(slots).toBe(options.k * 48 * options.documents * 5 * 2 * 2);
      expect(sum(trace.counts.map(row => row.gate))).toBeCloseTo(slots / options.k, 6);
    }),
    runs,
  );
});

it('the budget sums to log E, no part is negative, and the family part nests in it', () => {
  fc.assert(
    fc.property(anyTrace, options => {
      const trace = small(options);
      const table = usageOf(trace, { view: 'selection', averaging: 'documents' });
      for (const row of information(table, trace.header).objects() as Budget[]) {
        expect(Math.abs(row.unused + row.shared + row.language - Math.log(7))).toBeLessThan(1e-12);
        expect(Math.abs(row.family + row.withinFamily - row.language)).toBeLessThan(1e-12);
        for (const part of [row.unused, row.shared, row.family, row.withinFamily]) expect(part).toBeGreaterThan(-1e-12);
      }
    }),
    runs,
  );
});

it('flow margins are the gate loads of both layers', () => {
  fc.assert(
    fc.property(anyTrace, fc.constantFrom(...averagings), (options, averaging) => {
      const trace = small(options);
      const rows = flow(trace, { averaging }).objects() as FlowRow[];
      const gate = usageOf(trace, { view: 'gate', averaging });
      for (const code of ['zh', 'en', 'ha']) {
        const mine = rows.filter(row => row.group === code);
        for (let e = 0; e < 7; e++) {
          const [out, into] = [mine.filter(row => row.source === e), mine.filter(row => row.target === e)];
          expect(sum(out.map(row => row.flow))).toBeCloseTo(shareRows(gate, 22).get(code)![e], 6);
          expect(sum(into.map(row => row.flow))).toBeCloseTo(shareRows(gate, 23).get(code)![e], 6);
        }
      }
    }),
    runs,
  );
});

it('renaming experts leaves entropies and the budget unchanged; doubling every document changes nothing', () => {
  const trace = small({ seed: 'swap', documents: 2, k: 2 });
  const numbers = (t: Trace) => {
    const table = usageOf(t, { view: 'selection', averaging: 'documents' });
    const budgets = information(table, t.header).objects() as Budget[];
    const h = entropy(table, t.header).array('entropy') as ArrayLike<number | null>;
    return [
      ...budgets.flatMap(b => [b.unused, b.shared, b.family, b.withinFamily]),
      ...Array.from(h, value => value ?? -1),
    ];
  };
  const before = numbers(trace);
  const rename = [3, 5, 0, 6, 1, 2, 4];
  const renamed = { ...trace, columns: { ...trace.columns, expert: trace.columns.expert.map(e => rename[e]) } };
  const n = trace.header.documents.length;
  const twice = <A extends Int32Array | Float32Array>(column: A, shift = 0): A => {
    const both = new (column.constructor as new (length: number) => A)(2 * column.length);
    for (let i = 0; i < both.length; i++) both[i] = column[i % column.length] + (i < column.length ? 0 : shift);
    return both;
  };
  const { gate, ...integers } = trace.columns;
  const doubled = Object.fromEntries(
    Object.entries(integers).map(([name, column]) => [name, twice(column, name === 'document' ? n : 0)]),
  ) as Omit<Trace['columns'], 'gate'>;
  const header = { ...trace.header, documents: [...trace.header.documents, ...trace.header.documents] };
  for (const other of [renamed, { ...trace, header, columns: { ...doubled, gate: twice(gate) } }]) {
    for (const [i, value] of numbers(other).entries()) expect(value).toBeCloseTo(before[i], 10);
  }
});

it('the null is near the observed information without language routing and far below it with', () => {
  const observed = (trace: Trace) => {
    const table = usageOf(trace, { view: 'selection', averaging: 'documents' });
    return (information(table, trace.header).objects() as Budget[]).map(row => row.language);
  };
  const draw = (trace: Trace) => {
    const options = { view: 'selection', permutations: 60, draws: 1, seed: 'null' } as const;
    return resample(documentCountsOf(trace), trace.header, [informationStatistic], options).get('information')!;
  };
  const iid = syntheticTrace({ documents: 4, tokens: 12, steps: [5], pull: 0 });
  const random = seedrandom('iid');
  const { expert } = iid.columns;
  for (let i = 0; i < expert.length; i += 2) {
    expert[i] = Math.floor(random() * 7);
    expert[i + 1] = (expert[i] + 1 + Math.floor(random() * 6)) % 7;
  }
  const pulled = syntheticTrace({ documents: 4, tokens: 12, steps: [0, 1], pull: 4 });
  for (const [i, { nullMean, p }] of draw(iid).entries()) {
    expect(observed(iid)[i] / nullMean!).toBeGreaterThan(0.85);
    expect(observed(iid)[i] / nullMean!).toBeLessThan(1.15);
    expect(p).toBeGreaterThan(0.01);
  }
  for (const [i, { nullMean, p }] of draw(pulled).entries()) {
    expect(nullMean!).toBeLessThan(0.5 * observed(pulled)[i]);
    expect(p).toBeCloseTo(1 / 61, 12);
  }
  for (const { nullMean, p } of draw(small({ seed: 'one', documents: 1, k: 2 })))
    expect([nullMean, p]).toEqual([null, null]);
});

it('the trajectory rises from chance when the pull grows, and loads sum to 1', () => {
  const trace = syntheticTrace({ steps: [0, 50, 100] });
  const rows = trajectory(countsTable(trace.counts, trace.header), trace.header).objects() as Record<string, number>[];
  const own = (step: number) => rows.find(row => row.step === step && row.layer === 23)!.own;
  expect(own(0)).toBeGreaterThan(0.2);
  expect(own(0)).toBeLessThan(0.38);
  expect(own(50)).toBeGreaterThan(own(0) + 0.2);
  expect(own(100)).toBeGreaterThan(own(50) + 0.1);
  for (const step of [0, 50, 100]) {
    expect(sum(rows.filter(row => row.step === step && row.layer === 22).map(row => row.load))).toBeCloseTo(1, 12);
  }
});

it('a recount in plain loops agrees with metrics', async () => {
  const trace = small({ seed: 'recount', documents: 2, k: 2 });
  const { metrics } = await study(trace);
  const { columns: c, header } = trace;
  const perDocument = new Map<number, { own: number; tokens: number; language: number }>();
  for (let i = 0; i < c.slot.length; i++) {
    if (c.layer[i] !== 23 || c.position[i] === 0) continue;
    const row = perDocument.get(c.document[i]) ?? { own: 0, tokens: 0, language: c.language[i] };
    if (c.slot[i] === 0) row.tokens++;
    if (c.expert[i] === header.languages[c.language[i]].expert) row.own++;
    perDocument.set(c.document[i], row);
  }
  const perLanguage = header.languages.map((_, l) => {
    const mine = [...perDocument.values()].filter(row => row.language === l);
    return mine.length ? sum(mine.map(row => row.own / row.tokens)) / mine.length : null;
  });
  const present = perLanguage.filter(value => value !== null);
  const layers = metrics.layers as { layer: number; ownExpert: { chosen: number } }[];
  expect(layers[1].ownExpert.chosen).toBeCloseTo(sum(present) / 48, 12);
  const languages = metrics.languages as { code: string; reason?: string; ownExpert: { chosen: number | null }[] }[];
  for (const [l, value] of perLanguage.entries()) {
    if (value === null) expect(languages[l].ownExpert[1].chosen).toBeNull();
    else expect(languages[l].ownExpert[1].chosen).toBeCloseTo(value, 12);
  }
  const empty = languages.filter(language => language.reason !== undefined);
  expect(empty.map(language => language.code)).toEqual(['doi', 'ckb']);
  expect(metrics.counted).toEqual({ tokens: 48 * 2 * 4, documents: 96, droppedFirst: 96, droppedSpecial: 0 });
});
