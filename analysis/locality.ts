// M14, locality of routing over neighbouring tokens t, t + 1 of a document, both counted, in one layer:
//   repeat      P(first choice of t + 1 = first choice of t)          null 1/E, with the observed loads Σ_e q(e)², q of first choices
//   any         P(S_t and S_{t+1} share an expert)                    null 1 − C(E − k, k) / C(E, k)   (Mixtral, Table 5)
//   jaccard     mean |S_t ∩ S_{t+1}| / |S_t ∪ S_{t+1}|
//   …Other      the same where the two tokens differ: languages cut into small pieces repeat tokens more
// A pair never spans two documents, a token that is not counted, or a gap in positions. Mean over the pairs of a document, then
// over documents, then over languages.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';

/** Sums per document × layer; `document · L + layer`. */
export interface LocalitySums {
  /** Pairs with sets on both sides, with first choices on both sides, and both again where the tokens differ. */
  pairs: Float32Array;
  firstPairs: Float32Array;
  otherPairs: Float32Array;
  otherFirstPairs: Float32Array;
  repeat: Float32Array;
  any: Float32Array;
  jaccard: Float64Array;
  repeatOther: Float32Array;
  anyOther: Float32Array;
  /** First choices per layer × language × expert, each document weighing 1. */
  load: Float64Array;
}

/** Sums per document, 40 · D · L bytes: any choice of documents can be averaged again. */
export function localityCollector(header: TraceHeader): Collector<LocalitySums> {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k, documents } = header;
  const L = moeLayers.length;
  const cells = () => new Float32Array(documents.length * L);
  const sums: LocalitySums = {
    ...{ pairs: cells(), firstPairs: cells(), otherPairs: cells(), otherFirstPairs: cells() },
    ...{
      repeat: cells(),
      any: cells(),
      jaccard: new Float64Array(documents.length * L),
      repeatOther: cells(),
      anyOther: cells(),
    },
    load: new Float64Array(L * languages.length * E),
  };
  return {
    add(block: DocumentBlock) {
      addLoad(sums.load, block, L, languages.length, E, k);
      const { position, token, counted, expert, document } = block;
      for (let t = 0; t + 1 < counted.length; t++) {
        if (counted[t] === 0 || counted[t + 1] === 0 || position[t + 1] !== position[t] + 1) continue;
        const differs = token[t] === token[t + 1] ? 0 : 1;
        for (let l = 0; l < L; l++) {
          const [x, y] = [(t * L + l) * k, ((t + 1) * L + l) * k];
          const cell = document * L + l;
          let [sizeX, sizeY, common] = [0, 0, 0];
          for (let i = x; i < x + k; i++) {
            if (expert[i] < 0) continue;
            sizeX++;
            for (let j = y; j < y + k; j++) if (expert[j] === expert[i]) common++;
          }
          for (let j = y; j < y + k; j++) if (expert[j] >= 0) sizeY++;
          if (sizeX === 0 || sizeY === 0) continue;
          sums.pairs[cell]++;
          sums.otherPairs[cell] += differs;
          sums.jaccard[cell] += common / (sizeX + sizeY - common);
          if (common > 0) {
            sums.any[cell]++;
            sums.anyOther[cell] += differs;
          }
          if (expert[x] < 0 || expert[y] < 0) continue;
          sums.firstPairs[cell]++;
          sums.otherFirstPairs[cell] += differs;
          if (expert[x] === expert[y]) {
            sums.repeat[cell]++;
            sums.repeatOther[cell] += differs;
          }
        }
      }
    },
    finish: () => sums,
  };
}

function addLoad(load: Float64Array, block: DocumentBlock, L: number, languages: number, E: number, k: number): void {
  const { counted, expert, language } = block;
  for (let l = 0; l < L; l++) {
    let tokens = 0;
    for (let t = 0; t < counted.length; t++) if (counted[t] === 1 && expert[(t * L + l) * k] >= 0) tokens++;
    const base = (l * languages + language) * E;
    for (let t = 0; t < counted.length; t++) {
      const first = expert[(t * L + l) * k];
      if (counted[t] === 1 && first >= 0) load[base + first] += 1 / tokens;
    }
  }
}

/** P(two sets of k out of E, drawn without regard to each other, share an expert) = 1 − C(E − k, k) / C(E, k). */
export function anySharedByChance(E: number, k: number): number {
  let apart = 1;
  for (let i = 0; i < k; i++) apart *= Math.max(0, E - k - i) / (E - i);
  return 1 - apart;
}

/** Expected Jaccard similarity of two sets of k out of E drawn without regard to each other (hypergeometric overlap). */
export function jaccardByChance(E: number, k: number): number {
  const logFactorial = [0];
  for (let i = 1; i <= E; i++) logFactorial.push(logFactorial[i - 1] + Math.log(i));
  const logChoose = (n: number, m: number) => logFactorial[n] - logFactorial[m] - logFactorial[n - m];
  let mean = 0;
  for (let common = Math.max(0, 2 * k - E); common <= k; common++) {
    const p = Math.exp(logChoose(k, common) + logChoose(E - k, k - common) - logChoose(E, k));
    mean += (p * common) / (2 * k - common);
  }
  return mean;
}

const SHARES = [
  ['repeat', 'repeat', 'firstPairs'],
  ['any', 'any', 'pairs'],
  ['jaccard', 'jaccard', 'pairs'],
  ['repeatOther', 'repeatOther', 'otherFirstPairs'],
  ['anyOther', 'anyOther', 'otherPairs'],
] as const;
type Share = (typeof SHARES)[number][0];
const NAMES = [
  ...['layer', 'group', 'repeat', 'repeatNull', 'repeatUniform', 'any', 'anyNull', 'jaccard', 'jaccardNull'],
  ...['repeatOther', 'anyOther', 'documents', 'repeatLow', 'repeatHigh', 'anyLow', 'anyHigh'],
] as const;
type Row = Record<(typeof NAMES)[number], number | string | null>;

/**
 * One row per layer × language, and one over languages (`all`). repeatNull is Σ q², repeatUniform 1/E; anyNull and jaccardNull
 * are those of a uniform router. 95 % intervals of repeat and any: jackknife over blocks of items. Null without pairs.
 */
export function locality(sums: LocalitySums, header: TraceHeader): ColumnTable {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k } = header;
  const code = new Map(languages.map(({ code }, i) => [code, i]));
  const languageOf = Int32Array.from(header.documents, ({ language }) => code.get(language) ?? -1);
  const { blocks, of } = itemBlocks(header);
  const chance = { anyNull: anySharedByChance(E, k), jaccardNull: jaccardByChance(E, k), repeatUniform: 1 / E };
  const rows: Row[] = [];
  for (const [l, layer] of moeLayers.entries()) {
    const means = SHARES.map(([, sum, pairs]) => layerMeans(sums[sum], sums[pairs], l, header, languageOf, of, blocks));
    const nulls = languages.map((_, language) => squaredLoads(sums.load, (l * languages.length + language) * E, E));
    for (const group of [...languages.keys(), -1]) {
      const value = Object.fromEntries(SHARES.map(([name], i) => [name, means[i].mean(group, -1)])) as Record<
        Share,
        number | null
      >;
      const interval = (share: 0 | 1) =>
        value[SHARES[share][0]] === null
          ? { low: null, high: null }
          : blockEstimate(
              value[SHARES[share][0]]!,
              Array.from({ length: blocks }, (_, block) => means[share].without(group, block)),
            );
      const [repeat, any] = [interval(0), interval(1)];
      const own = group >= 0 ? [nulls[group]] : nulls;
      const known = own.filter(one => one !== null);
      rows.push({
        ...{ layer, group: group >= 0 ? languages[group].code : 'all', ...value, ...chance },
        repeatNull: known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null,
        documents: means[1].documents(group),
        ...{ repeatLow: repeat.low, repeatHigh: repeat.high, anyLow: any.low, anyHigh: any.high },
      });
    }
  }
  return table(Object.fromEntries(NAMES.map(name => [name, rows.map(row => row[name])])));
}

/** Σ q² of first choices; null without any. */
function squaredLoads(load: Float64Array, base: number, E: number): number | null {
  let [sum, squares] = [0, 0];
  for (let e = 0; e < E; e++) {
    sum += load[base + e];
    squares += load[base + e] ** 2;
  }
  return sum > 0 ? squares / sum ** 2 : null;
}

/** Means over documents per language, for all items or without one block of them; language −1 is the mean over languages. */
function layerMeans(
  part: Float32Array | Float64Array,
  whole: Float32Array,
  l: number,
  { moeLayers, languages, documents }: TraceHeader,
  languageOf: Int32Array,
  blockOf: Int32Array,
  blocks: number,
) {
  const sum = new Float64Array(languages.length * blocks);
  const number = new Float64Array(languages.length * blocks);
  for (let d = 0; d < documents.length; d++) {
    const cell = d * moeLayers.length + l;
    if (whole[cell] === 0) continue;
    sum[languageOf[d] * blocks + blockOf[d]] += part[cell] / whole[cell];
    number[languageOf[d] * blocks + blockOf[d]]++;
  }
  const total = (language: number, values: Float64Array, without: number) => {
    let all = 0;
    for (let block = 0; block < blocks; block++) if (block !== without) all += values[language * blocks + block];
    return all;
  };
  const ofLanguage = (language: number, without: number): number | null => {
    const n = total(language, number, without);
    return n > 0 ? total(language, sum, without) / n : null;
  };
  return {
    mean(language: number, without: number): number | null {
      if (language >= 0) return ofLanguage(language, without);
      const known = languages.map((_, one) => ofLanguage(one, without)).filter(value => value !== null);
      return known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null;
    },
    /** NaN where the block holds nothing of the language: leaving it out says nothing. */
    without(language: number, block: number): number {
      const held = language < 0 || number[language * blocks + block] > 0;
      return held ? (this.mean(language, block) ?? Number.NaN) : Number.NaN;
    },
    documents: (language: number): number =>
      language >= 0 ? total(language, number, -1) : languages.reduce((n, _, one) => n + total(one, number, -1), 0),
  };
}
