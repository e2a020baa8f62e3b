// What the BPE trainer learns from: each distinct pre-token once, with a weight that is fair to small languages.
// A language with content n weighs n^α in all, so each of its pre-tokens weighs n^(α−1): α = 1 is the plain corpus, α = 0
// gives every language the same say, α = 0.3 is the mixture that training samples. Content n is its bytes divided by its byte
// premium (Arnett et al. 2024, arXiv:2403.00686), the bytes that it needs for what the reference language says in one:
// otherwise Lao, three bytes a letter, would count as rich. Weights are whole numbers, so sums are exact in any order.
import type { SplitName } from './byte-level.ts';
import { splitter } from './byte-level.ts';

/** One text. `item` names the parallel item that other languages have too; without it the text has no say in premiums. */
export interface LanguageText {
  language: string;
  text: string;
  item?: string;
}
export interface WeightedWord {
  word: string;
  /** Σ over languages of occurrences × weight of the language: a whole number. */
  weight: number;
}

/** Weight of one pre-token of the language that weighs most. Sums stay exact up to 2^33 pre-tokens. */
const LARGEST_WEIGHT = 2 ** 20;

/** Distinct pre-tokens of the NFC text with their weights, sorted by text (so that input order cannot matter). */
export function countWords(texts: readonly LanguageText[], split: SplitName, alpha: number): WeightedWord[] {
  const normal = texts.map(text => ({ ...text, text: text.text.normalize('NFC') }));
  const weights = languageWeights(contentSizes(normal), alpha);
  const cut = splitter(split);
  const total = new Map<string, number>();
  for (const { language, text } of normal) {
    const weight = weights.get(language) ?? 0;
    for (const word of cut(text)) total.set(word, (total.get(word) ?? 0) + weight);
  }
  return [...total].map(([word, weight]) => ({ word, weight })).sort((a, b) => (a.word < b.word ? -1 : 1));
}

/** Weight per pre-token of each language, 1…2^20: in the ratios n^(α−1), rounded. Languages without content have none. */
export function languageWeights(content: ReadonlyMap<string, number>, alpha: number): Map<string, number> {
  const some = [...content].filter(([, size]) => size > 0);
  const smallest = some.reduce((least, [, size]) => Math.min(least, size), Number.POSITIVE_INFINITY);
  const weightOf = (size: number) => Math.max(1, Math.round(LARGEST_WEIGHT * (size / smallest) ** (alpha - 1)));
  return new Map(some.map(([language, size]) => [language, weightOf(size)]));
}

/** Bytes ÷ byte premium per language. The reference, premium 1, is the language with most items, the first by code among equals;
 *  a language that shares no item with it has premium 1 too. */
export function contentSizes(texts: readonly LanguageText[]): Map<string, number> {
  const bytes = new Map<string, number>();
  const items = new Map<string, Map<string, number>>();
  for (const { language, text, item } of texts) {
    const size = Buffer.byteLength(text);
    bytes.set(language, (bytes.get(language) ?? 0) + size);
    if (item === undefined) continue;
    const own = items.get(language) ?? new Map<string, number>();
    items.set(language, own.set(item, (own.get(item) ?? 0) + size));
  }
  const byRichness = [...items].sort(([a, ofA], [b, ofB]) => ofB.size - ofA.size || (a < b ? -1 : 1));
  const reference = byRichness[0]?.[1];
  return new Map([...bytes].map(([language, size]) => [language, size / bytePremium(items.get(language), reference)]));
}

function bytePremium(own: ReadonlyMap<string, number> | undefined, reference: typeof own): number {
  const shared = [...(own ?? [])].filter(([item]) => reference?.has(item));
  const ownBytes = shared.reduce((sum, [, size]) => sum + size, 0);
  const referenceBytes = shared.reduce((sum, [item]) => sum + reference!.get(item)!, 0);
  return ownBytes > 0 && referenceBytes > 0 ? ownBytes / referenceBytes : 1;
}
