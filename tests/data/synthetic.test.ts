// The made-up languages: reproducible, parallel, and closer inside a family, and a sub-family, than across.
import { describe, expect, it } from 'vitest';
import { syntheticCorpus, syntheticLanguages } from '../../src/data/synthetic.ts';
import type { Document } from '../../src/data/types.ts';

const options = { seed: 5, families: [4, 5, 1, 4], items: 40 };
const { languages, corpus } = syntheticCorpus(options);

/** Trigram counts scaled to length 1, written apart from src/data/check.ts. */
function profile(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 2; i < text.length; i++) {
    const trigram = text.slice(i - 2, i + 1);
    counts.set(trigram, (counts.get(trigram) ?? 0) + 1);
  }
  const length = Math.hypot(...counts.values());
  return new Map([...counts].map(([trigram, count]) => [trigram, count / length]));
}

/** Cosine of two profiles. */
const likeness = (a: Map<string, number>, b: Map<string, number>): number =>
  [...a].reduce((sum, [trigram, x]) => sum + x * (b.get(trigram) ?? 0), 0);

describe('synthetic languages', () => {
  it('form the families asked for, an expert each', () => {
    expect(languages.map(({ code }) => code)).toEqual([
      'x0a',
      'x0b',
      'x0c',
      'x0d',
      'x1a',
      'x1b',
      'x1c',
      'x1d',
      'x1e',
      'x2a',
      'x3a',
      'x3b',
      'x3c',
      'x3d',
    ]);
    expect(languages.map(({ index }) => index)).toEqual([...languages.keys()]);
    expect(languages.map(({ expert }) => expert)).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3]);
  });

  it('are a function of the seed', () => {
    expect(syntheticCorpus(options).corpus.documents).toEqual(corpus.documents);
    expect(syntheticCorpus({ ...options, seed: 6 }).corpus.documents).not.toEqual(corpus.documents);
  });

  it('say the same things in every language: items, splits and domains are parallel', () => {
    const shape = (code: string) =>
      corpus.documents
        .filter(each => each.language === code)
        .map(({ item, split, domain }: Document) => `${item} ${split} ${domain}`);
    for (const { code } of languages) expect(shape(code)).toEqual(shape('x0a'));
    expect(new Set(corpus.documents.map(({ split }) => split)).size).toBe(3);
    expect(corpus.documents.filter(({ domain }) => domain === 'medical')).toHaveLength(10 * languages.length);
  });

  it.each([1, 2, 3, 5, 8])('are closer inside a sub-family, and inside a family, than across it (seed %i)', seed => {
    const world = { ...options, seed };
    const made = syntheticLanguages(world);
    const { documents } = syntheticCorpus(world).corpus;
    const profiles = made.map(({ language }) =>
      profile(
        documents
          .filter(each => each.language === language.code)
          .map(each => each.text)
          .join(' '),
      ),
    );
    const kinds: Record<'subfamily' | 'family' | 'strangers', number[]> = { subfamily: [], family: [], strangers: [] };
    for (const [i, a] of made.entries()) {
      let nearest = { likeness: 0, family: '' };
      for (const [j, b] of made.entries()) {
        if (i === j) continue;
        const same = a.language.family === b.language.family;
        const kind = same ? (a.subfamily === b.subfamily ? 'subfamily' : 'family') : 'strangers';
        const value = likeness(profiles[i], profiles[j]);
        kinds[kind].push(value);
        if (value > nearest.likeness) nearest = { likeness: value, family: b.language.family };
      }
      if (a.language.family !== 'family-2') expect(nearest.family, a.language.code).toBe(a.language.family);
    }
    const mean = (list: number[]) => list.reduce((sum, x) => sum + x) / list.length;
    expect(mean(kinds.subfamily)).toBeGreaterThan(mean(kinds.family) + 0.05);
    expect(mean(kinds.family)).toBeGreaterThan(mean(kinds.strangers) + 0.3);
  });
});
