// What must hold of every measure, whatever the trace: expert ids are names, duplicated documents add nothing to plug-in values,
// special tokens do not count, families are names.
import type { ColumnTable } from 'arquero';
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { entropyOf, millerMadow } from '../../analysis/entropy.ts';
import { mutualInformation } from '../../analysis/information.ts';
import { shuffle } from '../../analysis/shuffle.ts';
import type { Trace } from '../../routing/trace.ts';
import { everyMeasure, smallTrace } from '../helpers/every-measure.ts';
import { columnsOf } from '../helpers/languages-fixture.ts';

type Row = Record<string, unknown>;
const runs = { numRuns: 4, seed: 7 };
const seeds = fc.string({ minLength: 1, maxLength: 8 });

/** Columns that name a row; the others are its values. */
const KEYS = [
  'layer',
  'group',
  'script',
  'against',
  'given',
  'name',
  'part',
  'from',
  'to',
  'source',
  'target',
  'expert',
  'a',
  'b',
];
/** Tables whose `a` and `b` are experts, not languages. */
const OF_EXPERTS = ['coactivation'];

const NUMBERS = ['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert', 'gate'] as const;
const rowsOf = ({ columns }: Trace): number[][] =>
  Array.from(columns.slot, (_, i) => NUMBERS.map(name => columns[name][i]));

/** Rows of a table by their names, with experts renamed. */
function keyed(table: ColumnTable, name: string, rename: (expert: number) => number): Map<string, Row> {
  const experts = ['expert', 'source', 'target', ...(OF_EXPERTS.includes(name) ? ['a', 'b'] : [])];
  const rows = (table.objects() as Row[]).map(row => {
    const renamed = { ...row };
    for (const column of experts) if (typeof row[column] === 'number') renamed[column] = rename(row[column]);
    return renamed;
  });
  const found = new Map(rows.map(row => [KEYS.map(key => row[key] ?? '').join(' '), row]));
  expect(found.size, `${name}: names of rows are unique`).toBe(rows.length);
  return found;
}

interface Comparison {
  /** From the second trace's experts to the first's. */
  rename?: (expert: number) => number;
  /** Columns that may differ, by table or for all (`*`). */
  but?: Record<string, string[]>;
}

function expectEqual(
  one: Record<string, ColumnTable>,
  two: Record<string, ColumnTable>,
  { rename = e => e, but = {} }: Comparison = {},
): void {
  for (const [name, table] of Object.entries(one)) {
    const [first, second] = [keyed(table, name, e => e), keyed(two[name], name, rename)];
    expect([...second.keys()].sort(), name).toEqual([...first.keys()].sort());
    expect(first.size, `${name} has rows`).toBeGreaterThan(0);
    for (const [key, row] of first) {
      for (const [column, value] of Object.entries(row)) {
        if (KEYS.includes(column) || but['*']?.includes(column) || but[name]?.includes(column)) continue;
        const other = second.get(key)![column];
        const where = `${name} ${column} of ${key}`;
        if (typeof value === 'number' && Number.isFinite(value)) {
          expect(Math.abs((other as number) - value) / (1 + Math.abs(value)), where).toBeLessThan(1e-7);
        } else expect(other, where).toEqual(value);
      }
    }
  }
}

it('the trace of these tests gives every measure values to compare', () => {
  const tables = everyMeasure(smallTrace('values'));
  const empty = Object.entries(tables).flatMap(([name, table]) => {
    const rows = table.objects() as Row[];
    const unknown = table.columnNames().filter(column => rows.every(row => row[column] === null));
    return unknown.length > 0 ? [`${name}: ${unknown.join(' ')}`] : [];
  });
  // intervals and calls that only resampling gives
  expect(empty).toMatchInlineSnapshot(`
    [
      "entropy: low high",
      "divergence: low high",
      "itemDivergence: low high",
      "information: estimate se low high nullMean excess p",
      "families: low high",
      "specificity: low high specific",
      "universality: low high",
      "exclusive: low high",
      "leaning: sharedLow sharedHigh exclusiveLow exclusiveHigh",
      "activation: low high found",
      "obedience: low high massLow massHigh",
    ]
  `);
});

describe('expert ids are names', () => {
  it('permuted experts give the same numbers under other ids', () => {
    fc.assert(
      fc.property(seeds, seed => {
        const trace = smallTrace(seed);
        const to = Int32Array.from({ length: 6 }, (_, e) => e);
        shuffle(to, seedrandom(seed));
        const back = to.map((_, e) => to.indexOf(e));
        const permuted: Trace = {
          header: {
            ...trace.header,
            languages: trace.header.languages.map(language => ({ ...language, expert: to[language.expert] })),
            expertNames: trace.header.expertNames.map((_, e) => trace.header.expertNames[back[e]]),
          },
          columns: { ...trace.columns, expert: trace.columns.expert.map(e => to[e]) },
          counts: [],
        };
        const options = { rename: (e: number) => back[e], but: { nodes: ['experts'], nodesByFamily: ['experts'] } };
        expectEqual(everyMeasure(trace), everyMeasure(permuted), options);
      }),
      runs,
    );
  });
});

describe('duplicated documents', () => {
  it('leave every plug-in value as it was', () => {
    fc.assert(
      fc.property(seeds, seed => {
        const trace = smallTrace(seed);
        const documents = trace.header.documents.length;
        const again = rowsOf(trace).map(row => row.map((value, c) => (c === 1 ? value + documents : value)));
        const doubled: Trace = {
          header: {
            ...trace.header,
            documents: [false, true].flatMap(copy =>
              trace.header.documents.map(document =>
                copy ? { ...document, id: `${document.id} again`, item: `${document.item} again` } : document,
              ),
            ),
          },
          columns: columnsOf([...rowsOf(trace), ...again]),
          counts: [],
        };
        // sizes, half-token terms, jackknives and shuffled nulls know how much text there was
        const but = {
          '*': ['tokens', 'documents', 'low', 'high', 'p'],
          divergence: ['baseline', 'excess'],
          itemDivergence: ['items', 'baseline', 'excess'],
          families: ['nullSilhouette'],
          specificity: ['lift'],
          universality: ['lift', 'family'],
          coactivation: ['together', 'logLift'],
          flowInformation: ['nullMean', 'conditionalNull', 'estimate', 'se'],
          locality: ['repeatLow', 'repeatHigh', 'anyLow', 'anyHigh'],
          vocabulary: ['baseline', 'baselineByToken'],
          nextVocabulary: ['baseline', 'baselineByToken'],
          lexical: [
            'informationNull',
            'conditionalNull',
            'informationExcess',
            'conditionalExcess',
            'ratio',
            'tokenAlone',
          ],
          fertility: ['items'],
        };
        expectEqual(everyMeasure(trace), everyMeasure(doubled, 2), { but });
      }),
      runs,
    );
  });
  it('halve the Miller–Madow term', () => {
    const counts = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(counts, list => {
        fc.pre(list.some(count => count > 0));
        const sum = list.reduce((a, b) => a + b, 0);
        const plugIn = entropyOf(list.map(count => count / sum));
        const term = (factor: number) => millerMadow(list.map(count => factor * count)) - plugIn;
        expect(term(2)).toBeCloseTo(term(1) / 2, 12);
      }),
      { numRuns: 50, seed: 7 },
    );
  });
});

it('special tokens around the text change nothing', () => {
  fc.assert(
    fc.property(seeds, seed => {
      const trace = smallTrace(seed);
      const random = seedrandom(seed);
      const special: number[] = [];
      const rows: number[][] = [];
      const filler = (document: number, position: number, language: number) => {
        for (const layer of trace.header.moeLayers) {
          for (const [slot, expert] of [5, Math.floor(random() * 5)].entries()) {
            rows.push([0, document, position, 1, language, layer, slot, expert, random()]);
            special.push(1);
          }
        }
      };
      for (const [document, { language }] of trace.header.documents.entries()) {
        const code = trace.header.languages.findIndex(one => one.code === language);
        const own = rowsOf(trace).filter(row => row[1] === document);
        filler(document, 0, code);
        for (const row of own) {
          rows.push(row.map((value, c) => (c === 2 ? value + 1 : value)));
          special.push(0);
        }
        const end = Math.max(...own.map(row => row[2])) + 2;
        for (let i = 0; i < 3; i++) filler(document, end + i, code);
      }
      const padded = { ...trace, columns: { ...columnsOf(rows), special: Int32Array.from(special) } };
      // an end token is a token that comes next
      const { nextVocabulary, ...others } = everyMeasure(trace);
      expectEqual(others, everyMeasure(padded));
      expect(nextVocabulary.numRows()).toBe(trace.header.moeLayers.length);
    }),
    runs,
  );
});

it('families under other names give the same numbers', () => {
  fc.assert(
    fc.property(seeds, seed => {
      const trace = smallTrace(seed);
      const names: Record<string, string> = { A: 'Zulu', B: 'Alpha', C: 'Mike' };
      const languages = trace.header.languages.map(row => ({ ...row, family: names[row.family] }));
      const renamed = everyMeasure({ ...trace, header: { ...trace.header, languages } });
      const back = Object.fromEntries(Object.entries(names).map(([from, to]) => [to, from]));
      renamed.nodesByFamily = renamed.nodesByFamily.params({ back }).derive({ group: '(d, $) => $.back[d.group]' });
      renamed.universality = renamed.universality.params({ back }).derive({ family: '(d, $) => $.back[d.family]' });
      expectEqual(everyMeasure(trace), renamed);
    }),
    runs,
  );
});

it('one language alone, one document alone, or one layer alone leave gaps, never NaN or an error', () => {
  const trace = smallTrace('alone');
  const only = (keep: (row: number[]) => boolean) => columnsOf(rowsOf(trace).filter(keep));
  const oneLayer = { ...trace.header, moeLayers: [2] };
  const cases: Trace[] = [
    { ...trace, columns: only(row => row[4] === 1) },
    { ...trace, columns: only(row => row[1] === 0) },
    { ...trace, columns: only(row => row[5] === 2), header: oneLayer },
  ];
  for (const [i, one] of cases.entries()) {
    for (const [name, table] of Object.entries(everyMeasure(one))) {
      for (const row of table.objects() as Row[]) {
        for (const [column, value] of Object.entries(row)) {
          if (typeof value !== 'number' || ['purity', 'profiles', 'collapse'].includes(name)) continue;
          expect(Number.isFinite(value), `case ${i}: ${name} ${column}`).toBe(true);
        }
      }
    }
  }
});

it('two languages with the same rows can be merged without changing the token-weighted information', () => {
  const counts = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(counts, counts, fc.integer({ min: 1, max: 5 }), (same, other, times) => {
      fc.pre([same, other].every(list => list.some(count => count > 0)));
      const apart = mutualInformation([same, same.map(count => times * count), other]);
      const merged = mutualInformation([same.map(count => (1 + times) * count), other]);
      expect(merged).toBeCloseTo(apart, 12);
    }),
    { numRuns: 50, seed: 7 },
  );
});
