// Reads a trace folder (docs/trace.md) and refuses anything that would make a figure lie: missing or truncated files,
// a newer version, ids out of range, counts that do not cover the slots.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetRead } from 'hyparquet';
import { type CountRow, TRACE_VERSION, type Trace, type TraceColumns, type TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';

const INTEGERS = ['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert'] as const;
const COUNTS = ['step', 'layer', 'language', 'expert', 'count'] as const;
const AGAIN = 'write the trace again with `moe analyze-routing`';

/** Reads and checks a trace. Throws UserError naming the file, the value and the mend. */
export async function loadTrace(directory: string): Promise<Trace> {
  const header = readHeader(join(directory, 'trace.json'));
  const special = header.version === 1 ? [] : ['special'];
  const names = [...INTEGERS, ...special, 'gate'];
  const slots = await readParquet(join(directory, 'trace.parquet'), names, header, Float32Array);
  slots.special ??= new Int32Array(slots.slot.length);
  const rows = await readParquet(join(directory, 'counts.parquet'), [...COUNTS, 'gate'], header, Float64Array);
  const columns = slots as unknown as TraceColumns;
  const counts = Array.from(rows.step, (_, i): CountRow => countRow(rows, i));
  checkSlots(columns, header, join(directory, 'trace.parquet'));
  checkCounts(counts, columns, header, join(directory, 'counts.parquet'));
  return { header, columns, counts };
}

function readHeader(path: string): TraceHeader {
  if (!existsSync(path)) throw new UserError(`${path} is missing: this folder holds no routing trace; ${AGAIN}.`);
  let header: TraceHeader;
  try {
    header = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path} is no valid JSON (${(error as Error).message}); ${AGAIN}.`);
  }
  if (!Number.isInteger(header?.version)) throw new UserError(`${path} has no \`version\`: it is no trace; ${AGAIN}.`);
  if (header.version > TRACE_VERSION) {
    throw new UserError(
      `${path} has version ${header.version}, this program reads up to ${TRACE_VERSION}: update language-family-moe.`,
    );
  }
  checkHeader(header, path);
  return header;
}

function checkHeader(header: TraceHeader, path: string): void {
  const bad = (what: string) => new UserError(`${path}: ${what}; see docs/trace.md and ${AGAIN}.`);
  for (const key of ['run', 'model', 'routing'] as const) {
    if (typeof header[key] !== 'string') throw bad(`\`${key}\` must be text, found ${JSON.stringify(header[key])}`);
  }
  for (const key of ['numExperts', 'expertsPerToken', 'numLayers'] as const) {
    if (!(Number.isInteger(header[key]) && header[key] > 0)) throw bad(`\`${key}\` must be a positive whole number`);
  }
  for (const key of ['moeLayers', 'expertNames', 'languages', 'documents'] as const) {
    if (!Array.isArray(header[key])) throw bad(`\`${key}\` must be a list`);
  }
  if (header.expertNames.length !== header.numExperts) {
    throw bad(`${header.expertNames.length} \`expertNames\` for ${header.numExperts} experts`);
  }
  const { moeLayers: layers, numLayers } = header;
  if (
    layers.length === 0 ||
    layers.some((l, i) => !Number.isInteger(l) || l >= numLayers || l <= (layers[i - 1] ?? -1))
  ) {
    throw bad(`\`moeLayers\` must be ascending layer numbers below ${numLayers}, found ${JSON.stringify(layers)}`);
  }
  const outside = header.languages.find(
    l => !(Number.isInteger(l.expert) && l.expert >= -1 && l.expert < header.numExperts),
  );
  if (outside)
    throw bad(`language ${outside.code} has expert ${outside.expert}, experts are 0…${header.numExperts - 1}`);
}

/** All named columns, concatenated over row groups into typed arrays. */
async function readParquet(
  path: string,
  names: string[],
  header: TraceHeader,
  Gate: typeof Float32Array | typeof Float64Array,
): Promise<Record<string, NumberArray>> {
  if (!existsSync(path)) throw new UserError(`${path} is missing: the trace is incomplete; ${AGAIN}.`);
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: Error) => {
    throw new UserError(`${path} is truncated or no Parquet file (${error.message}); ${AGAIN}.`);
  });
  checkColumns(metadata, names, header, path);
  const rows = Number(metadata.num_rows);
  const columns: Record<string, NumberArray> = {};
  for (const name of names) columns[name] = name === 'gate' ? new Gate(rows) : new Int32Array(rows);
  const onChunk = (chunk: { columnName: string; columnData: ArrayLike<number>; rowStart: number }) =>
    columns[chunk.columnName].set(chunk.columnData, chunk.rowStart);
  await parquetRead({ file, metadata, columns: names, onChunk: onChunk as never }).catch((error: Error) => {
    throw new UserError(`${path} is damaged (${error.message}); ${AGAIN}.`);
  });
  return columns;
}
type NumberArray = Int32Array | Float32Array | Float64Array;

function checkColumns(metadata: FileMetaData, names: string[], header: TraceHeader, path: string): void {
  const found = metadata.schema.slice(1).map(element => element.name);
  const missing = names.filter(name => !found.includes(name));
  if (missing.length > 0) {
    throw new UserError(`${path} has no column ${missing.join(', ')}: it is no routing trace; see docs/trace.md.`);
  }
  const inside = metadata.key_value_metadata?.find(pair => pair.key === 'moe.trace')?.value;
  if (inside !== undefined && JSON.stringify(JSON.parse(inside)) !== JSON.stringify(header)) {
    throw new UserError(`${path} and trace.json beside it come from different runs: their headers differ; ${AGAIN}.`);
  }
}

const countRow = (rows: Record<string, NumberArray>, i: number): CountRow => ({
  step: rows.step[i],
  layer: rows.layer[i],
  language: rows.language[i],
  expert: rows.expert[i],
  count: rows.count[i],
  gate: rows.gate[i],
});

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

/** Ids in range, and no (step, layer, language, expert) counted lower than its rows in trace.parquet. */
function checkCounts(counts: CountRow[], columns: TraceColumns, header: TraceHeader, path: string): void {
  const { moeLayers, languages, numExperts } = header;
  const cell = (step: number, layer: number, language: number, expert: number) =>
    `${step} ${layer} ${language} ${expert}`;
  const left = new Map<string, number>();
  for (const [i, row] of counts.entries()) {
    const inRange = row.language >= 0 && row.language < languages.length && row.expert >= 0 && row.expert < numExperts;
    if (!inRange || !moeLayers.includes(row.layer) || row.count < 0 || !(row.gate >= 0)) {
      throw new UserError(`${path}, row ${i}: ${JSON.stringify(row)} does not fit the header; ${AGAIN}.`);
    }
    const key = cell(row.step, row.layer, row.language, row.expert);
    left.set(key, (left.get(key) ?? 0) + row.count);
  }
  const recount = new Map<number, number>();
  const { step, layer, language, expert } = columns;
  const lastLayer = header.numLayers;
  for (let i = 0; i < step.length; i++) {
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
