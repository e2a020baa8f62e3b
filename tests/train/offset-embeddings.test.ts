// A shared direction in fresh embeddings: where it is added, what a tied head makes of it.
import { expect, test } from 'vitest';
import { initialWeights } from '../../src/model/weights.ts';
import { offsetEmbeddings } from '../../src/train/offset-embeddings.ts';
import { createRng } from '../../src/train/rng.ts';
import { toySpec } from '../model/toy.ts';

const TABLE = 'model.embed_tokens.weight';
const fresh = (length: number) => {
  const { gaussian } = createRng('fresh');
  const weights = initialWeights(toySpec(), gaussian);
  offsetEmbeddings(weights, length, gaussian);
  return { weights, next: gaussian() };
};

test('every row moves by the same vector of the asked length, and nothing else moves', () => {
  const [before, after] = [fresh(0).weights, fresh(1.5).weights];
  const [{ shape, values: was }, { values: is }] = [before.get(TABLE)!, after.get(TABLE)!];
  const D = shape[1];
  const moved = Array.from({ length: D }, (_, d) => is[d] - was[d]);
  expect(Math.hypot(...moved)).toBeCloseTo(1.5, 5);
  is.forEach((value, i) => {
    expect(value - was[i]).toBeCloseTo(moved[i % D], 5);
  });
  for (const [name, tensor] of before) if (name !== TABLE) expect(after.get(name), name).toEqual(tensor);
});

test('a tied head gives the same probabilities with it', () => {
  const [{ shape, values: was }, { values: is }] = [fresh(0).weights.get(TABLE)!, fresh(2).weights.get(TABLE)!];
  const [V, D] = shape;
  const { gaussian } = createRng('hidden');
  const h_D = Array.from({ length: D }, gaussian);
  const probabilities = (table: Float32Array) => {
    const power = Array.from({ length: V }, (_, v) =>
      Math.exp(h_D.reduce((sum, h, d) => sum + h * table[v * D + d], 0)),
    );
    const total = power.reduce((a, b) => a + b);
    return power.map(p => p / total);
  };
  const other = probabilities(is);
  for (const [v, p] of probabilities(was).entries()) expect(other[v]).toBeCloseTo(p, 6);
});

test('length 0 draws nothing, so that older seeds give the bits they gave', () => {
  const { gaussian } = createRng('fresh');
  initialWeights(toySpec(), gaussian);
  expect(fresh(0).next).toBe(gaussian());
});
