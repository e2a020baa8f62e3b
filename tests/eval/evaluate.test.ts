// Held-out losses: each document's own, whatever it is evaluated with.
import { beforeAll, describe, expect, test } from 'vitest';
import type { TokenDocument } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import {
  type DocumentLoss,
  documentLosses,
  type EvaluateOptions,
  lossesByLanguage,
  sampleByLanguage,
} from '../../src/eval/evaluate.ts';
import { disposeModel, type Model } from '../../src/model/weights.ts';
import { EOS, logitsOf, sequenceInput, toyDocuments, toyMap, toyModel } from '../model/toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const documents = toyDocuments([8, 14, 12, 25, 1, 30, 5, 24, 2]);
const shape = { batch: 2, sequence: 16, padId: EOS };

/** Losses and, per document and layer, all chosen experts in the order of its tokens. */
async function evaluate(
  model: Model,
  list: TokenDocument[],
  options: Pick<EvaluateOptions, 'mode'> & Partial<EvaluateOptions>,
) {
  const chosen = new Map<string, number[]>();
  const losses = await documentLosses(model, list, toyMap.languages, {
    ...shape,
    ...options,
    onRouting: ({ layer, expertId_TK, k }, batch) => {
      batch.document_BS.forEach((document, t) => {
        if (document < 0) return;
        const key = `${list[document].id} layer ${layer} window ${batch.inputId_BS[t]} ${batch.position_BS[t]}`;
        chosen.set(key, [...(chosen.get(key) ?? []), ...expertId_TK.subarray(t * k, (t + 1) * k)]);
      });
    },
  });
  return { losses, chosen };
}

describe.each(['free', 'forced'] as const)('document losses, %s', mode => {
  test('do not depend on order, batch size or neighbours, and neither does the routing', async () => {
    const model = toyModel();
    const one = await evaluate(model, documents, { mode });
    const reversed = documents.toReversed();
    const other = await evaluate(model, reversed, { mode, batch: 5 });
    one.losses.forEach(({ nats, tokens }, d) => {
      const twin = other.losses[reversed.indexOf(documents[d])];
      expect(twin.tokens).toBe(tokens);
      expect(Math.abs(twin.nats - nats)).toBeLessThan(1e-6 * Math.max(1, nats));
    });
    expect(other.chosen.size).toBe(one.chosen.size);
    expect(Object.fromEntries(other.chosen)).toEqual(Object.fromEntries(one.chosen));
    disposeModel(model);
  });

  test('are −Σ log softmax(logits)[next id], each id but the first once', async () => {
    const model = toyModel();
    const short = documents.filter(({ ids }) => ids.length <= 16);
    const { losses } = await evaluate(model, short, { mode });
    short.forEach(({ ids, language }, d) => {
      const logits = logitsOf(model, sequenceInput(ids, 0, mode === 'free' ? null : language), { mode });
      const nats = [...ids.subarray(1)].map(
        (id, t) => Math.log(logits[t].reduce((sum, z) => sum + Math.exp(z), 0)) - logits[t][id],
      );
      expect(losses[d].tokens).toBe(ids.length - 1);
      expect(losses[d].nats).toBeCloseTo(
        nats.reduce((a, b) => a + b, 0),
        4,
      );
    });
    disposeModel(model);
  });
});

test('language ids change the losses where they are used, and the ends of the progress are told', async () => {
  const model = toyModel();
  const done: string[] = [];
  const free = await evaluate(model, documents, { mode: 'free', onBatch: (n, total) => done.push(`${n}/${total}`) });
  const forced = await evaluate(model, documents, { mode: 'forced' });
  expect(Math.abs(free.losses[3].nats - forced.losses[3].nats)).toBeGreaterThan(0.01);
  expect(done).toEqual(done.map((_, i) => `${i + 1}/${done.length}`));
  expect(done.length).toBeGreaterThan(2);
  disposeModel(model);
});

test('by language: sums, and 0 for a language without text', () => {
  const list = toyDocuments([3, 4, 5]).map((document, i) => ({ ...document, language: [0, 2, 0][i] }));
  const losses: DocumentLoss[] = [
    { nats: 4, tokens: 2 },
    { nats: 9, tokens: 3 },
    { nats: 1, tokens: 4 },
  ];
  expect(lossesByLanguage(losses, list, toyMap.languages, ({ ids }) => 10 * ids.length)).toEqual([
    { code: 'xa', family: 'family a', nats: 5, tokens: 6, bytes: 80 },
    { code: 'xb', family: 'family b', nats: 0, tokens: 0, bytes: 0 },
    { code: 'xc', family: 'family c', nats: 9, tokens: 3, bytes: 40 },
    { code: 'xd', family: 'family d', nats: 0, tokens: 0, bytes: 0 },
  ]);
});

test('a sample: whole documents up to the limit per language, the first always', () => {
  // Languages in turn: 0 has 50 and 10 tokens, 1 has 20, 15 and 10.
  const lengths: [number, number][] = [
    [0, 50],
    [1, 20],
    [0, 10],
    [1, 15],
    [1, 10],
  ];
  const list = toyDocuments(lengths.map(([, length]) => length)).map((document, i) => ({
    ...document,
    language: lengths[i][0],
  }));
  expect(sampleByLanguage(list, 30).map(({ index }) => index)).toEqual([0, 1, 4]);
  expect(sampleByLanguage(list, 35).map(({ index }) => index)).toEqual([0, 1, 3]);
});
