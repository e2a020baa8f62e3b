import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Merge } from '../../../src/data/tokenizer/byte-level.ts';
import { BYTE_TO_CHARACTER } from '../../../src/data/tokenizer/byte-level.ts';
import type { WeightedWord } from '../../../src/data/tokenizer/count.ts';
import { trainBpe } from '../../../src/data/tokenizer/train-bpe.ts';
import { UserError } from '../../../src/errors.ts';

const words = (text: string): WeightedWord[] =>
  text.split(',').map(part => ({ word: part.slice(1), weight: Number(part[0]) }));
const spelt = (merges: readonly Merge[]) => merges.map(({ left, right }) => `${left}+${right}`).join(' ');

/** BPE by its definition: count every pair anew before each merge. */
function naiveBpe(input: readonly WeightedWord[], mergeCount: number): Merge[] {
  const tokens: string[] = [...BYTE_TO_CHARACTER];
  let text = input.map(({ word, weight }) => ({ ids: [...Buffer.from(word)], weight }));
  const merges: Merge[] = [];
  while (merges.length < mergeCount) {
    const weights = new Map<string, { left: number; right: number; weight: number }>();
    for (const { ids, weight } of text) {
      for (let i = 1; i < ids.length; i++) {
        const key = `${ids[i - 1]} ${ids[i]}`;
        weights.set(key, { left: ids[i - 1], right: ids[i], weight: (weights.get(key)?.weight ?? 0) + weight });
      }
    }
    const [best] = [...weights.values()].sort((a, b) => b.weight - a.weight || a.left - b.left || a.right - b.right);
    if (best === undefined) return merges;
    const id = tokens.push(tokens[best.left] + tokens[best.right]) - 1;
    merges.push({ left: tokens[best.left], right: tokens[best.right] });
    text = text.map(({ ids, weight }) => {
      const joined: number[] = [];
      for (let i = 0; i < ids.length; i++) {
        const joins = ids[i] === best.left && ids[i + 1] === best.right;
        joined.push(joins ? id : ids[i]);
        if (joins) i++;
      }
      return { ids: joined, weight };
    });
  }
  return merges;
}

describe('trainBpe', () => {
  it('learns the merges worked out by hand', () => {
    // low ×5, lower ×2, newest ×6, widest ×3: e+s 9, s+t 9 (e before s), then es+t 9, l+o 7, lo+w 7;
    // at 6 e+w comes before n+e and w+est; n+ew before ew+est, because n is the lower id on the left.
    const merges = trainBpe(words('5low,2lower,6newest,3widest'), 7);
    expect(spelt(merges)).toBe('e+s es+t l+o lo+w e+w n+ew new+est');
  });
  it('counts a run of one letter from the left', () => {
    // aaaa ×1 and aaab ×1: a+a weighs 3 + 2; then aa|aa and aa|a|b: aa+aa 1, aa+a 1, a+b 1: the lowest ids first.
    expect(spelt(trainBpe(words('1aaaa,1aaab'), 4))).toBe('a+a a+b aa+aa aa+ab');
  });
  it('prefers weight to frequency', () => {
    expect(spelt(trainBpe(words('1xy,1xyz,3pq'), 1))).toBe('p+q');
    expect(spelt(trainBpe(words('1xy,1xyz,2pq'), 2))).toBe('p+q x+y');
  });
  it('gives what the definition gives, on any small text', () => {
    const word = fc.record({
      word: fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é'), maxLength: 16 }),
      weight: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), fc.integer({ min: 1, max: 30 }), (text, count) => {
        const expected = naiveBpe(text, count);
        expect(trainBpe(text, expected.length)).toEqual(expected);
        expect(new Set(expected.map(({ left, right }) => left + right)).size).toBe(expected.length);
        if (expected.length < count) expect(() => trainBpe(text, count)).toThrow(UserError);
      }),
      { numRuns: 400 },
    );
  });
  it.each([
    ['at 64 bytes', `${'x'.repeat(63)}cd`, [`${'x'.repeat(63)}c`, 'd']],
    ['never inside a character', `${'ก'.repeat(21)}ข`, ['ก'.repeat(21), 'ข']],
  ])('cuts long words %s', (_, word, pieces) => {
    const expected = naiveBpe(
      pieces.map(piece => ({ word: piece, weight: 1 })),
      100,
    );
    expect(trainBpe([{ word, weight: 1 }], expected.length)).toEqual(expected);
    expect(() => trainBpe([{ word, weight: 1 }], expected.length + 1)).toThrow(UserError);
  });
  it('says how large the vocabulary may be', () => {
    expect(() => trainBpe(words('1ab'), 5)).toThrow(
      'the text gives a vocabulary of 258 tokens at most, but 262 were asked for: set tokenizer.vocab_size to 258 or less, or add text',
    );
  });
});
