// The trace says of every routed slot whose token it was, and says nothing of padding.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Trace } from '../../routing/trace.ts';
import type { TokenDocument } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { routingCounter } from '../../src/eval/routing-counter.ts';
import { recordRouting, recordTrace } from '../../src/eval/trace.ts';
import { withUntrainedRouters } from '../../src/eval/untrained-router.ts';
import type { ObservedRouting } from '../../src/model/observed.ts';
import { createModel, disposeModel, hostTensors, type Model } from '../../src/model/weights.ts';
import { toTrace } from '../../src/trace/recorded.ts';
import {
  EOS,
  logitsOf,
  sequenceInput,
  toyBatches,
  toyDocuments,
  toyMap,
  toyModel,
  toySpec,
  toyWeights,
} from '../model/toy.ts';

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
        const rows = rowsOf(trace, first);
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

const L = 2;
const k = 2;

describe('recorded by hand', () => {
  test('rows ascend by document, position, layer and slot, whatever the windows and batches', async () => {
    const model = toyModel();
    const { columns } = await record(model, documents);
    const { document, position, layer, slot } = columns;
    const place = (i: number) => ((document[i] * 100 + position[i]) * 100 + layer[i]) * 100 + slot[i];
    for (let i = 1; i < slot.length; i++) expect(place(i)).toBeGreaterThan(place(i - 1));
    disposeModel(model);
  });

  test('special tokens are written and marked, counted nowhere; the first content token of a document apart', async () => {
    const model = toyModel();
    const list = toyDocuments([9, 7]);
    const [first, second] = list.map(({ ids }) => ids);
    first.set([3, 5], 0); // 3 is special: the first content token stands at position 1
    first[4] = EOS; // an end of text within a text is special
    second.set([5, 3, 5], 0);
    const request = {
      model,
      map: toyMap,
      documents: list,
      mode: 'free' as const,
      run: 'toy',
      modelName: 'toy',
      step: 7,
    };
    const recorded = await recordRouting(
      { ...request, trainingBytes: [1, 1, 1, 1], history: [], specialIds: new Set([3]) },
      shape,
    );
    const trace = toTrace(recorded);
    const { document, position, special } = trace.columns;
    const marked = new Set(
      Array.from(special.keys()).flatMap(i => (special[i] ? [`${document[i]} ${position[i]}`] : [])),
    );
    const known = new Set([3, EOS]);
    const expected = list.flatMap(({ ids }, d) =>
      Array.from(ids.slice(0, -1)).flatMap((id, i) => (known.has(id) ? [`${d} ${i}`] : [])),
    );
    expect([...marked]).toEqual(expected);
    expect(expected).toEqual(expect.arrayContaining(['0 0', '0 4', '1 1']));
    const total = (key: 'count' | 'first', d: number) =>
      trace.documents!.filter(row => row.document === d).reduce((sum, row) => sum + row[key], 0);
    [8, 6].forEach((tokens, d) => {
      const specials = expected.filter(place => place.startsWith(`${d} `)).length;
      expect(total('first', d)).toBe(L * k);
      expect(total('count', d)).toBe(L * k * (tokens - specials - 1));
    });
    const all = trace.counts.reduce((sum, row) => sum + row.count, 0);
    expect(all).toBe(L * k * (14 - expected.length));
    // The experts of the first content tokens are those that the slots say.
    const firsts = trace.documents!.filter(row => row.document === 0 && row.layer === 1 && row.first === 1);
    const slots = rowsOf(trace, i => document[i] === 0 && position[i] === 1 && trace.columns.layer[i] === 1);
    expect(firsts.map(row => row.expert)).toEqual(slots.map(row => row.expert).sort());
    disposeModel(model);
  });

  test('the mean softmax is that of the router over the counted tokens, the k gates among it', async () => {
    const model = toyModel({ model: { norm_topk_prob: false } });
    const list = toyDocuments([9, 30, 1, 2]); // one in windows, one of an end alone, one of a first token alone
    const request = {
      model,
      map: toyMap,
      documents: list,
      mode: 'free' as const,
      run: 'toy',
      modelName: 'toy',
      step: 7,
    };
    const asked = { ...request, trainingBytes: [1, 1, 1, 1], history: [], softmax: true };
    const { softmax } = toTrace(await recordRouting(asked, shape));
    const expected: number[][] = [];
    for (const { ids, index } of list.slice(0, 2)) {
      const sums = new Map<number, number[]>();
      for (let start = 0; start < ids.length; start += SEQUENCE)
        logitsOf(model, sequenceInput(ids.slice(start, start + SEQUENCE), 0, null), {
          mode: 'free',
          onRouting(layer, { probabilities_TE }) {
            const own = sums.get(layer) ?? [0, 0, 0, 0];
            sums.set(layer, own);
            for (const [t, row] of (probabilities_TE.arraySync() as number[][]).entries()) {
              if (start + t === 0 || start + t === ids.length - 1) continue;
              for (const [e, p] of row.entries()) own[e] += p / (ids.length - 2);
            }
          },
        });
      for (const [layer, row] of sums) expected.push(...row.map((p, expert) => [index, layer, expert, p]));
    }
    expect(softmax!.map(row => [row.document, row.layer, row.expert])).toEqual(expected.map(row => row.slice(0, 3)));
    softmax!.forEach(({ probability }, i) => {
      expect(probability).toBeCloseTo(expected[i][3], 6);
    });
    disposeModel(model);
  });

  test('a pruned layer: experts by their ids before the pruning, in slots and softmax', async () => {
    const spec = { ...toySpec(), kept_experts: [null, [0, 2, 3], null] };
    const model = createModel(spec, toyWeights(spec));
    const list = toyDocuments([9, 12]);
    const request = {
      model,
      map: toyMap,
      documents: list,
      mode: 'free' as const,
      run: 'toy',
      modelName: 'toy',
      step: 7,
    };
    const asked = { ...request, trainingBytes: [1, 1, 1, 1], history: [], softmax: true };
    const { softmax, columns } = toTrace(await recordRouting(asked, shape));
    const chosen = new Set(columns.expert.filter((_, i) => columns.layer[i] === 1));
    expect([...chosen].sort()).toEqual([0, 2, 3]);
    const means = softmax!.filter(({ document, layer }) => document === 0 && layer === 1);
    expect(means.map(({ probability }) => probability > 0)).toEqual([true, false, true, true]);
    expect(means.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 5);
    disposeModel(model);
  });

  test('routers drawn anew: only they differ, and the model is left as it was', async () => {
    const model = toyModel();
    const short = documents.slice(0, 4);
    const before = await record(model, short);
    const weights = await hostTensors(model);
    const { model: untrained, dispose } = withUntrainedRouters(model, 5);
    const other = await record(untrained as Model, short);
    const again = withUntrainedRouters(model, 5);
    expect(await record(again.model as Model, short)).toEqual(other);
    again.dispose();
    expect(other.columns.token).toEqual(before.columns.token);
    expect(other.columns.expert).not.toEqual(before.columns.expert);
    const drawn = await hostTensors(untrained as Model);
    for (const [name, { values }] of drawn) {
      if (!name.endsWith('mlp.gate.weight')) {
        expect(values).toEqual(weights.get(name)!.values);
        continue;
      }
      const variance = values.reduce((sum, w) => sum + w * w, 0) / values.length;
      expect(Math.sqrt(variance)).toBeGreaterThan(0.012); // 64 draws
      expect(Math.sqrt(variance)).toBeLessThan(0.028);
    }
    dispose();
    expect(await record(model, short)).toEqual(before);
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
