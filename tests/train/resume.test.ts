import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configSchema } from '../../src/config/schema.ts';
import { UserError } from '../../src/errors.ts';
import { configDifferences, mayDifferOnResume, requireSameConfig } from '../../src/train/resume.ts';

const saved = { name: 'a', train: { learning_rate: 0.001, steps: 100, save_every: 10 }, model: { moe_layers: [4, 5] } };

describe('configuration on resume', () => {
  it('lists every difference by dotted path, with both values', () => {
    const wanted = {
      name: 'a',
      train: { learning_rate: 0.003, steps: 200, save_every: 20, clip: 1 },
      model: { moe_layers: [4] },
    };
    expect(configDifferences(saved, wanted).map(({ text, allowed }) => [text, allowed])).toEqual([
      ['train.learning_rate: 0.001 → 0.003', false],
      ['train.steps: 100 → 200', false],
      ['train.save_every: 10 → 20', true],
      ['train.clip: not set → 1', false],
      ['model.moe_layers.1: 5 → not set', false],
    ]);
  });

  it('a list against a word or an object, and null against an object, are one difference', () => {
    expect(configDifferences({ a: [1] }, { a: { 0: 1 } }).map(d => d.text)).toEqual(['a: [1] → {"0":1}']);
    expect(configDifferences({ a: [1] }, { a: 'all' }).map(d => d.text)).toEqual(['a: [1] → "all"']);
    expect(configDifferences({ a: null }, { a: { b: 1 } }).map(d => d.text)).toEqual(['a: null → {"b":1}']);
  });

  it('refuses in one sentence that names the checkpoint and the settings; allowed ones pass and are returned', () => {
    const wanted = { ...saved, train: { ...saved.train, learning_rate: 0.003, save_every: 20 } };
    expect(() => requireSameConfig(saved, wanted, 'runs/a/step-000100')).toThrow(UserError);
    expect(() => requireSameConfig(saved, wanted, 'runs/a/step-000100')).toThrow(
      /^runs\/a\/step-000100 was trained under another configuration \(train\.learning_rate: 0\.001 → 0\.003\): resume/,
    );
    const rarer = { ...saved, train: { ...saved.train, save_every: 20 } };
    expect(requireSameConfig(saved, rarer, 'x').map(d => d.path)).toEqual(['train.save_every']);
  });

  it('equal trees have no difference, whatever they hold; another leaf is always seen', () => {
    fc.assert(
      fc.property(fc.jsonValue(), tree => void expect(configDifferences(tree, structuredClone(tree))).toEqual([])),
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z]+$/), fc.integer(), { minKeys: 1 }),
        fc.nat(),
        (tree, pick) => {
          const key = Object.keys(tree)[pick % Object.keys(tree).length];
          expect(configDifferences(tree, { ...tree, [key]: tree[key] + 1 }).map(d => d.path)).toEqual([key]);
        },
      ),
    );
  });

  it('every path that may differ is a setting', () => {
    const config = configSchema.parse({ families: 'x.yaml' });
    for (const path of mayDifferOnResume) {
      const value = path.split('.').reduce<unknown>((tree, key) => (tree as Record<string, unknown>)[key], config);
      expect(value, path).toBeDefined();
    }
  });
});
