// The likeness of languages in a layer: one product of sums is the mean over all pairs of tokens, on vectors and in a model.
import seedrandom from 'seedrandom';
import { beforeAll, expect, test } from 'vitest';
import { addVector, layerSimilarity, meanPairCosine, type VectorSum } from '../../src/intervene/layer-similarity.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import { disposeModel } from '../../src/model/weights.ts';
import { use } from '../engine/backends.ts';
import { EOS, tidied, toyBatches, toyDocuments, toyMap, toyModel } from '../model/toy.ts';

beforeAll(() => use('wasm').then(() => undefined));

const cosine = (x: number[], y: number[]): number =>
  x.reduce((sum, value, i) => sum + value * y[i], 0) / (Math.hypot(...x) * Math.hypot(...y));
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const allPairs = (a: number[][], b: number[][]): number => mean(a.flatMap(x => b.map(y => cosine(x, y))));

test('all pairs in one product; zeros count and add nothing', () => {
  const random = seedrandom('pairs');
  const tokens = (count: number) =>
    Array.from({ length: count }, () => Array.from({ length: 5 }, () => random() - 0.3));
  const [a, b] = [tokens(7), tokens(9)];
  const [left, right] = [a, b].map(list => {
    const sum: VectorSum = { sum_D: new Float64Array(5), tokens: 0 };
    for (const x of list) addVector(sum, x, null, true);
    return sum;
  });
  const brute = allPairs(a, b);
  expect(meanPairCosine(left, right)).toBeCloseTo(brute, 12);
  addVector(left, [0, 0, 0, 0, 0], null, true);
  expect(meanPairCosine(left, right)).toBeCloseTo((brute * 7) / 8, 12);
});

test('in a model: mean over pairs of languages, as it is and without the common mean', async () => {
  const model = toyModel();
  const documents = toyDocuments([6, 9, 7, 8]);
  const shape = { batch: 4, sequence: 12, padId: EOS, mode: 'free' as const };
  const found = await layerSimilarity(model, documents, toyMap.languages, shape);
  const [batch] = toyBatches(documents, 4, 12);
  const inputs: number[][][][] = [];
  tidied(() => {
    forward(model, tokenInput(batch, null), {
      mode: 'free',
      onFfnInput: (layer, x_TD) => {
        const rows = x_TD.arraySync();
        const of = (language: number) =>
          rows.filter((_, t) => batch.language_BS[t] === language && batch.inputId_BS[t] !== EOS);
        inputs[layer] = [0, 1, 2, 3].map(of);
      },
    });
    return 0;
  });
  const pairsOf = (rows: number[][][]) => mean(rows.flatMap((a, i) => rows.slice(i + 1).map(b => allPairs(a, b))));
  expect(found).toHaveLength(3);
  for (const [layer, rows] of inputs.entries()) {
    const centre = rows[0][0].map((_, i) => mean(rows.map(list => mean(list.map(x => x[i])))));
    const centred = rows.map(list => list.map(x => x.map((value, i) => value - centre[i])));
    expect(found[layer].plain).toBeCloseTo(pairsOf(rows), 6);
    expect(found[layer].centred).toBeCloseTo(pairsOf(centred), 6);
  }
  disposeModel(model);
});
