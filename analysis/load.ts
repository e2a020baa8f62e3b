// Reads a whole trace folder (docs/trace.md) into memory and refuses anything that would make a figure lie: missing or
// truncated files, a newer version, ids out of range, counts that do not cover the slots.
import { join } from 'node:path';
import type { CountRow, Trace, TraceColumns, TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';
import { readCounts } from './read/counts.ts';
import { AGAIN, readHeader } from './read/header.ts';
import { readWhole } from './read/parquet.ts';

const INTEGERS = ['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert'] as const;

/** Reads and checks a trace. Throws UserError naming the file, the value and the mend. */
export async function loadTrace(directory: string): Promise<Trace> {
  const header = readHeader(join(directory, 'trace.json'));
  const special = header.version === 1 ? [] : ['special'];
  const kinds = Object.fromEntries([...INTEGERS, ...special].map(name => [name, 'integer' as const]));
  const slots = readWhole(join(directory, 'trace.parquet'), { ...kinds, gate: 'float' }, header);
  slots.special ??= new Int32Array(slots.slot.length);
  const columns = slots as unknown as TraceColumns;
  const counts = readCounts(directory, header);
  checkSlots(columns, header, join(directory, 'trace.parquet'));
  checkCounts(counts, columns, header, join(directory, 'counts.parquet'));
  return { header, columns, counts };
}

/** Ids in range, gates finite, and the slots of one token adjacent and in order. */
function checkSlots(columns: TraceColumns, header: TraceHeader, path: string): void {
  const isMoe = new Set(header.moeLayers);
  const { document, position, language, layer, slot, expert, gate, step } = columns;
  for (let i = 0; i < slot.length; i++) {
    const bad = (what: string) => new UserError(`${path}, row ${i}: ${what}; see docs/trace.md and ${AGAIN}.`);
    if (document[i] < 0 || document[i] >= header.documents.length)
      throw bad(`document ${document[i]} is not in the header`);
    if (language[i] < 0 || language[i] >= header.languages.length)
      throw bad(`language ${language[i]} is not in the header`);
    if (!isMoe.has(layer[i]))
      throw bad(`layer ${layer[i]} is not one of the MoE layers ${header.moeLayers.join(', ')}`);
    if (expert[i] < 0 || expert[i] >= header.numExperts)
      throw bad(`expert ${expert[i]} is outside 0…${header.numExperts - 1}`);
    if (!(gate[i] >= 0 && gate[i] < Number.POSITIVE_INFINITY)) throw bad(`gate ${gate[i]} is not a weight`);
    if (position[i] < 0) throw bad(`position ${position[i]} is negative`);
    if (slot[i] === 0) continue;
    const j = i - 1;
    const same = j >= 0 && position[j] === position[i] && document[j] === document[i] && layer[j] === layer[i];
    if (!same || step[j] !== step[i] || slot[j] !== slot[i] - 1) {
      throw bad(`slot ${slot[i]} does not follow slot ${slot[i] - 1} of the same token and layer`);
    }
  }
}

/** No (step, layer, language, expert) may be counted lower than its rows in trace.parquet. */
function checkCounts(counts: CountRow[], columns: TraceColumns, header: TraceHeader, path: string): void {
  const { languages, numExperts } = header;
  const cell = (step: number, layer: number, language: number, expert: number) =>
    `${step} ${layer} ${language} ${expert}`;
  const left = new Map<string, number>();
  for (const row of counts) {
    const key = cell(row.step, row.layer, row.language, row.expert);
    left.set(key, (left.get(key) ?? 0) + row.count);
  }
  const recount = new Map<number, number>();
  const { step, layer, language, expert, special } = columns;
  const lastLayer = header.numLayers;
  for (let i = 0; i < step.length; i++) {
    if (special[i] === 1) continue;
    const id = ((step[i] * lastLayer + layer[i]) * languages.length + language[i]) * numExperts + expert[i];
    recount.set(id, (recount.get(id) ?? 0) + 1);
  }
  for (const [id, slots] of recount) {
    const e = id % numExperts;
    const l = Math.floor(id / numExperts) % languages.length;
    const rest = Math.floor(id / numExperts / languages.length);
    const key = cell(Math.floor(rest / lastLayer), rest % lastLayer, l, e);
    if ((left.get(key) ?? 0) < slots) {
      const where = `step ${Math.floor(rest / lastLayer)}, layer ${rest % lastLayer}, ${languages[l].code}, expert ${e}`;
      throw new UserError(
        `${path} counts ${left.get(key) ?? 0} slots at ${where}, trace.parquet has ${slots}; ${AGAIN}.`,
      );
    }
  }
}
