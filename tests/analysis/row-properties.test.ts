// What must hold of the row measures for any counts, view and averaging: names of experts, copies of documents, merged languages,
// the identity of the budget.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collapseGaps } from '../../analysis/collapse.ts';
import { spreadStatistics } from '../../analysis/depth-profiles.ts';
import { divergence } from '../../analysis/divergence.ts';
import type { DocumentCounts, View } from '../../analysis/document-counts.ts';
import { entropy, entropyOf, millerMadow } from '../../analysis/entropy.ts';
import { budgetOf, information, millerMadowInformation, mutualInformation } from '../../analysis/information.ts';
import { languageInformation } from '../../analysis/language-information.ts';
import { nodes } from '../../analysis/nodes.ts';
import { overlap } from '../../analysis/overlap.ts';
import { type Averaging, languageRows } from '../../analysis/rows.ts';
import { rowsToUsage } from '../../analysis/rows-to-usage.ts';
import { simulate } from '../helpers/simulate.ts';

const anyCounts = fc.record({
  languages: fc.integer({ min: 2, max: 5 }),
  items: fc.integer({ min: 2, max: 6 }),
  experts: fc.integer({ min: 2, max: 9 }),
  k: fc.integer({ min: 1, max: 3 }),
  tokens: fc.integer({ min: 5, max: 20 }),
  concentration: fc.integer({ min: 1, max: 30 }),
  strengths: fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { minLength: 3, maxLength: 5 }),
  seed: fc.string({ minLength: 1 }),
});
const anyReading = fc.record({
  view: fc.constantFrom<View>('selection', 'gate', 'softmax'),
  averaging: fc.constantFrom<Averaging>('documents', 'tokens'),
});
const runs = { numRuns: 25, seed: 3 };

/** Every number that the row measures give, in an order that does not depend on expert ids. */
function numbers({ counts, header }: ReturnType<typeof simulate>, view: View, averaging: Averaging): number[] {
  const rows = languageRows(counts, view, averaging, header);
  const usage = rowsToUsage(rows, counts, header);
  const columns = (table: { objects(): object[] }, ...names: string[]) =>
    (table.objects() as Record<string, number | null>[]).flatMap(row => names.map(name => row[name] ?? Number.NaN));
  return [
    ...columns(entropy(usage, header), 'entropy', 'normalised', 'effective', 'simpson', 'aboveMinimum'),
    ...columns(nodes(usage, header), 'nodes'),
    ...columns(information(usage, header), 'unused', 'shared', 'language', 'family', 'withinFamily', 'ofLanguages'),
    ...columns(divergence(rows, header, { pivot: 0 }), 'js', 'distance'),
    ...columns(overlap(rows, header), 'overlap'),
    ...collapseGaps(rows, 0),
    ...spreadStatistics.flatMap(statistic => Array.from(statistic.of(rows))),
  ];
}
/** Distances of equal rows are roots of rounding errors, hence 1e-6. */
function expectSame(a: number[], b: number[]) {
  expect(a.length).toBe(b.length);
  const apart = a.map((value, i) => (Number.isNaN(value) && Number.isNaN(b[i]) ? 0 : Math.abs(value - b[i])));
  expect(Math.max(...apart)).toBeLessThan(1e-6);
}
const mapCells = (counts: DocumentCounts, of: (cells: Float32Array) => Float32Array): DocumentCounts => ({
  ...counts,
  count: counts.count.map(of),
  gate: counts.gate.map(of),
  softmax: counts.softmax?.map(of) ?? null,
});

it('experts by other names: every number stays', () => {
  fc.assert(
    fc.property(anyCounts, anyReading, fc.integer({ min: 1, max: 8 }), (options, { view, averaging }, turn) => {
      const { counts, header } = simulate(options);
      const E = options.experts;
      const turned = mapCells(counts, cells => cells.map((_, i) => cells[i - (i % E) + (((i % E) + turn) % E)]));
      expectSame(numbers({ counts: turned, header }, view, averaging), numbers({ counts, header }, view, averaging));
    }),
    runs,
  );
});

it('every document twice: every plug-in number stays', () => {
  const twice = <T extends Int32Array | Float64Array | Float32Array>(list: T): T => {
    const both = new (list.constructor as new (n: number) => T)(2 * list.length);
    both.set(list);
    both.set(list, list.length);
    return both;
  };
  fc.assert(
    fc.property(anyCounts, anyReading, (options, { view, averaging }) => {
      const { counts, header } = simulate(options);
      const copied: DocumentCounts = {
        ...mapCells(counts, twice),
        document: twice(counts.document),
        language: twice(counts.language),
        item: twice(counts.item),
        tokens: twice(counts.tokens),
      };
      expectSame(numbers({ counts: copied, header }, view, averaging), numbers({ counts, header }, view, averaging));
    }),
    runs,
  );
});

it('the budget is an identity to 1e-12 without negative parts, and I is the statistic that is resampled', () => {
  fc.assert(
    fc.property(anyCounts, anyReading, (options, { view, averaging }) => {
      const { counts, header } = simulate(options);
      const rows = languageRows(counts, view, averaging, header);
      const { experts: E, languages: n } = rows;
      const family = header.languages.map(language => language.family);
      for (const [layer, nats] of languageInformation(rows).entries()) {
        const q = family.map((_, l) => rows.q.slice((layer * n + l) * E, (layer * n + l + 1) * E));
        const { unused, shared, language, family: ofFamily, withinFamily } = budgetOf(q, family);
        expect(Math.abs(unused + shared + language - Math.log(E))).toBeLessThan(1e-12);
        expect(Math.abs(ofFamily + withinFamily - language)).toBeLessThan(1e-12);
        expect(Math.min(unused, shared, language, ofFamily, withinFamily)).toBeGreaterThan(-1e-12);
        expect(Math.abs(language - nats)).toBeLessThan(1e-12);
      }
    }),
    runs,
  );
});

describe('of a table of counts', () => {
  it('[[8 2] [3 7]]: information .132505, Miller–Madow .107505', () => {
    const counts = [
      [8, 2],
      [3, 7],
    ];
    expect(mutualInformation(counts)).toBeCloseTo(0.132505, 6);
    expect(millerMadowInformation(counts)).toBeCloseTo(0.107505, 6);
  });
  it('Miller–Madow terms halve when every count doubles', () => {
    const list = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(list, { minLength: 2, maxLength: 4 }), counts => {
        fc.pre(counts.flat().some(count => count > 0));
        const double = counts.map(row => row.map(count => 2 * count));
        const term = (of: number[][]) => millerMadowInformation(of) - mutualInformation(of);
        expect(term(double)).toBeCloseTo(term(counts) / 2, 10);
        const flat = counts.flat();
        const total = flat.reduce((a, b) => a + b, 0);
        const plain = entropyOf(flat.map(count => count / total));
        expect(millerMadow(double.flat()) - plain).toBeCloseTo((millerMadow(flat) - plain) / 2, 10);
      }),
      runs,
    );
  });
  it('merging two languages that route alike leaves the information weighted by tokens as it was', () => {
    const list = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(list, list, fc.integer({ min: 1, max: 5 }), (a, b, times) => {
        const apart = [a, a.map(count => times * count), b];
        expect(mutualInformation([a.map(count => (1 + times) * count), b])).toBeCloseTo(mutualInformation(apart), 12);
      }),
      runs,
    );
  });
});
