// What a token may depend on: its own document and nothing else, whatever it was packed with and however it was computed.
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { RouterKind } from '../../routing/types.ts';
import type { Batch, TokenDocument } from '../../src/data/types.ts';
import { createCache } from '../../src/model/kv-cache.ts';
import { type TokenInput, tokenInput } from '../../src/model/token-input.ts';
import { disposeModel, type Model } from '../../src/model/weights.ts';
import { backends, rowBitBackends, use } from '../engine/backends.ts';
import {
  difference,
  EOS,
  logitsOf,
  sequenceInput,
  toyBatches,
  toyDocuments,
  toyExperts,
  toyMap,
  toyModel,
  VOCABULARY,
} from './toy.ts';

const documents = toyDocuments([5, 9, 3, 12, 7, 2, 11]);
const FORCED = { mode: 'forced' } as const;

/** The batch's logits, gathered by document: [document][position][V]. */
function byDocument(model: Model, batches: Batch[], count: number): number[][][] {
  const out: number[][][] = Array.from({ length: count }, () => []);
  for (const batch of batches) {
    const logits = logitsOf(model, tokenInput(batch, toyExperts), FORCED);
    batch.document_BS.forEach((document, t) => {
      if (document >= 0) out[document].push(logits[t]);
    });
  }
  return out;
}
/** Every bit, or all but the last ones on backends whose bits depend on what a row is computed with. */
function expectSame(backend: (typeof backends)[number], found: number[][][], expected: number[][][]): void {
  if (rowBitBackends.includes(backend)) expect(found).toEqual(expected);
  else expect(difference(found.flat(2), expected.flat(2))).toBeLessThan(1e-5);
}
const alone = (model: Model, list: TokenDocument[]): number[][][] =>
  list.map(({ ids, language }) => logitsOf(model, sequenceInput(ids, 0, toyMap.languages[language].expert), FORCED));

describe.each(backends)('documents on %s', backend => {
  beforeEach(async () => void (await use(backend)));

  test('a packed document has the logits that it has alone, every bit', () => {
    const model = toyModel();
    const packed = byDocument(model, toyBatches(documents, 2, 24), documents.length);
    expect(packed.map(rows => rows.length)).toEqual(documents.map(({ ids }) => ids.length));
    expectSame(backend, packed, alone(model, documents));
    disposeModel(model);
  });

  test('packed with one causal mask, the first document of a row is as alone and the others are not', () => {
    const model = toyModel();
    const batches = toyBatches(documents, 2, 24, 'concatenated');
    const packed = byDocument(model, batches, documents.length);
    const single = alone(model, documents);
    const firsts = new Set(batches.flatMap(({ document_BS }) => [document_BS[0], document_BS[24]]));
    documents.forEach((_, d) => {
      const apart = difference(packed[d].flat(), single[d].flat());
      if (firsts.has(d)) expect(apart, `document ${d}`).toBeLessThan(1e-5);
      else expect(apart, `document ${d}`).toBeGreaterThan(0.1);
    });
    disposeModel(model);
  });

  test.each([
    ['hybrid-k', null],
    ['top-k', null],
    ['expert-choice', null],
    ['hash', null],
    ['hybrid-k', 0.5],
  ] as [RouterKind, number | null][])(
    '%s with capacity %s: what stands on padding changes no bit of a real token',
    (kind, capacity) => {
      const model = toyModel({ router: { kind }, model: { capacity_factor: capacity } });
      const mode = kind === 'hybrid-k' ? 'forced' : 'free';
      const batch = toyBatches(toyDocuments([7, 14, 6]), 2, 20)[0];
      const tokens = tokenInput(batch, toyExperts);
      const padding = tokens.counted_T.map(counted => 1 - counted);
      expect(padding.reduce((sum, p) => sum + p, 0)).toBe(13);
      const other: TokenInput = {
        ...tokens,
        id_T: tokens.id_T.map((id, t) => (padding[t] ? (17 * t) % EOS : id)),
        position_T: tokens.position_T.map((position, t) => (padding[t] ? 3 + t : position)),
        languageExpert_T: tokens.languageExpert_T!.map((expert, t) => (padding[t] ? t % 4 : expert)),
      };
      const real = (rows: number[][]) => rows.filter((_, t) => padding[t] === 0);
      expect(real(logitsOf(model, other, { mode }))).toEqual(real(logitsOf(model, tokens, { mode })));
      disposeModel(model);
    },
  );

  test.each([1, 2, 17])('with a cache, a prompt of %i and 6 more tokens have the logits of one full pass', prompt => {
    const model = toyModel();
    const { full, slice } = leftPaddedBatch(prompt + 6);
    const expected = logitsOf(model, full, FORCED);
    const cache = createCache(model.spec.num_hidden_layers);
    const found: number[][] = [];
    const steps = [[0, prompt], ...Array.from({ length: 6 }, (_, i) => [prompt + i, prompt + i + 1])];
    for (const [from, to] of steps) {
      const { tokens, places } = slice(from, to);
      logitsOf(model, tokens, { ...FORCED, cache }).forEach((row, i) => {
        found[places[i]] = row;
      });
    }
    cache.dispose();
    const real = (rows: number[][]) => rows.filter((_, t) => full.segment_T[t] >= 0);
    expect(real(found).length).toBe(3 * (prompt + 6) - Math.min(4, prompt));
    expect(difference(real(found).flat(), real(expected).flat())).toBeLessThan(1e-5);
    const best = (rows: number[][]) => real(rows).map(row => row.indexOf(Math.max(...row)));
    expect(best(found)).toEqual(best(expected));
    disposeModel(model);
  });
});

test.each(backends)(
  'whatever the lengths, rows and row length, a packed document has the bits that it has alone, on %s',
  async backend => {
    await use(backend);
    const model = toyModel();
    const lengths = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(
        lengths,
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 10, max: 20 }),
        (sizes, rows, sequence) => {
          const list = toyDocuments(sizes, sizes.join());
          expectSame(backend, byDocument(model, toyBatches(list, rows, sequence), list.length), alone(model, list));
        },
      ),
      { numRuns: 15, seed: 50 },
    );
    disposeModel(model);
  },
);

/** Three sequences, the last one with up to four positions of padding on its left, and any columns of them. */
function leftPaddedBatch(S: number) {
  const B = 3;
  const padding = Math.min(4, S - 6);
  const padded = (t: number) => Math.floor(t / S) === B - 1 && t % S < padding;
  const full: TokenInput = {
    batch: B,
    sequence: S,
    id_T: Int32Array.from({ length: B * S }, (_, t) => (t * 29 + 7 * Math.floor(t / S)) % VOCABULARY),
    position_T: Int32Array.from({ length: B * S }, (_, t) => (t < 2 * S ? t % S : Math.max(0, (t % S) - padding))),
    segment_T: Int32Array.from({ length: B * S }, (_, t) => (padded(t) ? -1 : 0)),
    languageExpert_T: Int32Array.from({ length: B * S }, (_, t) => (padded(t) ? -1 : Math.floor(t / S))),
    counted_T: Uint8Array.from({ length: B * S }, (_, t) => (padded(t) ? 0 : 1)),
  };
  const slice = (from: number, to: number) => {
    const places = Array.from({ length: B * (to - from) }, (_, i) => {
      return Math.floor(i / (to - from)) * S + from + (i % (to - from));
    });
    const tokens: TokenInput = {
      batch: B,
      sequence: to - from,
      id_T: Int32Array.from(places, t => full.id_T[t]),
      position_T: Int32Array.from(places, t => full.position_T[t]),
      segment_T: Int32Array.from(places, t => full.segment_T[t]),
      languageExpert_T: Int32Array.from(places, t => full.languageExpert_T![t]),
      counted_T: Uint8Array.from(places, t => full.counted_T[t]),
    };
    return { tokens, places };
  };
  return { full, slice };
}
