// Documents of a trace, one dense block after another, in the order of the header. Version 2 files are sorted and read row group by
// row group; version 1 files have no order of documents and are held as columns. Several steps: the last one alone.
import { join } from 'node:path';
import type { Trace, TraceHeader } from '../../routing/trace.ts';
import type { DocumentBlock } from '../block.ts';
import type { DocumentCounts } from '../document-counts.ts';
import { checkAgainst } from './against.ts';
import { type BlockContext, blockContext, blockOf, type MarkedBlock, refusal, type SlotRows } from './block.ts';
import { checkCover, emptySums, readCounts, type SlotSums } from './counts.ts';
import { readHeader } from './header.ts';
import { type ColumnKind, readWhole, rowGroups } from './parquet.ts';

export interface StreamOptions {
  /** Do not count the first content token of a document, whose routing is positional (attention sink). Default true. */
  dropFirst?: boolean;
  /** Counts read from documents.parquet with the same dropFirst, to be held against the slots on the way. */
  against?: DocumentCounts;
}

const INTEGERS = ['document', 'position', 'token', 'language', 'layer', 'slot', 'expert', 'special'] as const;

/**
 * Yields every document that has slots, documents ascending. Throws UserError where a slot does not fit the header, its token
 * or its order, where a token lacks a layer, and at the end where counts.parquet does not cover what was read.
 */
export async function* streamBlocks(directory: string, options: StreamOptions = {}): AsyncGenerator<DocumentBlock> {
  for (const { block } of markedBlocks(directory, options)) yield block;
}

/** The same from memory, for a trace in any order. */
export function* blocksOf(trace: Trace, options: StreamOptions = {}): Generator<DocumentBlock> {
  for (const { block } of markedBlocksOf(trace, options)) yield block;
}

export function* markedBlocksOf({ header, columns, counts }: Trace, options: StreamOptions): Generator<MarkedBlock> {
  const context = blockContext(header, 'the trace', options.dropFirst ?? true, counts);
  yield* regrouped(columns, columns.step, greatest(columns.step), context);
}

/** Blocks with their special tokens marked. */
export function* markedBlocks(directory: string, options: StreamOptions): Generator<MarkedBlock> {
  const header = readHeader(join(directory, 'trace.json'));
  const path = join(directory, 'trace.parquet');
  const step = lastStep(path, header);
  const counts = readCounts(directory, header);
  const context = blockContext(header, path, options.dropFirst ?? true, counts);
  const sums = emptySums(header);
  const check = options.against ? checkAgainst(options.against, header, directory) : null;
  for (const marked of header.version >= 2 ? sortedBlocks(context, step) : unsortedBlocks(context, step)) {
    check?.(marked.block);
    addSlots(sums, marked, header);
    yield marked;
  }
  if (step !== null) checkCover(counts, sums, step, header, directory);
}

const kindsOf = ({ version }: TraceHeader): Record<string, ColumnKind> => {
  const names = ['step', ...INTEGERS].filter(name => name !== 'special' || version >= 2);
  return { ...Object.fromEntries(names.map(name => [name, 'integer' as const])), gate: 'float' };
};

/** Step of the slots to be read: the last; null without slots. */
function lastStep(path: string, header: TraceHeader): number | null {
  let last: number | null = null;
  for (const { columns } of rowGroups(path, { step: 'integer' }, header)) {
    const here = greatest(columns.step as Int32Array);
    if (last === null || (here !== null && here > last)) last = here;
  }
  return last;
}

function greatest(step: Int32Array): number | null {
  if (step.length === 0) return null;
  let most = step[0];
  for (let i = 1; i < step.length; i++) if (step[i] > most) most = step[i];
  return most;
}

/** Row groups of a sorted file; the rows of the last document of a group wait for the next group. */
function* sortedBlocks(context: BlockContext, step: number | null): Generator<MarkedBlock> {
  let waiting: SlotRows | null = null;
  let last = -1;
  for (const { start, columns } of rowGroups(context.path, kindsOf(context.header), context.header)) {
    const fresh = ofStep(columns as unknown as SlotRows, columns.step as Int32Array, step, start);
    const rows: SlotRows = waiting ? joined(waiting, fresh) : fresh;
    const { document } = rows;
    let from = 0;
    for (let i = 0; i < document.length; i++) {
      if (document[i] === document[from]) continue;
      if (document[from] <= last) throw unsorted(rows, from, context);
      last = document[from];
      yield blockOf(rows, from, i, context);
      from = i;
    }
    waiting = sliced(rows, from);
  }
  if (!waiting || waiting.document.length === 0) return;
  if (waiting.document[0] <= last) throw unsorted(waiting, 0, context);
  yield blockOf(waiting, 0, waiting.document.length, context);
}

const unsorted = (rows: SlotRows, i: number, { path }: BlockContext) =>
  refusal(
    rows,
    i,

    path,
    `document ${rows.document[i]} comes too late: version 2 lists documents in ascending order`,
  );

const NUMBERED = [...INTEGERS, 'gate', 'row'] as const;

/** Rows of one step, numbered as in the file. */
function ofStep(rows: SlotRows, steps: Int32Array, step: number | null, start: number): SlotRows {
  const row = new Int32Array(steps.length);
  let kept = 0;
  for (let i = 0; i < steps.length; i++) if (steps[i] === step) row[kept++] = i;
  const pick = <A extends Int32Array | Float32Array>(column: A): A => {
    if (kept === steps.length) return column;
    const picked = new (column.constructor as new (length: number) => A)(kept);
    for (let i = 0; i < kept; i++) picked[i] = column[row[i]];
    return picked;
  };
  const chosen = Object.fromEntries([...INTEGERS, 'gate' as const].map(name => [name, pick(rows[name])]));
  return { ...(chosen as unknown as SlotRows), row: row.subarray(0, kept).map(i => i + start) };
}

function joined(a: SlotRows, b: SlotRows): SlotRows {
  const both = <A extends Int32Array | Float32Array>(one: A, two: A): A => {
    const whole = new (one.constructor as new (length: number) => A)(one.length + two.length);
    whole.set(one);
    whole.set(two, one.length);
    return whole;
  };
  return Object.fromEntries(NUMBERED.map(name => [name, both(a[name]!, b[name]!)])) as unknown as SlotRows;
}

/** A copy, so that the row group it comes from can be freed. */
const sliced = (rows: SlotRows, from: number): SlotRows =>
  Object.fromEntries(NUMBERED.map(name => [name, rows[name]!.slice(from)])) as unknown as SlotRows;

function* unsortedBlocks(context: BlockContext, step: number | null): Generator<MarkedBlock> {
  const { step: steps, ...columns } = readWhole(context.path, kindsOf(context.header), context.header);
  columns.special ??= new Int32Array(steps.length);
  yield* regrouped(columns as unknown as SlotRows, steps as Int32Array, step, context);
}

/** Brings rows in any order together by document, then sorts each document by position, layer and slot. */
function* regrouped(
  rows: SlotRows,
  steps: Int32Array,
  step: number | null,
  context: BlockContext,
): Generator<MarkedBlock> {
  const documents = context.languageOf.length;
  const start = new Uint32Array(documents + 1);
  for (let i = 0; i < steps.length; i++) {
    if (steps[i] !== step) continue;
    const document = rows.document[i];
    if (!(document >= 0 && document < documents)) {
      throw refusal(rows, i, context.path, `document ${document} is not one of the ${documents} in the header`);
    }
    start[document + 1]++;
  }
  for (let d = 0; d < documents; d++) start[d + 1] += start[d];
  const order = new Uint32Array(start[documents]);
  const next = start.slice();
  for (let i = 0; i < steps.length; i++) if (steps[i] === step) order[next[rows.document[i]]++] = i;
  const { position, layer, slot } = rows;
  for (let d = 0; d < documents; d++) {
    if (start[d] === start[d + 1]) continue;
    const row = Int32Array.from(order.subarray(start[d], start[d + 1]));
    row.sort((a, b) => position[a] - position[b] || layer[a] - layer[b] || slot[a] - slot[b] || a - b);
    const mine: Record<string, Int32Array | Float32Array> = { row };
    for (const name of INTEGERS) mine[name] = row.map(i => rows[name][i]);
    mine.gate = Float32Array.from(row, i => rows.gate[i]);
    yield blockOf(mine as unknown as SlotRows, 0, row.length, context);
  }
}

/** Adds the slots of the content tokens, counted or not. */
function addSlots(sums: SlotSums, { block, special }: MarkedBlock, header: TraceHeader): void {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k } = header;
  const L = moeLayers.length;
  for (let t = 0, cell = 0; t < special.length; t++) {
    for (let l = 0; l < L; l++) {
      const base = (l * languages.length + block.language) * E;
      for (let s = 0; s < k; s++, cell++) {
        if (special[t] === 0 && block.expert[cell] >= 0) sums[base + block.expert[cell]]++;
      }
    }
  }
}
