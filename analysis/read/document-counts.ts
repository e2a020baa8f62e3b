// Counts per document × layer × expert: from documents.parquet where there is one, else counted from the slots; and the mean
// softmax beside them. Documents without a counted token are left out. Shapes: analysis/document-counts.ts.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Trace, TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import type { DocumentCounts } from '../document-counts.ts';
import { languageOfDocuments, type MarkedBlock, MOST_DROPPED } from './block.ts';
import { checkCover, emptySums, readCounts, slotsDropped } from './counts.ts';
import { AGAIN, readHeader } from './header.ts';
import { type ColumnKind, rowGroups } from './parquet.ts';
import { markedBlocks, markedBlocksOf } from './stream.ts';

export interface CountOptions {
  /** Leave out the first content token of each document, whose routing is positional (attention sink). Default true. */
  dropFirst?: boolean;
}

/** Reads what usage, entropies and information are computed from. Throws UserError where the files contradict themselves. */
export async function readDocumentCounts(
  directory: string,
  options: CountOptions = {},
): Promise<{ header: TraceHeader; counts: DocumentCounts }> {
  const header = readHeader(join(directory, 'trace.json'));
  if (header.documents.length === 0) {
    throw new UserError(
      `${join(directory, 'trace.json')} lists no documents: there is nothing to analyse; trace some text.`,
    );
  }
  const counts = existsSync(join(directory, 'documents.parquet'))
    ? fromFile(directory, header, options.dropFirst ?? true)
    : fromBlocks(markedBlocks(directory, options), header);
  const softmax = join(directory, 'softmax.parquet');
  if (existsSync(softmax)) counts.softmax = readSoftmax(softmax, header, counts.document);
  return { header, counts };
}

/** The same of a trace in memory; always counted from its slots. */
export function documentCountsOf(trace: Trace, options: CountOptions = {}): DocumentCounts {
  const { header } = trace;
  const counts = fromBlocks(markedBlocksOf(trace, options), header);
  if (trace.softmax) {
    const table = softmaxTable(header, counts.document, 'the trace');
    for (const [i, cell] of trace.softmax.entries())
      table.put(i, cell.document, cell.layer, cell.expert, cell.probability);
    counts.softmax = table.finish();
  }
  return counts;
}

/** Sums per document of every document in the header, to be shortened to those with counted tokens. */
interface Sums {
  tokens: Float64Array;
  count: Float32Array[];
  gate: Float32Array[];
}

function noSums({ documents, moeLayers, numExperts }: TraceHeader): Sums {
  const cells = () => moeLayers.map(() => new Float32Array(documents.length * numExperts));
  return { tokens: new Float64Array(documents.length), count: cells(), gate: cells() };
}

function fromBlocks(blocks: Iterable<MarkedBlock>, header: TraceHeader): DocumentCounts {
  const { numExperts: E, expertsPerToken: k, moeLayers } = header;
  const sums = noSums(header);
  const dropped = { special: 0, first: 0 };
  for (const { block, special } of blocks) {
    const { document, counted, expert, share } = block;
    for (let t = 0, cell = 0; t < counted.length; t++) {
      if (special[t] === 1) dropped.special++;
      else if (counted[t] === 0) dropped.first++;
      if (counted[t] === 0) {
        cell += moeLayers.length * k;
        continue;
      }
      sums.tokens[document]++;
      for (let l = 0; l < moeLayers.length; l++) {
        for (let s = 0; s < k; s++, cell++) {
          if (expert[cell] < 0) continue;
          sums.count[l][document * E + expert[cell]]++;
          sums.gate[l][document * E + expert[cell]] += share[cell];
        }
      }
    }
  }
  return shortened(sums, header, dropped);
}

const COUNTS: Record<string, ColumnKind> = {
  document: 'integer',
  layer: 'integer',
  expert: 'integer',
  count: 'integer',
  gate: 'double',
  first: 'integer',
  firstGate: 'double',
};

function fromFile(directory: string, header: TraceHeader, dropFirst: boolean): DocumentCounts {
  const path = join(directory, 'documents.parquet');
  const { numExperts: E, moeLayers } = header;
  const sums = noSums(header);
  const firsts = new Float64Array(header.documents.length);
  const place = cellFinder(header, path);
  const languages = languageOfDocuments(header);
  const all = emptySums(header);
  for (const { start, rows, columns } of rowGroups(path, COUNTS, header)) {
    const { document, layer, expert, count, gate, first, firstGate } = columns;
    for (let i = 0; i < rows; i++) {
      const l = place(start + i, document[i], layer[i], expert[i]);
      if (!(count[i] >= 0 && first[i] >= 0 && isWeight(gate[i]) && isWeight(firstGate[i]))) {
        const found = [count[i], gate[i], first[i], firstGate[i]].join(', ');
        throw new UserError(
          `${path}, row ${start + i}: count, gate, first and firstGate are ${found}, none may be negative or missing; ${AGAIN}.`,
        );
      }
      const cell = document[i] * E + expert[i];
      sums.count[l][cell] += count[i] + (dropFirst ? 0 : first[i]);
      sums.gate[l][cell] += gate[i] + (dropFirst ? 0 : firstGate[i]);
      all[(l * header.languages.length + languages[document[i]]) * E + expert[i]] += count[i] + first[i];
      if (l === 0 && dropFirst) firsts[document[i]] += firstGate[i];
    }
  }
  const counts = readCounts(directory, header);
  checkCover(counts, all, null, header, directory, 'documents.parquet');
  const dropped = header.expertsPerToken === 1 || slotsDropped(counts, header);
  for (let d = 0; d < sums.tokens.length; d++) sums.tokens[d] = tokensOf(sums, d, header, path, dropped);
  const first = firsts.reduce((sum, weight) => sum + Math.round(weight), 0);
  return shortened(sums, header, { special: specialTokens(directory, header, moeLayers[0]), first });
}

const isWeight = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;

/** Checks ids and that no cell is listed twice; gives the index of the layer. */
function cellFinder({ documents, moeLayers, numExperts: E }: TraceHeader, path: string) {
  const layers = new Map(moeLayers.map((layer, i) => [layer, i]));
  const seen = moeLayers.map(() => new Uint8Array(documents.length * E));
  return (row: number, document: number, layer: number, expert: number): number => {
    const l = layers.get(layer) ?? -1;
    const inRange = document >= 0 && document < documents.length && expert >= 0 && expert < E;
    if (!inRange || l < 0) {
      throw new UserError(
        `${path}, row ${row}: document ${document}, layer ${layer}, expert ${expert} does not fit the header; ${AGAIN}.`,
      );
    }
    const cell = document * E + expert;
    if (seen[l][cell] === 1) {
      const what = `document ${document}, layer ${layer}, expert ${expert}`;
      throw new UserError(`${path}, row ${row}: ${what} is listed twice; ${AGAIN}.`);
    }
    seen[l][cell] = 1;
    return l;
  };
}

/** Gates sum to the number of tokens in every layer; slots to at most k times that. */
function tokensOf(sums: Sums, document: number, header: TraceHeader, path: string, known: boolean): number {
  const { numExperts: E, expertsPerToken: k, moeLayers, documents } = header;
  let tokens = 0;
  const bad = (layer: number, what: string) =>
    new UserError(`${path}: ${documents[document].id} has ${what} in layer ${moeLayers[layer]}; ${AGAIN}.`);
  const inLayer = moeLayers.map((_, l) => {
    let [weight, slots] = [0, 0];
    for (let cell = document * E; cell < (document + 1) * E; cell++) {
      weight += sums.gate[l][cell];
      slots += sums.count[l][cell];
    }
    tokens = Math.max(tokens, Math.round(weight));
    return { weight, slots };
  });
  const dropped = known || inLayer.some(({ weight, slots }) => slots < k * Math.round(weight));
  for (const [l, { weight, slots }] of inLayer.entries()) {
    if (Math.abs(weight - Math.round(weight)) > 0.01 + 1e-5 * weight)
      throw bad(l, `gates that sum to ${weight}, no whole number of tokens,`);
    if (slots > k * Math.round(weight) || slots < Math.round(weight)) {
      throw bad(l, `${slots} slots for ${Math.round(weight)} tokens of ${k} experts each`);
    }
    const gap = Math.round(weight) < tokens && (!dropped || (slots === 0 && tokens > MOST_DROPPED));
    if (gap) throw bad(l, `${Math.round(weight)} tokens, though ${tokens} elsewhere,`);
  }
  return tokens;
}

/** Special tokens among the slots, seen in the first MoE layer. */
function specialTokens(directory: string, header: TraceHeader, layer: number): number {
  const path = join(directory, 'trace.parquet');
  if (header.version < 2 || !existsSync(path)) return 0;
  const kinds: Record<string, ColumnKind> = { special: 'integer', layer: 'integer', slot: 'integer' };
  let specials = 0;
  for (const { rows, columns } of rowGroups(path, kinds, header)) {
    for (let i = 0; i < rows; i++) {
      if (columns.special[i] === 1 && columns.layer[i] === layer && columns.slot[i] === 0) specials++;
    }
  }
  return specials;
}

/** Drops documents without counted tokens, numbers the items. */
function shortened(
  { tokens, count, gate }: Sums,
  header: TraceHeader,
  dropped: DocumentCounts['dropped'],
): DocumentCounts {
  const { documents, numExperts: E } = header;
  const document = Int32Array.from(documents.keys()).filter(d => tokens[d] > 0);
  const languages = languageOfDocuments(header);
  const numbers = new Map<string, number>();
  const item = document.map(d => {
    const name = documents[d].item;
    if (!numbers.has(name)) numbers.set(name, numbers.size);
    return numbers.get(name)!;
  });
  const shorten = (cells: Float32Array) => {
    if (document.length === documents.length) return cells;
    const kept = new Float32Array(document.length * E);
    for (const [i, d] of document.entries()) kept.set(cells.subarray(d * E, (d + 1) * E), i * E);
    return kept;
  };
  return {
    document,
    language: document.map(d => languages[d]),
    item,
    items: numbers.size,
    tokens: Float64Array.from(document, d => tokens[d]),
    count: count.map(shorten),
    gate: gate.map(shorten),
    softmax: null,
    dropped,
  };
}

function readSoftmax(path: string, header: TraceHeader, document: Int32Array): Float32Array[] {
  const table = softmaxTable(header, document, path);
  const kinds: Record<string, ColumnKind> = {
    document: 'integer',
    layer: 'integer',
    expert: 'integer',
    probability: 'double',
  };
  for (const { start, rows, columns } of rowGroups(path, kinds, header)) {
    for (let i = 0; i < rows; i++) {
      table.put(start + i, columns.document[i], columns.layer[i], columns.expert[i], columns.probability[i]);
    }
  }
  return table.finish();
}

/** Dense mean softmax of the documents that are counted; each row must sum to 1. */
function softmaxTable(header: TraceHeader, document: Int32Array, path: string) {
  const { moeLayers, numExperts: E, documents } = header;
  const index = new Int32Array(documents.length).fill(-1);
  for (const [d, id] of document.entries()) index[id] = d;
  const cells = moeLayers.map(() => new Float32Array(document.length * E));
  const place = cellFinder(header, path);
  return {
    put(row: number, id: number, layer: number, expert: number, probability: number): void {
      const l = place(row, id, layer, expert);
      if (!(probability >= 0 && probability <= 1.001)) {
        throw new UserError(`${path}, row ${row}: probability ${probability} is not between 0 and 1; ${AGAIN}.`);
      }
      if (index[id] >= 0) cells[l][index[id] * E + expert] = probability;
    },
    finish(): Float32Array[] {
      for (const [l, layer] of cells.entries()) {
        for (const [d, id] of document.entries()) {
          let sum = 0;
          for (let cell = d * E; cell < (d + 1) * E; cell++) sum += layer[cell];
          if (Math.abs(sum - 1) <= 0.01) continue;
          const where = `${documents[id].id}, layer ${moeLayers[l]}`;
          throw new UserError(`${path}: the probabilities of ${where} sum to ${sum.toFixed(4)}, not to 1; ${AGAIN}.`);
        }
      }
      return cells;
    },
  };
}
