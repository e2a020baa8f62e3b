// The trace says of every routed slot whose token it was, and says nothing of padding.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Trace } from '../../routing/trace.ts';
import type { TokenDocument } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { routingCounter } from '../../src/eval/routing-counter.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import type { ObservedRouting } from '../../src/model/observed.ts';
import { disposeModel, type Model } from '../../src/model/weights.ts';
import { EOS, logitsOf, sequenceInput, toyBatches, toyDocuments, toyMap, toyModel } from '../model/toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const SEQUENCE = 12;
const shape = { batch: 2, sequence: SEQUENCE, padId: EOS };
/** Cut into windows of 12: the last of document 1 (2 tokens) fits into row 0 beside document 0, before its first window. */
const documents = toyDocuments([8, 14, 12, 25, 1, 30, 5, 24]);

function record(model: Model, list: TokenDocument[], mode: 'free' | 'forced' = 'free', history: Trace['counts'] = []) {
  const trainingBytes = [10, 20, 30, 0];
  const request = { model, map: toyMap, documents: list, mode, run: 'toy', modelName: 'toy/1', step: 7, trainingBytes };
  return recordTrace({ ...request, history }, shape);
}
/** Column values of the rows that `keep` says. */
const rowsOf = ({ columns }: Trace, keep: (row: number) => boolean) =>
  Array.from(columns.expert.keys())
    .filter(keep)
    .map(i => ({
      position: columns.position[i],
      token: columns.token[i],
      expert: columns.expert[i],
      gate: columns.gate[i],
    }));

/** Slots of all tokens but the last, the end of text; k is 2. */
const beforeEos = (values_TK: ArrayLike<number>) => Array.from(values_TK).slice(0, -2);

describe('trace', () => {
  test('positions count through a document over its windows, wherever these were packed', async () => {
    const model = toyModel();
    const batch = toyBatches(documents, shape.batch, shape.sequence)[0];
    expect([...batch.document_BS.subarray(0, 10)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]); // the case is there
    const trace = await record(model, documents);
    const { columns } = trace;
    for (const layer of [1, 2]) {
      documents.forEach(({ ids }, d) => {
        const first = (i: number) => columns.document[i] === d && columns.layer[i] === layer && columns.slot[i] === 0;
        const rows = rowsOf(trace, first).sort((a, b) => a.position - b.position);
        const text = ids.slice(0, -1); // the end of text is routed, never written
        expect(rows.map(row => row.position)).toEqual([...text.keys()]);
        expect(rows.map(row => row.token)).toEqual([...text]);
      });
    }
    expect(columns.expert.length).toBe(2 * 2 * documents.reduce((sum, { ids }) => sum + ids.length - 1, 0));
    expect([...new Set(columns.step)]).toEqual([7]);
    expect(columns.language).toEqual(columns.document.map(d => documents[d].language));
    disposeModel(model);
  });

  test('whatever the lengths, each row names the token that stands at its position, each position once', async () => {
    const model = toyModel({ model: { num_hidden_layers: 1, moe_layers: 'all', num_experts_per_tok: 1 } });
    const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(lengths, async sizes => {
        const list = toyDocuments(sizes, sizes.join());
        const { document, position, token } = (await record(model, list)).columns;
        const rows = [...token.keys()].map(i => `${document[i]} ${position[i]} ${token[i]}`);
        const expected = list.flatMap(({ ids }, d) => [...ids.slice(0, -1)].map((id, i) => `${d} ${i} ${id}`));
        expect(rows.sort()).toEqual(expected.sort());
      }),
      { numRuns: 25, seed: 50 },
    );
    disposeModel(model);
  });

  test.each(['free', 'forced'] as const)(
    '%s: experts and gates are those of the router for the document alone',
    async mode => {
      const model = toyModel({ model: { norm_topk_prob: false } });
      const short = toyDocuments([9, 12, 3, 7]);
      const trace = await record(model, short, mode);
      for (const { ids, index, language } of short) {
        const expected: { layer: number; expert: number[]; gate: number[] }[] = [];
        logitsOf(model, sequenceInput(ids, 0, mode === 'free' ? null : language), {
          mode,
          onRouting: (layer, { expertId_TK, gate_TK }) =>
            expected.push({ layer, expert: beforeEos(hostIntegers(expertId_TK)), gate: beforeEos(gate_TK.dataSync()) }),
        });
        for (const { layer, expert, gate } of expected) {
          const own = (i: number) => trace.columns.document[i] === index && trace.columns.layer[i] === layer;
          const rows = rowsOf(trace, own);
          expect(rows.map(row => row.expert)).toEqual(expert);
          rows.forEach((row, i) => {
            expect(row.gate).toBeCloseTo(gate[i], 6);
          });
          if (mode === 'forced') expect(new Set(expert.filter((_, i) => expert[i] === language)).size).toBe(1);
        }
      }
      disposeModel(model);
    },
  );

  test.each(['top-k', 'expert-choice'] as const)('%s: counts are the columns counted', async kind => {
    const model = toyModel({ router: { kind, train_mode: 'free' } });
    const trace = await record(model, documents);
    const { layer, language, expert } = trace.columns;
    const counted = new Map<string, number>();
    expert.forEach((e, i) => {
      const key = `${layer[i]} ${language[i]} ${e}`;
      counted.set(key, (counted.get(key) ?? 0) + 1);
    });
    const counts = trace.counts.map(row => [`${row.layer} ${row.language} ${row.expert}`, row.count] as const);
    expect(new Map(counts)).toEqual(counted);
    expect(counts.length).toBe(counted.size);
    for (const l of [1, 2]) {
      // Gates are renormalised, so a token that got an expert weighs 1.
      const served = new Set(
        [...expert.keys()]
          .filter(i => layer[i] === l)
          .map(i => `${trace.columns.document[i]} ${trace.columns.position[i]}`),
      );
      const mass = trace.counts.filter(row => row.layer === l).reduce((sum, row) => sum + row.gate, 0);
      expect(mass).toBeCloseTo(served.size, 3);
    }
    disposeModel(model);
  });

  test('earlier counts stand first, the step itself is counted anew; the header describes model and text', async () => {
    const model = toyModel();
    const row = { layer: 1, language: 0, expert: 3, count: 5, gate: 2.5 };
    const trace = await record(model, documents.slice(0, 2), 'free', [
      { step: 3, ...row },
      { step: 7, ...row },
    ]);
    expect(trace.counts[0]).toEqual({ step: 3, ...row });
    expect(trace.counts.slice(1).every(({ step }) => step === 7)).toBe(true);
    expect(trace.counts.slice(1).reduce((sum, { count }) => sum + count, 0)).toBe(2 * 2 * (22 - 2));
    const { header } = trace;
    expect(header).toMatchObject({ run: 'toy', model: 'toy/1', routing: 'free', numExperts: 4, expertsPerToken: 2 });
    expect(header).toMatchObject({ numLayers: 3, moeLayers: [1, 2], normalised: true });
    expect(header.languages.map(({ code, trainingBytes }) => [code, trainingBytes])).toEqual([
      ['xa', 10],
      ['xb', 20],
      ['xc', 30],
      ['xd', 0],
    ]);
    expect(header.documents.map(({ id, language }) => [id, language])).toEqual([
      ['toy/0', 'xa'],
      ['toy/1', 'xb'],
    ]);
    disposeModel(model);
  });
});

test('the counter by hand: two tokens, k 2, an empty slot; padding and the end of text left out', () => {
  const counter = routingCounter(EOS);
  const routing: ObservedRouting = {
    layer: 4,
    expertId_TK: Int32Array.of(2, 0, 2, -1, 1, 0, 1, 2),
    gate_TK: Float32Array.of(0.6, 0.2, 0.5, 0, 0.9, 0.1, 0.3, 0.4),
    k: 2,
  };
  const [batch] = toyBatches(toyDocuments([3]), 1, 4);
  counter.add(routing, batch);
  expect(counter.rows(9)).toEqual([
    { step: 9, layer: 4, language: 0, expert: 0, count: 1, gate: expect.closeTo(0.25, 6) },
    { step: 9, layer: 4, language: 0, expert: 2, count: 2, gate: expect.closeTo(1.75, 6) },
  ]);
});
