// The grid on a toy model: effects, nulls and controls are those of their passes, words become targets, layers and experts, and the
// tables say what was measured.
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { familiesOf, readExperts, readLayers, readTargets } from '../../src/commands/intervene-options.ts';
import { describeGrid } from '../../src/commands/intervene-tables.ts';
import type { Language } from '../../src/data/types.ts';
import { byDifference } from '../../src/intervene/choose.ts';
import { effectOf } from '../../src/intervene/effect.ts';
import { type GridColumn, runGrid } from '../../src/intervene/grid.ts';
import { openPasses, type Passes } from '../../src/intervene/passes.ts';
import { type Planned, planExperts } from '../../src/intervene/plan.ts';
import { measureUsage } from '../../src/intervene/usage.ts';
import { disposeModel } from '../../src/model/weights.ts';
import { use } from '../engine/backends.ts';
import { EOS, toyDocuments, toyMap, toyModel } from '../model/toy.ts';

beforeAll(() => use('wasm').then(() => undefined));

const { languages } = toyMap;
const shape = { batch: 4, sequence: 16, padId: EOS, mode: 'free' as const };
const documents = toyDocuments(Array.from({ length: 24 }, (_, i) => 6 + (i % 9)));
const targets = readTargets('languages', languages);

async function onToy<T>(work: (passes: Passes, planned: Planned[]) => Promise<T>): Promise<T> {
  const model = toyModel();
  try {
    const usage = await measureUsage(model, toyDocuments(Array(12).fill(10), 'others'), languages, shape);
    const plan = (target: (typeof targets)[number]) =>
      planExperts(usage, target, byDifference(usage, target, [2], 1), 'mask', 0);
    const passes = await openPasses({ model, languages, documents, shape, bytesOf: ({ ids }) => 2 * ids.length });
    return await work(passes, targets.map(plan));
  } finally {
    disposeModel(model);
  }
}

const request = { units: targets, on: null, languages: [0, 1, 2, 3], spare: null, draws: 6, seed: 3 };

test('every figure is that of its passes', () =>
  onToy(async (passes, planned) => {
    const columns = await runGrid(passes, { ...request, planned });
    expect(columns.map(column => column.planned.target.name)).toEqual(['xa', 'xb', 'xc', 'xd']);
    for (const [i, column] of columns.entries()) {
      const { paired, flipRate } = await passes.run(planned[i].acts);
      const effect = (language: number) =>
        effectOf(
          paired.filter(one => one.language === language),
          () => 0,
          0,
        ).value!;
      expect(column.byLanguage.map(({ value }) => value)).toEqual([0, 1, 2, 3].map(effect));
      expect(column.target.value).toBe(effect(i));
      expect(column.flipRate).toEqual(flipRate);
      const off = [0, 1, 2, 3].filter(language => language !== i);
      expect(column.worst!.effect.value).toBe(Math.max(...off.map(effect)));
      expect(column.random.draws).toBe(6);
      expect(column.byLanguage[i].null).toEqual(column.random);
      expect(column.verdict!.threshold).toBe(column.random.mean + 2 * column.random.sd);
      const [[, moved]] = [...planned[i].movedActs!];
      expect([...planned[i].movedActs!.keys()]).toEqual([1]); // the layer that was left alone
      expect(moved).toEqual(planned[i].acts.get(2));
      const sameExperts = (name: string) =>
        planned
          .find(({ target }) => target.name === name)!
          .experts.get(2)!
          .join() === planned[i].experts.get(2)!.join();
      expect(sameExperts(column.others!.name)).toBe(false);
      expect(column.sources.map(({ source }) => source)).toEqual(['toy']);
      expect(column.module).toBe(false); // one source of text is no claim
    }
  }));

test('the same seed gives the same grid, another seed other controls', () =>
  onToy(async (passes, planned) => {
    const grid = async (seed: number) =>
      JSON.stringify(
        (await runGrid(passes, { ...request, planned, seed })).map(({ byLanguage, random }) => [byLanguage, random]),
      );
    expect(await grid(1)).toBe(await grid(1));
    expect(await grid(1)).not.toBe(await grid(2));
  }));

test('an effect on others than the target: theirs is judged, and a spare target stands in for the other', () =>
  onToy(async (passes, planned) => {
    const on = { name: 'xc + xd', languages: [2, 3] };
    const [column] = await runGrid(passes, { ...request, planned: [planned[0]], on, spare: planned[1] });
    const own = column.byLanguage.map(({ value }) => value!);
    expect(column.target.value).toBeCloseTo((own[2] + own[3]) / 2, 12);
    expect(['xa', 'xb']).toContain(column.worst!.name);
    expect(column.others!.name).toBe('xb');
  }));

describe('words', () => {
  const known = [
    { code: 'zh', family: 'Sino-Tibetan' },
    { code: 'de', family: 'Indo-European' },
    { code: 'hi', family: 'Indo-European' },
  ] as Language[];

  test('targets', () => {
    expect(familiesOf(known)).toEqual([
      { name: 'Sino-Tibetan', languages: [0] },
      { name: 'Indo-European', languages: [1, 2] },
    ]);
    expect(readTargets('families', known)).toEqual(familiesOf(known));
    expect(readTargets('DE, indo-european', known)).toEqual([
      { name: 'de', languages: [1] },
      { name: 'Indo-European', languages: [1, 2] },
    ]);
    expect(() => readTargets('de,xx', known, '--on')).toThrow(
      '--on xx: there is no such language or family; choose from Sino-Tibetan, Indo-European, or codes such as zh.',
    );
  });

  test('layers: bands and numbers', () => {
    const eight = [0, 1, 2, 3, 4, 5, 6, 7];
    expect(['all', 'early', 'middle', 'late'].map(words => readLayers(words, eight))).toEqual([
      eight,
      [0, 1],
      [2, 3, 4, 5],
      [6, 7],
    ]);
    expect(['early', 'middle', 'late'].map(words => readLayers(words, [0, 1, 2, 3, 4, 5]))).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(['early', 'late'].map(words => readLayers(words, [4, 5]))).toEqual([[4], [5]]);
    expect(readLayers('6,4-5,4', [4, 5, 6])).toEqual([4, 5, 6]);
    expect(() => readLayers('3-4', [4, 5])).toThrow('--layers 3-4: layer 3 has no experts; MoE layers are 4, 5.');
    for (const wrong of ['middle', 'top', '5-4', '', '1-99999999'])
      expect(() => readLayers(wrong, [4, 5])).toThrow(/is not understood; write all, early, late, or numbers/);
  });

  test('experts: everywhere, or by layer', () => {
    expect([...readExperts('2,0', [4, 5])]).toEqual([
      [4, [0, 2]],
      [5, [0, 2]],
    ]);
    expect([...readExperts('4:0,2;5:1', [4, 5])]).toEqual([
      [4, [0, 2]],
      [5, [1]],
    ]);
    expect(() => readExperts('best', [4])).toThrow(
      /--experts best is not understood; write difference, own, exclusive/,
    );
    expect(() => readExperts('6:1', [4, 5])).toThrow('--experts 6:1: layer 6 is not among 4, 5.');
    expect(() => readExperts('4:', [4])).toThrow(/is not understood/);
  });
});

describe('tables', () => {
  const effect = (value: number, low: number, high: number) => ({
    ...{ value, low, high, documents: 40, method: 'bootstrap' as const },
  });
  const nulls = { mean: 0.01, sd: 0.02, draws: 20 };
  const column = (module: boolean): GridColumn => ({
    planned: {
      ...{
        target: { name: 'Sino-Tibetan', languages: [0] },
        experts: new Map([
          [4, [5]],
          [5, [2, 3]],
        ]),
      },
      ...{ acts: new Map(), randomActs: () => new Map(), movedActs: null, load: () => 0 },
    },
    flipRate: new Map([
      [4, 0.1],
      [5, 0.3],
    ]),
    byLanguage: [
      { language: 0, ...effect(0.3, 0.2, 0.4), null: nulls },
      { language: 1, ...effect(-0.0001, -0.001, 0.001), null: nulls },
    ],
    ...{ target: effect(0.3, 0.2, 0.4), random: nulls, randomLoad: 0.2 },
    worst: { name: 'Indo-European', effect: effect(0, -0.001, 0.001) },
    verdict: { threshold: 0.05, points: true, intervals: module },
    sources: ['quiz', 'udhr'].map(source => ({ source, points: module })),
    ...{ module, moved: null, others: null },
  });
  const said = (module: boolean, verb: string) =>
    describeGrid(
      [column(module)],
      [
        { code: 'zh', family: 'Sino-Tibetan' },
        { code: 'de', family: 'Indo-European' },
      ] as Language[],
      verb,
    )
      .join('\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
      .replace(/\x1b\[\d+m/g, '');

  test('a cell has its sign, its star and its place; controls and verdict follow', () => {
    const text = said(true, 'ablate');
    expect(text).toContain('zh    Sino-Tibetan   [+0.300*]');
    expect(text).toContain('de    Indo-European    0.000');
    expect(text).toMatch(
      /Sino-Tibetan +4:5 5:2\+3 +20 % +\+0\.300 \[\+0\.200, \+0\.400\] +\+0\.010 ± 0\.020 +– +– + 0\.000 Indo-European/,
    );
    expect(text).toContain(
      'Sino-Tibetan: a module: +0.300 [+0.200, +0.400] on the target, random mean + 2σ +0.050 (20 draws)',
    );
    expect(text).toContain('also in quiz and udhr alone.');
    expect(said(false, 'ablate')).toContain('no module; the rule holds for the points and not for their intervals');
    expect(said(true, 'steer')).toContain(
      '+14.5 σ from random experts; worst elsewhere 0.000 on Indo-European; 1 of 2 languages better.',
    );
  });
});

describe('planted effects', () => {
  const usage = { ...{ numExperts: 6, k: 2, layers: [0] }, sums: new Map([[0, [0, 1, 2].map(evenSums)]]) };
  const three = [0, 1, 2].map(language => ({ name: 'abc'[language], languages: [language] }));
  const random = seedrandom('planted');
  const texts = [0, 1, 2].flatMap(language =>
    Array.from({ length: 40 }, (_, i) => ({
      language,
      item: `${i}`,
      source: i % 2 === 0 ? 'even' : 'odd',
      bytes: 100,
    })),
  );

  function evenSums() {
    const row = () => new Float64Array(6).fill(10);
    return { tokens: 30, chosen_E: row(), first_E: row(), gate_E: row(), firstGate_E: row() };
  }

  /** Masking expert 0 costs language e `costs[e]` nats per document, any other expert a little of either sign. */
  const planted = (costs: number[]): Passes => ({
    plain: new Float64Array(texts.length),
    run: async acts => {
      const [[act]] = acts.values();
      const hit = act.kind === 'mask' && act.experts.includes(0);
      const paired = texts.map(text => ({ ...text, difference: (hit ? costs[text.language] : 0) + random() - 0.5 }));
      return { paired, flipRate: new Map([[0, 0.5]]) };
    },
  });
  const verdictOn = async (costs: number[]) => {
    const plan = planExperts(usage, three[0], new Map([[0, [0]]]), 'mask', 0);
    const [column] = await runGrid(planted(costs), { ...request, units: three, languages: [0, 1, 2], planned: [plan] });
    return column;
  };

  test('experts that serve one language alone are its module, in all and in each source of text', async () => {
    const { module, sources, verdict, worst } = await verdictOn([20, 1, 2]);
    expect(module).toBe(true);
    expect(verdict).toMatchObject({ points: true, intervals: true });
    expect(sources).toEqual(['even', 'odd'].map(source => ({ source, points: true })));
    expect(worst!.name).toBe('c');
  });

  test('experts that serve another language half as much, or nobody, are none', async () => {
    expect(await verdictOn([20, 1, 10])).toMatchObject({
      module: false,
      verdict: { points: false },
      worst: { name: 'c' },
    });
    expect(await verdictOn([0, 0, 0])).toMatchObject({ module: false });
  });
});
