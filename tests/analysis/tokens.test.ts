// Measures over single tokens (M12 to M16) by hand, to the printed digits; and what must hold of them on any trace.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ColumnTable } from 'arquero';
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { afterAll, describe, expect, it } from 'vitest';
import { assignment } from '../../analysis/assignment.ts';
import type { Collector } from '../../analysis/block.ts';
import { coactivation, coactivationAgreement, coactivationCollector } from '../../analysis/coactivation.ts';
import { collect, collectNow } from '../../analysis/collect.ts';
import { correlationOf } from '../../analysis/correlation.ts';
import { fertility, tokenUse } from '../../analysis/fertility.ts';
import { affinity, flow, flowCollector, flowInformation, flowTable } from '../../analysis/flow.ts';
import { blockEstimate, itemBlocks } from '../../analysis/item-blocks.ts';
import { informations, lexical } from '../../analysis/lexical.ts';
import { anySharedByChance, jaccardByChance, locality, localityCollector } from '../../analysis/locality.ts';
import { documentCountsOf } from '../../analysis/read/document-counts.ts';
import { blocksOf } from '../../analysis/read/stream.ts';
import { languageRows } from '../../analysis/rows.ts';
import { sameScript } from '../../analysis/same-script.ts';
import { overlapSums, saturation } from '../../analysis/saturation.ts';
import { tokenLog } from '../../analysis/token-log.ts';
import { vocabulary } from '../../analysis/vocabulary.ts';
import type { Trace } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { syntheticTrace } from '../helpers/languages-fixture.ts';
import { type TinyToken, tinyTrace } from '../helpers/tiny-trace.ts';

type Row = Record<string, number | string | null>;
const rowsOf = (table: ColumnTable) => table.objects() as Row[];
const all = { dropFirst: false };
const of = <Result>(trace: Trace, collector: Collector<Result>, options = all): Result =>
  collectNow(blocksOf(trace, options), collector);
const slots = (...experts: number[]): [number, number][] => experts.map(e => [e, 1 / experts.length]);
/** Tokens of one language and document from their sets in one layer. */
const run = (language: string, document: string, sets: number[][]): TinyToken[] =>
  sets.map(set => ({ language, document, layers: [slots(...set)] }));
const withIds = (trace: Trace, ids: number[]): Trace => {
  const { position, document, token } = trace.columns;
  let n = -1;
  for (let i = 0; i < token.length; i++) {
    if (i === 0 || position[i] !== position[i - 1] || document[i] !== document[i - 1]) n++;
    token[i] = ids[n];
  }
  return trace;
};

describe('co-activation (M12)', () => {
  const trace = tinyTrace(
    run('en', 'a', [
      [0, 1],
      [0, 2],
      [0, 1],
    ]),
    4,
  );
  it('of {0,1} {0,2} {0,1}', () => {
    const rows = rowsOf(coactivation(of(trace, coactivationCollector(trace.header)), trace.header));
    const pair = (a: number, b: number) => rows.find(row => row.a === a && row.b === b)!;
    expect(rows.length).toBe(12);
    expect(pair(0, 1).conditional).toBeCloseTo(0.667, 3);
    expect(pair(1, 0).conditional).toBe(1);
    expect(pair(0, 2).conditional).toBeCloseTo(1 / 3, 12);
    expect(pair(1, 2)).toMatchObject({ together: 0, conditional: 0, lift: 0 });
    expect(pair(0, 1).lift).toBeCloseTo((2 * 3) / (3 * 2), 12);
    expect(pair(0, 1).logLift).toBeCloseTo(Math.log2(2.5 / 2.5), 12);
    expect(pair(1, 2).logLift).toBeCloseTo(Math.log2(0.5 / (2 / 3 + 0.5)), 12);
    expect(pair(3, 0)).toMatchObject({ together: 0, conditional: null, lift: null, logLift: null });
  });
  it('of neighbours in rank: 7 of the 28 pairs of eight', () => {
    const eight = tinyTrace(run('en', 'a', [[5, 3, 7, 0, 1, 6, 2, 4]]), 8);
    const met = (pairs: 'all' | 'adjacent') =>
      rowsOf(coactivation(of(eight, coactivationCollector(eight.header, pairs)), eight.header))
        .filter(row => row.together === 1 && Number(row.a) < Number(row.b))
        .map(row => `${row.a} ${row.b}`);
    expect(met('all').length).toBe(28);
    expect(met('adjacent')).toEqual(['0 1', '0 7', '1 6', '2 4', '2 6', '3 5', '3 7']);
  });
  it('of neighbours expects 2/k of the pairs', () => {
    const three = tinyTrace(
      run('en', 'a', [
        [0, 1, 2],
        [0, 1, 3],
      ]),
      4,
    );
    const rows = rowsOf(coactivation(of(three, coactivationCollector(three.header, 'adjacent')), three.header));
    expect(rows.find(row => row.a === 0 && row.b === 1)!.lift).toBeCloseTo(2 / ((2 / 3) * 2), 12);
    expect(rows.find(row => row.a === 0 && row.b === 2)!.lift).toBe(0);
  });
  it('is undefined for k = 1', () => {
    const one = tinyTrace(run('en', 'a', [[0], [1]]), 2);
    const sums = of(one, coactivationCollector(one.header));
    expect(coactivation(sums, one.header).numRows()).toBe(0);
    expect(coactivationAgreement(sums, one.header).numRows()).toBe(0);
  });
  it('agreement of languages is Spearman’s rank correlation of C', () => {
    const synthetic = syntheticTrace({ documents: 2, tokens: 12, steps: [1], k: 3 });
    const { header } = synthetic;
    const sums = of(synthetic, coactivationCollector(header));
    const rows = rowsOf(coactivationAgreement(sums, header));
    expect(rows.length).toBe((2 * 48 * 47) / 2);
    const conditional = (l: number) => {
      const list: number[] = [];
      for (let a = 0; a < 7; a++) {
        for (let b = 0; b < 7; b++) {
          const both = sums.together[1][l][Math.min(a, b) * 7 + Math.max(a, b)];
          if (a !== b) list.push(sums.chosen[1][l][a] > 0 ? both / sums.chosen[1][l][a] : 0);
        }
      }
      return list;
    };
    const code = (l: number) => header.languages[l].code;
    for (const [a, b] of [
      [0, 1],
      [3, 12],
    ]) {
      const row = rows.find(one => one.layer === 23 && one.a === code(a) && one.b === code(b))!;
      expect(row.correlation).toBeCloseTo(correlationOf(conditional(a), conditional(b), 'spearman'), 10);
    }
  });
});

describe('flow (M13)', () => {
  const through = (language: string, document: string, paths: number[][]): TinyToken[] =>
    paths.map(path => ({ language, document, layers: path.map(e => slots(e)) }));
  it('is counted at a distance, never multiplied together', () => {
    const paths = [
      [0, 0, 0],
      [1, 0, 1],
      [0, 0, 0],
      [1, 0, 1],
    ];
    const trace = tinyTrace(through('en', 'a', paths), 2);
    const rows = rowsOf(flow(trace, { ...all, pairs: [[1, 3]] }));
    expect(rows).toEqual([
      { from: 1, to: 3, group: 'en', source: 0, target: 0, flow: 0.5 },
      { from: 1, to: 3, group: 'en', source: 1, target: 1, flow: 0.5 },
    ]);
  });
  it('tells language apart from what happens inside it, and both from chance inside a document', () => {
    const two = tinyTrace(
      [
        ...through('en', 'a', [
          [0, 0],
          [0, 0],
        ]),
        ...through('fi', 'b', [
          [1, 1],
          [1, 1],
        ]),
      ],
      2,
    );
    const sums = of(two, flowCollector(two.header, { random: seedrandom('null') }));
    const [row] = rowsOf(flowInformation(sums, two.header));
    expect(row.information).toBeCloseTo(Math.LN2, 12);
    expect(row).toMatchObject({ normalised: 1, conditional: 0, conditionalNormalised: null, conditionalNull: 0 });
    expect(row.nullMean).toBeCloseTo(Math.LN2, 12);
    const random = seedrandom('paths');
    const walk = Array.from({ length: 400 }, () => (random() < 0.5 ? [0, 0] : [1, 1]));
    const inside = tinyTrace(through('en', 'a', walk), 2);
    const [own] = rowsOf(flowInformation(of(inside, flowCollector(inside.header, { random })), inside.header));
    expect(own.conditional).toBeCloseTo(Math.LN2, 2);
    expect(Number(own.conditionalNull)).toBeLessThan(0.01);
  });
  it('affinity is the share of an expert’s mass that goes on to each of the next', () => {
    const trace = tinyTrace(
      through('en', 'a', [
        [0, 0],
        [0, 1],
        [0, 1],
        [1, 1],
      ]),
      3,
    );
    const sums = of(trace, flowCollector(trace.header));
    const p = affinity(sums, trace.header, 2, 3);
    expect([...p].map(share => Math.round(1e6 * share) / 1e6)).toEqual([0.333333, 0.666667, 0, 0, 1, 0, 0, 0, 0]);
    expect(flowTable(sums, trace.header, []).numRows()).toBe(0);
    expect(() => flowTable(sums, trace.header, [[0, 3]])).toThrow('was not collected');
  });
});

describe('locality (M14)', () => {
  it('chance that two sets share an expert', () => {
    const printed = [
      [8, 2, 0.464286],
      [12, 2, 0.318182],
      [7, 2, 0.52381],
      [16, 2, 0.241667],
      [64, 8, 0.679069],
      [128, 8, 0.412282],
      [60, 4, 0.246793],
    ];
    for (const [E, k, value] of printed) expect(anySharedByChance(E, k)).toBeCloseTo(value, 6);
    expect(anySharedByChance(3, 2)).toBe(1);
    expect(jaccardByChance(4, 2)).toBeCloseTo((4 / 6) * (1 / 3) + 1 / 6, 12);
    expect(jaccardByChance(8, 1)).toBeCloseTo(1 / 8, 12);
  });
  const rowOf = (trace: Trace, group: string) =>
    rowsOf(locality(of(trace, localityCollector(trace.header)), trace.header)).find(row => row.group === group)!;
  it('by hand: pairs inside a document, documents before languages', () => {
    const tokens = [
      ...run('en', 'a', [
        [0, 1],
        [0, 2],
        [3, 0],
        [1, 2],
      ]),
      ...run('en', 'b', [
        [2, 3],
        [2, 3],
      ]),
      ...run('fi', 'c', [
        [0, 1],
        [1, 0],
      ]),
    ];
    const trace = tinyTrace(tokens, 4);
    const en = rowOf(trace, 'en');
    expect(en.repeat).toBeCloseTo((1 / 3 + 1) / 2, 12);
    expect(en.any).toBeCloseTo((2 / 3 + 1) / 2, 12);
    expect(en.jaccard).toBeCloseTo(((1 / 3 + 1 / 3) / 3 + 1) / 2, 12);
    // first choices: a has 0 0 3 1, b has 2 2, so q = (1/4, 1/8, 1/2, 1/8)
    expect(en.repeatNull).toBeCloseTo(1 / 16 + 1 / 64 + 1 / 4 + 1 / 64, 12);
    expect(en).toMatchObject({ repeatUniform: 0.25, documents: 2, repeatLow: null });
    expect(rowOf(trace, 'fi')).toMatchObject({ repeat: 0, any: 1, jaccard: 1 });
    expect(rowOf(trace, 'all').repeat).toBeCloseTo((2 / 3 + 0) / 2, 12);
  });
  it('leaves out pairs of the same token where asked', () => {
    const trace = withIds(
      tinyTrace(
        run('en', 'a', [
          [0, 1],
          [0, 1],
          [0, 2],
          [3, 2],
        ]),
        4,
      ),
      [5, 5, 6, 7],
    );
    expect(rowOf(trace, 'en')).toMatchObject({ repeat: 2 / 3, any: 1, repeatOther: 0.5, anyOther: 1 });
  });
  it('never pairs across a token that is not counted, a gap or a dropped first choice', () => {
    const trace = tinyTrace(
      run('en', 'a', [
        [0, 1],
        [0, 1],
        [0, 1],
      ]),
      4,
    );
    const special = structuredClone(trace);
    special.columns.special.fill(1, 2, 4);
    expect(rowOf(special, 'en')).toMatchObject({ repeat: null, any: null, jaccard: null, documents: 0 });
    const gap = structuredClone(trace);
    gap.columns.position.fill(7, 4, 6);
    expect(of(gap, localityCollector(gap.header)).pairs[0]).toBe(1);
    const dropped = structuredClone(trace);
    for (const [name, column] of Object.entries(trace.columns)) {
      Object.assign(dropped.columns, { [name]: column.filter((_: number, i: number) => i !== 2) });
    }
    const sums = of(dropped, localityCollector(dropped.header));
    expect([sums.pairs[0], sums.firstPairs[0], sums.any[0], sums.repeat[0]]).toEqual([2, 0, 2, 0]);
    expect(sums.jaccard[0]).toBe(1);
  });
});

describe('vocabulary specialisation (M15)', () => {
  const options = { random: seedrandom('vocabulary') };
  const ids = [...Array(10).fill(1), ...Array(9).fill(2), ...Array(20).fill(3)];
  const first = [...Array(7).fill(0), ...Array(3).fill(1), ...Array(9).fill(0), ...Array(20).fill(2)];
  const trace = withIds(
    tinyTrace(
      run(
        'en',
        'a',
        first.map(e => [e, 3]),
      ),
      4,
    ),
    ids,
  );
  it('ignores ids seen less than ten times; by type (.7 + 1)/2, by token 27/30', () => {
    const [row] = rowsOf(vocabulary(of(trace, tokenLog(trace.header)), trace.header, options));
    expect(row).toMatchObject({ tokens: 30, types: 2 });
    expect(row.byType).toBeCloseTo(0.85, 12);
    expect(row.byToken).toBeCloseTo(0.9, 12);
    expect(Number(row.baseline)).toBeGreaterThan(0.6);
    expect(Number(row.baseline)).toBeLessThan(0.8);
  });
  it('of the next token looks one ahead inside the document', () => {
    const log = of(trace, tokenLog(trace.header));
    expect([...log.next.subarray(7, 12), log.next[38]]).toEqual([1, 1, 2, 2, 2, -1]);
    const gap = structuredClone(trace);
    gap.columns.position.fill(40, 76, 78);
    expect(of(gap, tokenLog(gap.header)).next[37]).toBe(-1);
    const [row] = rowsOf(vocabulary(log, trace.header, { ...options, of: 'next' }));
    // id 1 follows nine times, id 2 nine, id 3 twenty: once after an id 2 that went to 0, else after itself
    expect(row).toMatchObject({ tokens: 20, types: 1, byType: 0.95, byToken: 0.95 });
  });
  it('is null without a frequent id, and keeps more than 255 experts apart', () => {
    const rare = tinyTrace(run('en', 'a', [[0, 1]]), 2);
    const [row] = rowsOf(vocabulary(of(rare, tokenLog(rare.header)), rare.header, options));
    expect(row).toMatchObject({ tokens: 0, types: 0, byType: null, baseline: null });
    const wide = withIds(
      tinyTrace(
        run(
          'en',
          'a',
          Array.from({ length: 10 }, (_, t) => [t < 6 ? 299 : 43]),
        ),
        300,
      ),
      Array(10).fill(1),
    );
    expect(rowsOf(vocabulary(of(wide, tokenLog(wide.header)), wide.header, options))[0].byType).toBe(0.6);
  });
});

describe('lexical control (M15)', () => {
  const counts = (language: string, zeros: number, ones: number) =>
    [...Array(zeros).fill(0), ...Array(ones).fill(1)].flatMap((e, d) => run(language, `${d}/${language}`, [[e]]));
  it('of [[8 2] [3 7]] is .1325; with a flat second token as frequent .0663', () => {
    const one = tinyTrace([...counts('bn', 8, 2), ...counts('en', 3, 7)], 2);
    withIds(one, Array(20).fill(9));
    const options = { random: seedrandom('lexical'), draws: 200 };
    const [row] = rowsOf(lexical(of(one, tokenLog(one.header)), one.header, options));
    expect(row.conditional).toBeCloseTo(0.1325, 4);
    expect(row.information).toBeCloseTo(0.1325, 4);
    expect(row).toMatchObject({ tokens: 20, types: 1 });
    // all 2 × 2 tables with these margins: mean .027110, p .0698
    expect(row.conditionalNull).toBeCloseTo(0.02711, 2);
    expect(Number(row.p)).toBeGreaterThan(0.03);
    expect(Number(row.p)).toBeLessThan(0.12);
    const both = tinyTrace(
      [...counts('bn', 8, 2), ...counts('en', 3, 7), ...counts('bn', 5, 5), ...counts('en', 5, 5)],
      2,
    );
    const language = both.columns.language;
    const seen = [0, 0];
    const ids = Array.from(language, l => (seen[l]++ < 10 ? 9 : 8));
    for (const [i, id] of ids.entries()) both.columns.token[i] = id;
    const [two] = rowsOf(lexical(of(both, tokenLog(both.header)), both.header, options));
    expect(two.conditional).toBeCloseTo(0.0663, 4);
    expect(two).toMatchObject({ tokens: 40, types: 2 });
  });
  it('needs ten occurrences in two languages each', () => {
    const short = withIds(tinyTrace([...counts('bn', 8, 2), ...counts('en', 3, 6)], 2), Array(19).fill(9));
    const [row] = rowsOf(lexical(of(short, tokenLog(short.header)), short.header, { random: seedrandom('x') }));
    expect(row).toMatchObject({ tokens: 0, types: 0, conditional: null, ratio: null });
  });
  it('says 0 where the token decides, and near 1 where the language does', () => {
    const random = seedrandom('who decides');
    const make = (choose: (id: number, language: number) => number) => {
      const tokens: TinyToken[] = [];
      const ids: number[] = [];
      for (let item = 0; item < 40; item++) {
        for (const [l, language] of ['bn', 'en', 'fi'].entries()) {
          for (let t = 0; t < 20; t++) {
            // each language prefers its own third of twelve ids
            const id = random() < 0.5 ? Math.floor(random() * 12) : 4 * l + Math.floor(random() * 4);
            ids.push(id);
            tokens.push(
              ...run(language, `${item}/${language}`, [[random() < 0.2 ? Math.floor(random() * 6) : choose(id, l)]]),
            );
          }
        }
      }
      const trace = withIds(tinyTrace(tokens, 6), ids);
      return rowsOf(lexical(of(trace, tokenLog(trace.header)), trace.header, { random, draws: 20 }))[0];
    };
    const byToken = make(id => id % 6);
    expect(Number(byToken.information)).toBeGreaterThan(0.04);
    expect(Math.abs(Number(byToken.ratio))).toBeLessThan(0.1);
    expect(Number(byToken.tokenAlone) / Number(byToken.information)).toBeGreaterThan(0.9);
    const byLanguage = make((_, l) => 2 * l);
    // not 1: the token itself leaves H(2/3, 1/6, 1/6) of log 3 to be known
    expect(byLanguage.ratio).toBeCloseTo(0.8676 / Math.log(3), 1);
    expect(byLanguage.p).toBeCloseTo(1 / 21, 12);
    expect(Number(byLanguage.low)).toBeGreaterThan(0);
    expect(Number(byLanguage.tokenAlone) / Number(byLanguage.information)).toBeLessThan(0.3);
  });
  it('among languages of one script', () => {
    const trace = tinyTrace([...counts('bn', 10, 0), ...counts('en', 0, 10), ...counts('fi', 10, 0)], 2);
    trace.header.languages[0].script = 'Beng';
    const rows = languageRows(documentCountsOf(trace, all), 'selection', 'documents', trace.header);
    expect(rowsOf(sameScript(rows, trace.header))).toEqual([
      { layer: 3, script: 'Latn', languages: 2, information: Math.LN2, ofLanguages: 1 },
    ]);
  });
});

describe('saturation and agreement (M16)', () => {
  const root = mkdtempSync(join(tmpdir(), 'saturation-'));
  afterAll(() => rmSync(root, { recursive: true }));
  const written = (name: string, trace: Trace) => {
    writeTrace(join(root, name), trace);
    return join(root, name);
  };
  it('of {0,1} v {0,2} is .5', () => {
    const [a, b] = [
      [0, 1],
      [0, 2],
    ].map(set => tinyTrace(run('en', 'a', [set]), 8));
    const sums = overlapSums(a.header, null);
    sums.add([...blocksOf(a, all)][0], [...blocksOf(b, all)][0]);
    expect(rowsOf(sums.table())[0]).toMatchObject({ group: 'en', saturation: 0.5, chance: 0.25, documents: 1 });
  });
  it('between runs experts are paired on half of the items first', async () => {
    const trace = syntheticTrace({ documents: 6, tokens: 20, steps: [1] });
    const other = structuredClone(trace);
    const rename = [3, 5, 0, 6, 1, 2, 4];
    other.columns.expert.forEach((e, i) => {
      other.columns.expert[i] = rename[e];
    });
    other.counts = other.counts.map(row => ({ ...row, expert: rename[row.expert] }));
    const [a, b] = [written('a', trace), written('b', other)];
    const mean = (table: ColumnTable) =>
      rowsOf(table)
        .filter(row => row.group === 'all')
        .map(row => row.saturation);
    expect(mean(await saturation(a, a))).toEqual([1, 1]);
    for (const value of mean(await saturation(a, b))) expect(Number(value)).toBeLessThan(0.6);
    expect(mean(await saturation(a, b, { experts: 'paired' }))).toEqual([1, 1]);
    expect(rowsOf(await saturation(a, b, { experts: 'paired' }))[0]).toMatchObject({ documents: 3 });
  });
  it('refuses traces of different texts', async () => {
    const trace = syntheticTrace({ documents: 1, tokens: 4, steps: [1] });
    const a = written('one', trace);
    const change = (name: string, edit: (trace: Trace) => void) => {
      const other = structuredClone(trace);
      edit(other);
      return written(name, other);
    };
    const refuses = async (b: string, word: string) => {
      const error = await saturation(a, b).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).message).toMatch(word);
      expect((error as UserError).message).toMatch('trace both checkpoints on the same text');
    };
    await refuses(
      change('token', other => other.columns.token.fill(1, 0, 4)),
      'document 0 has other tokens',
    );
    await refuses(
      change('id', other => Object.assign(other.header.documents[0], { id: 'x' })),
      'their documents differ',
    );
    await refuses(
      change('layers', other => Object.assign(other.header, { moeLayers: [21, 22, 23] })),
      'MoE layers differ',
    );
  });
  it('assignment is the best of all permutations', () => {
    const square = fc
      .integer({ min: 1, max: 5 })
      .chain(n =>
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: n * n, maxLength: n * n }).map(weight => ({ n, weight })),
      );
    const best = (weight: number[], n: number, row = 0, used = 0): number => {
      if (row === n) return 0;
      let most = -1;
      for (let c = 0; c < n; c++) {
        if ((used >> c) & 1) continue;
        most = Math.max(most, weight[row * n + c] + best(weight, n, row + 1, used | (1 << c)));
      }
      return most;
    };
    fc.assert(
      fc.property(square, ({ n, weight }) => {
        const column = assignment(weight, n);
        expect(new Set(column).size).toBe(n);
        expect([...column].reduce((sum, c, row) => sum + weight[row * n + c], 0)).toBe(best(weight, n));
      }),
      { seed: 3, numRuns: 150 },
    );
  });
});

it('fertility and shared ids, by hand', () => {
  const tokens = [...run('en', 'a/en', [[0], [0], [0]]), ...run('en', 'b/en', [[0]]), ...run('fi', 'a/fi', [[1], [1]])];
  const trace = withIds(tinyTrace(tokens, 2), [1, 2, 3, 1, 3, 4]);
  expect(rowsOf(fertility(of(trace, tokenUse(trace.header)), trace.header))).toEqual([
    { group: 'en', script: 'Latn', documents: 2, items: 2, tokens: 4, fertility: 2, sharedTokens: 0.25 },
    { group: 'fi', script: 'Latn', documents: 1, items: 1, tokens: 2, fertility: 2, sharedTokens: 0.5 },
  ]);
});

it('blocks of items keep languages together, and few blocks give no interval', () => {
  const { header } = syntheticTrace({ documents: 3, tokens: 1, steps: [0] });
  const { blocks, of } = itemBlocks(header);
  expect(blocks).toBe(3);
  for (const [d, { item }] of header.documents.entries()) expect(of[d]).toBe(Number(item.split('/')[1]));
  // the jackknife of a mean: estimate 2, se = sd / √n = 1 / √3, t of 2 degrees 4.302653
  const interval = blockEstimate(2, [2.5, 2, 1.5]);
  expect(interval.se).toBeCloseTo(1 / Math.sqrt(3), 12);
  expect(interval.high! - interval.estimate).toBeCloseTo(4.302653 / Math.sqrt(3), 5);
  expect(blockEstimate(2, [1, 3])).toEqual({ estimate: 2, se: null, low: null, high: null });
});

describe('on any trace', () => {
  const base = syntheticTrace({ documents: 3, tokens: 10, steps: [1], k: 3, moeLayers: [20, 21, 23] });
  for (const [i, id] of base.columns.token.entries()) base.columns.token[i] = id % 40;
  const measures = async (trace: Trace, minimum = 10) => {
    const { header } = trace;
    const sums = await collect(blocksOf(trace), {
      flow: flowCollector(header),
      locality: localityCollector(header),
      coactivation: coactivationCollector(header),
      log: tokenLog(header),
      use: tokenUse(header),
    });
    const random = () => 0;
    const numbers = (table: ColumnTable, ...names: string[]) => names.flatMap(name => Array.from(table.array(name)));
    const shared = { order: Int32Array.from(sums.log.token.keys()), start: Int32Array.of(0, sums.log.tokens) };
    return {
      flow: numbers(flowInformation(sums.flow, header), 'information', 'conditional', 'normalised'),
      locality: numbers(locality(sums.locality, header), 'repeat', 'repeatNull', 'any', 'jaccard', 'repeatOther'),
      coactivation: numbers(coactivation(sums.coactivation, header), 'conditional').sort(),
      lift: numbers(coactivation(sums.coactivation, header), 'lift').sort(),
      agreement: numbers(coactivationAgreement(sums.coactivation, header), 'correlation'),
      vocabulary: numbers(vocabulary(sums.log, header, { random, minimum }), 'byType', 'byToken'),
      lexical: numbers(lexical(sums.log, header, { random, draws: 1, minimum }), 'information', 'conditional'),
      whole: Array.from(informations(sums.log, header, shared, sums.log.language).information),
      fertility: numbers(fertility(sums.use, header), 'sharedTokens'),
    };
  };
  const same = (a: Record<string, unknown[]>, b: Record<string, unknown[]>) => {
    for (const [name, values] of Object.entries(a)) {
      expect(b[name].length, name).toBe(values.length);
      for (const [i, value] of values.entries()) {
        if (typeof value === 'number') expect(b[name][i], `${name} ${i}`).toBeCloseTo(value, 6);
        else expect(b[name][i]).toBe(value);
      }
    }
  };
  const rows = (
    trace: Trace,
    change: (name: string, column: Int32Array | Float32Array) => ArrayLike<number>,
  ): Trace => {
    const columns = Object.fromEntries(
      Object.entries(trace.columns).map(([name, column]) => {
        const changed = change(name, column);
        return [name, name === 'gate' ? Float32Array.from(changed) : Int32Array.from(changed)];
      }),
    );
    return { ...trace, columns: columns as unknown as Trace['columns'] };
  };
  it('other expert numbers change nothing', async () => {
    const rename = [3, 5, 0, 6, 1, 2, 4];
    same(
      await measures(base),
      await measures(rows(base, (name, c) => (name === 'expert' ? c.map(e => rename[e]) : c))),
    );
  });
  it('every document twice changes nothing', async () => {
    const n = base.header.documents.length;
    const header = { ...base.header, documents: [...base.header.documents, ...base.header.documents] };
    const twice = rows({ ...base, header }, (name, c) => [
      ...c,
      ...c.map(value => value + (name === 'document' ? n : 0)),
    ]);
    same(await measures(base), await measures(twice, 20));
  });
  it('special tokens change nothing, wherever they stand', async () => {
    const slots = 9;
    const grown = rows(base, (name, c) => {
      const list: number[] = [];
      for (let i = 0; i < c.length; i += slots) {
        const token = c.slice(i, i + slots);
        const first = base.columns.position[i] === 0;
        const special = name === 'special' ? token.map(() => 1) : name === 'token' ? token.map(() => 3) : token;
        if (first) list.push(...special);
        list.push(...(name === 'position' ? token.map(p => p + 1) : token));
        const last = base.columns.position[i] === 9;
        if (last) list.push(...(name === 'position' ? token.map(p => p + 2) : special));
      }
      return list;
    });
    expect(grown.columns.slot.length).toBe((base.columns.slot.length * 12) / 10);
    same(await measures(base), await measures(grown));
  });
});
