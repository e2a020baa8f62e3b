// Frequencies by hand: d = 8 and θ = 16 give 1, 1/2, 1/4, 1/8 radians per position.
import { expect, test } from 'vitest';
import { ropeFrequencies } from '../../src/model/rope-frequencies.ts';
import type { RopeScaling } from '../../src/model/spec.ts';
import { toySpec } from './toy.ts';

const { decoder } = toySpec();
const frequencies = (rope_scaling: RopeScaling | null) =>
  Array.from(ropeFrequencies({ rope_theta: 16, decoder: { ...decoder, head_dim: 8, rope_scaling } }));
const scaling = {
  factor: 4,
  low_freq_factor: 1,
  high_freq_factor: 3,
  original_max_position_embeddings: 2 * Math.PI * 8,
};

test('plain and linear', () => {
  expect(frequencies(null)).toEqual([1, 1 / 2, 1 / 4, 1 / 8]);
  expect(frequencies({ ...scaling, rope_type: 'linear' })).toEqual([1 / 4, 1 / 8, 1 / 16, 1 / 32]);
});

test('llama3: 8 and 4 turns in the original length are kept, 2 are half-way, 1 is stretched', () => {
  const [a, b, c, d] = frequencies({ ...scaling, rope_type: 'llama3' });
  expect([a, b]).toEqual([1, 1 / 2]);
  expect(c).toBeCloseTo((1 / 4 + 1 / 16) / 2, 12);
  expect(d).toBeCloseTo(1 / 32, 12);
});
