// Language rows, measures and resampling against numpy and scipy (tests/golden/analysis/rows.py).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodesStatistic } from '../../analysis/depth-profiles.ts';
import { divergence } from '../../analysis/divergence.ts';
import type { DocumentCounts } from '../../analysis/document-counts.ts';
import { informationStatistic, languageInformation } from '../../analysis/language-information.ts';
import { meanOverlap, randomIntersection } from '../../analysis/overlap.ts';
import { resample } from '../../analysis/resample.ts';
import { rowEntropies } from '../../analysis/row-entropies.ts';
import { languageRows } from '../../analysis/rows.ts';
import { simulatedHeader } from '../helpers/simulate.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'golden', 'analysis', 'rows.json'), 'utf8'));
const [items, n, L, E, k] = golden.shape as number[];
const header = simulatedHeader(n, items, E, k, L);
const count: Float32Array[] = golden.count.map((layer: number[][][]) => Float32Array.from(layer.flat(2)));
const counts: DocumentCounts = {
  document: Int32Array.from({ length: items * n }, (_, d) => d),
  language: Int32Array.from({ length: items * n }, (_, d) => d % n),
  item: Int32Array.from({ length: items * n }, (_, d) => Math.floor(d / n)),
  items,
  tokens: Float64Array.from(golden.lengths.flat()),
  count,
  gate: count,
  softmax: null,
  dropped: { special: 0, first: 0 },
};
const close = (values: ArrayLike<number>, expected: ArrayLike<number>, digits = 10) => {
  expect(values.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(values[i]).toBeCloseTo(expected[i], digits);
};

describe.each(['documents', 'tokens'] as const)('averaging over %s', averaging => {
  const rows = languageRows(counts, 'selection', averaging, header);
  const of = golden[averaging];
  it('rows, entropies and information', () => {
    close(rows.q, of.q.flat(2), 12);
    close(rowEntropies(rows), of.entropy.flat());
    close(languageInformation(rows), of.information);
  });
  it('divergence from a pivot, overlap and mass nodes', () => {
    const table = divergence(rows, header, { pivot: 0 }).objects() as Record<string, number>[];
    // the pivot's own distance is the root of a rounding error in scipy
    close(
      table.map(row => row.distance),
      of.distance.flat(),
      7,
    );
    close(
      table.map(row => row.normalised),
      of.hjs.flat(),
      10,
    );
    close(meanOverlap(rows), of.overlap);
    expect(Array.from(nodesStatistic.of(rows))).toEqual(of.nodes);
  });
});

describe('resampling of the information', () => {
  const options = { view: 'selection' as const, seed: 'golden', draws: 4000, permutations: 2000 };
  const list = resample(counts, header, [informationStatistic], options).get('information')!;
  it('delete-one jackknife: as numpy', () => {
    close(
      list.map(({ estimate }) => estimate),
      golden.jackknife.estimate,
    );
    close(
      list.map(({ se }) => se!),
      golden.jackknife.se,
    );
  });
  it('basic bootstrap over items: scipy’s interval, to the error of the draws', () => {
    for (const [l, { low, high, se }] of list.entries()) {
      expect(Math.abs(low! - Math.max(0, golden.bootstrap.low[l]))).toBeLessThan(0.15 * se!);
      expect(Math.abs(high! - golden.bootstrap.high[l])).toBeLessThan(0.15 * se!);
    }
  });
  it('permutation within items: the same null mean, to the error of the draws', () => {
    for (const [l, { nullMean }] of list.entries()) {
      const error = golden.null.sd[l] * Math.sqrt(1 / 5000 + 1 / 2000);
      expect(Math.abs(nullMean! - golden.null.mean[l])).toBeLessThan(4 * error);
    }
  });
});

it('IoU of random sets: scipy’s hypergeometric', () => {
  for (const [experts, m, expected] of golden.random) expect(randomIntersection(experts, m)).toBeCloseTo(expected, 10);
});
