// counts.parquet: exact counts per step × layer × language × expert, checked against the header and against the slots.
import { join } from 'node:path';
import type { CountRow, TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { AGAIN } from './header.ts';
import { type ColumnKind, readWhole } from './parquet.ts';

const KINDS: Record<keyof CountRow, ColumnKind> = {
  step: 'integer',
  layer: 'integer',
  language: 'integer',
  expert: 'integer',
  count: 'integer',
  gate: 'double',
};

/** Reads the counts of every step. Throws UserError naming the row that does not fit the header. */
export function readCounts(directory: string, header: TraceHeader): CountRow[] {
  const path = join(directory, 'counts.parquet');
  const columns = readWhole(path, KINDS, header);
  const isMoe = new Set(header.moeLayers);
  const { languages, numExperts } = header;
  return Array.from(columns.step, (step, i): CountRow => {
    const [layer, language, expert] = [columns.layer[i], columns.language[i], columns.expert[i]];
    const row = { step, layer, language, expert, count: columns.count[i], gate: columns.gate[i] };
    const inRange = language >= 0 && language < languages.length && expert >= 0 && expert < numExperts;
    const weighs = row.count >= 0 && row.gate >= 0 && row.gate < Number.POSITIVE_INFINITY;
    if (!inRange || !isMoe.has(layer) || !weighs) {
      throw new UserError(`${path}, row ${i}: ${JSON.stringify(row)} does not fit the header; ${AGAIN}.`);
    }
    return row;
  });
}

/** Whether some tokens have fewer than k slots: a token weighs 1 in the gates, whatever capacity left it. */
export function slotsDropped(counts: CountRow[], { expertsPerToken: k }: TraceHeader): boolean {
  let [slots, tokens] = [0, 0];
  for (const { count, gate } of counts) {
    slots += count;
    tokens += gate;
  }
  return slots < k * tokens - 0.5;
}

/** Slots per MoE layer × language × expert, to be held against the counts. */
export type SlotSums = Float64Array;
export const emptySums = ({ moeLayers, languages, numExperts }: TraceHeader): SlotSums =>
  new Float64Array(moeLayers.length * languages.length * numExperts);

/**
 * Refuses counts that are lower than the slots they must cover: the slots may be a sample, never the counts.
 * @param step of the slots; null takes the last one of the counts
 */
export function checkCover(
  counts: CountRow[],
  sums: SlotSums,
  step: number | null,
  header: TraceHeader,
  directory: string,
  file = 'trace.parquet',
): void {
  const { moeLayers, languages, numExperts: E } = header;
  const at = step ?? counts.reduce((last, row) => Math.max(last, row.step), 0);
  const layerIndex = new Map(moeLayers.map((layer, i) => [layer, i]));
  const left = new Float64Array(sums.length);
  for (const row of counts) {
    if (row.step !== at) continue;
    left[((layerIndex.get(row.layer) ?? 0) * languages.length + row.language) * E + row.expert] += row.count;
  }
  const short = sums.findIndex((slots, cell) => left[cell] < slots);
  if (short < 0) return;
  const layer = moeLayers[Math.floor(short / E / languages.length)];
  const { code } = languages[Math.floor(short / E) % languages.length];
  throw new UserError(
    `${join(directory, 'counts.parquet')} counts ${left[short]} slots at step ${at}, layer ${layer}, ${code}, ` +
      `expert ${short % E}, ${file} has ${sums[short]}; ${AGAIN}.`,
  );
}
