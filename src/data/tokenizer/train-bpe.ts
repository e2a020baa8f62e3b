// Byte-pair encoding learned from weighted words (Sennrich et al. 2016, https://aclanthology.org/P16-1162): join the
// heaviest neighbouring pair, everywhere, until the vocabulary is full. Ties: the pair of lower ids (left, then right).
// Pair weights are kept up to date at the places that a merge touches; a heap with stale entries finds the heaviest.
// Shapes: words lie end to end in symbol_N; word w is symbol_N[start_W[w] … start_W[w] + length_W[w]).
import { UserError } from '../../errors.ts';
import type { Merge } from './byte-level.ts';
import { BYTE_TO_CHARACTER } from './byte-level.ts';
import type { WeightedWord } from './count.ts';
import { PairHeap } from './pair-heap.ts';

/** Longest run that is learned from in one piece: Thai, Lao and Chinese write whole sentences without a space. */
const LONGEST_WORD_BYTES = 64;

interface Words {
  symbol_N: Int32Array;
  start_W: Int32Array;
  length_W: Int32Array;
  weight_W: Float64Array;
}

/**
 * Learns `mergeCount` merges; merge i makes the token of id 256 + i. Pure: the same words, the same merges.
 * No token is made twice: what lies inside a token's ends is joined in the same way wherever it stands.
 */
export function trainBpe(words: readonly WeightedWord[], mergeCount: number): Merge[] {
  const text = layOut(words);
  const pairs = countPairs(text, 256 + mergeCount);
  const tokens = [...BYTE_TO_CHARACTER];
  const merges: Merge[] = [];
  while (merges.length < mergeCount) {
    const pair = pairs.takeHeaviest();
    if (pair === null) throw tooSmall(tokens.length, 256 + mergeCount);
    const merge = { left: tokens[pair.left], right: tokens[pair.right] };
    const id = tokens.push(merge.left + merge.right) - 1;
    merges.push(merge);
    for (const w of pair.words) mergeInWord(text, w, pair.left, pair.right, id, pairs);
    pairs.queueGrown();
  }
  return merges;
}

const tooSmall = (reached: number, wanted: number) =>
  new UserError(
    `the text gives a vocabulary of ${reached + 1} tokens at most, but ${wanted + 1} were asked for: ` +
      `set tokenizer.vocab_size to ${reached + 1} or less, or add text`,
  );

function countPairs(text: Words, vocabSize: number): PairTable {
  const pairs = new PairTable(vocabSize);
  for (let w = 0; w < text.start_W.length; w++) {
    for (let i = text.start_W[w] + 1; i < text.start_W[w] + text.length_W[w]; i++) {
      pairs.add(text.symbol_N[i - 1], text.symbol_N[i], text.weight_W[w], w);
    }
  }
  pairs.queueGrown();
  return pairs;
}

/** Bytes of all words, long ones cut at the last whole character that fits. */
function layOut(words: readonly WeightedWord[]): Words {
  const pieces: { bytes: Uint8Array; weight: number }[] = [];
  for (const { word, weight } of words) {
    const bytes = Buffer.from(word);
    for (let start = 0; start < bytes.length; ) {
      let end = Math.min(bytes.length, start + LONGEST_WORD_BYTES);
      while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
      pieces.push({ bytes: bytes.subarray(start, end), weight });
      start = end;
    }
  }
  const total = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const text: Words = {
    symbol_N: new Int32Array(total),
    start_W: new Int32Array(pieces.length),
    length_W: Int32Array.from(pieces, ({ bytes }) => bytes.length),
    weight_W: Float64Array.from(pieces, ({ weight }) => weight),
  };
  let at = 0;
  pieces.forEach(({ bytes }, w) => {
    text.start_W[w] = at;
    text.symbol_N.set(bytes, at);
    at += bytes.length;
  });
  return text;
}

/** Joins left+right into `id` in one word, from the left, and moves the word's weight from the pairs that went to those that came. */
function mergeInWord(text: Words, w: number, left: number, right: number, id: number, pairs: PairTable): void {
  const { symbol_N } = text;
  const start = text.start_W[w];
  const end = start + text.length_W[w];
  const weight = text.weight_W[w];
  let write = start;
  let previousMerged = false;
  for (let read = start; read < end; ) {
    const merged = symbol_N[read] === left && read + 1 < end && symbol_N[read + 1] === right;
    const symbol = merged ? id : symbol_N[read];
    if (merged || previousMerged) {
      // Writing trails reading, so symbol_N[read − 1] is still the old neighbour.
      if (read > start) pairs.subtract(symbol_N[read - 1], symbol_N[read], weight);
      if (write > start) pairs.add(symbol_N[write - 1], symbol, weight, w);
    }
    if (merged) pairs.subtract(left, right, weight);
    symbol_N[write++] = symbol;
    read += merged ? 2 : 1;
    previousMerged = merged;
  }
  text.length_W[w] = write - start;
}

interface Pair {
  left: number;
  right: number;
  /** Words that held the pair at some time; those that lost it since are simply scanned in vain. */
  words: number[];
}

/** Every pair's weight and words, and the queue that finds the heaviest. */
class PairTable {
  private readonly stride: number;
  private readonly indexOf = new Map<number, number>();
  private readonly pairs: Pair[] = [];
  private readonly weights: number[] = [];
  private grown = new Set<number>();
  private readonly heap = new PairHeap();

  constructor(vocabSize: number) {
    this.stride = vocabSize;
  }

  add(left: number, right: number, weight: number, word: number): void {
    const key = left * this.stride + right;
    let index = this.indexOf.get(key);
    if (index === undefined) {
      index = this.pairs.push({ left, right, words: [] }) - 1;
      this.weights.push(0);
      this.indexOf.set(key, index);
    }
    this.weights[index] += weight;
    const { words } = this.pairs[index];
    if (words[words.length - 1] !== word) words.push(word);
    this.grown.add(index);
  }

  subtract(left: number, right: number, weight: number): void {
    this.weights[this.indexOf.get(left * this.stride + right)!] -= weight;
  }

  /** Queues the pairs that gained weight since the last call: those of the newest token, none of them queued before. */
  queueGrown(): void {
    for (const index of this.grown) this.queue(index);
    this.grown = new Set();
  }

  /** Takes the heaviest pair out; null when no pair is left. Weights only fall after queueing, so a stale entry is too high. */
  takeHeaviest(): Pair | null {
    for (let top = this.heap.pop(); top !== null; top = this.heap.pop()) {
      if (top.weight === this.weights[top.index]) return this.pairs[top.index];
      this.queue(top.index);
    }
    return null;
  }

  private queue(index: number): void {
    const { left, right } = this.pairs[index];
    if (this.weights[index] > 0) this.heap.push(this.weights[index], left * this.stride + right, index);
  }
}
