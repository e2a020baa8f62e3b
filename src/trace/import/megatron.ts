// The router trace of Megatron-Core (--moe-routing-trace-path): a folder with router_trace_rank{N}.jsonl, one record per step, block
// and layer: {"step", "stage": "pre_dispatch", "block": "decoder", "layer", "rank", "num_tokens", "topk", "top_indices": [[…], …]}, and
// where logits were captured logits_rank{N}.bin, bf16 [num_tokens, E] at `logit_offset`. It knows no documents: the side file says
// which tokens of which step are a text. Records of prediction heads (block "mtp") are left out.
import { closeSync, existsSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';
import type { ForeignDocument, ForeignShape } from './build.ts';
import { type DocumentRow, jsonLines } from './documents.ts';
import { parseLists } from './numbers.ts';

interface RouterRecord {
  tokens: number;
  k: number;
  /** [tokens · k] */
  expert: Int32Array;
  /** [tokens · E] */
  logits: Float32Array | null;
  where: string;
}

/** Records of one step on one rank, by layer. */
type StepRecords = Map<number, RouterRecord>;

/** @throws UserError naming file and line for what the tracer does not write, and for documents that are not in it */
export async function readMegatron(
  path: string,
  rows: DocumentRow[],
): Promise<{ documents: ForeignDocument[]; shape: ForeignShape }> {
  const steps = await readRecords(
    path,
    new Set(rows.flatMap(({ step, ranks }) => ranks.map(rank => `${rank}/${step}`))),
  );
  const next = new Map<string, number>();
  let shape: ForeignShape | null = null;
  const documents = rows.map((row): ForeignDocument => {
    if (row.ids === null) throw new UserError(`${row.where}: a router trace has no token ids; add "ids" to the row.`);
    const key = `${row.ranks.join('+')}/${row.step}`;
    const layers = layersAt(steps, row, path);
    const first = row.first ?? next.get(key) ?? 0;
    next.set(key, first + row.ids.length);
    const numbers = [...layers.keys()].sort((a, b) => a - b);
    const records = numbers.map(number => layers.get(number)!);
    const { k } = records[0];
    if (shape && (shape.k !== k || shape.numbers!.join() !== numbers.join()))
      throw new UserError(
        `${row.where}: step ${row.step} has layers ${numbers.join(', ')} of ${k} choices, the documents before it layers ${shape.numbers!.join(', ')} of ${shape.k}; a document must be in every layer.`,
      );
    const E = records[0].logits ? records[0].logits.length / records[0].tokens : undefined;
    shape = { numbers, layers: numbers.length, k, path, ...(E !== undefined && { experts: E }) };
    return takeDocument(row, row.ids, first, records, E);
  });
  return { documents, shape: shape! };
}

/** The tokens first, first + stride, … of every layer. */
function takeDocument(
  row: DocumentRow,
  ids: Int32Array,
  first: number,
  records: RouterRecord[],
  E: number | undefined,
): ForeignDocument {
  const { k } = records[0];
  const expert = new Int32Array(ids.length * records.length * k);
  const last = first + (ids.length - 1) * row.stride;
  const logits = E === undefined ? undefined : records.map(() => new Float32Array(ids.length * E));
  records.forEach((record, l) => {
    if (record.k !== k)
      throw new UserError(`${record.where} has ${record.k} choices, other layers ${k}; trace one model.`);
    if (last >= record.tokens)
      throw new UserError(
        `${row.where}: ${row.id} would end at token ${last} of step ${row.step}, which has ${record.tokens}; correct "first", "stride" or "ids".`,
      );
    ids.forEach((_, i) => {
      const t = first + i * row.stride;
      expert.set(record.expert.subarray(t * k, (t + 1) * k), (i * records.length + l) * k);
      if (logits && E !== undefined) logits[l].set(record.logits!.subarray(t * E, (t + 1) * E), i * E);
    });
  });
  return { row, ids, expert, logits };
}

/** The layers of a step, of all ranks that the row names. */
function layersAt(steps: Map<string, StepRecords>, row: DocumentRow, path: string): StepRecords {
  const layers: StepRecords = new Map();
  for (const rank of row.ranks) {
    const found = steps.get(`${rank}/${row.step}`);
    if (!found)
      throw new UserError(`${row.where}: ${path} has no step ${row.step} of rank ${rank}; correct "step" or "rank".`);
    for (const [layer, record] of found) {
      if (layers.has(layer))
        throw new UserError(
          `${record.where}: layer ${layer} was traced on two of the ranks ${row.ranks.join(', ')}; name ranks with different layers in "rank".`,
        );
      layers.set(layer, record);
    }
  }
  return layers;
}

/** @param wanted `rank/step` of the records to keep */
async function readRecords(path: string, wanted: Set<string>): Promise<Map<string, StepRecords>> {
  const names = existsSync(path) ? readdirSync(path).filter(name => /^router_trace_rank\d+\.jsonl$/.test(name)) : [];
  if (names.length === 0)
    throw new UserError(`${path} holds no router_trace_rank0.jsonl; name the folder of --moe-routing-trace-path.`);
  const steps = new Map<string, StepRecords>();
  for (const name of names.sort()) {
    for await (const { value, where } of jsonLines(join(path, name))) {
      const { step, rank, layer, block = 'decoder', stage = 'pre_dispatch' } = value;
      if (![step, rank, layer].every(Number.isInteger))
        throw new UserError(`${where} has no step, rank and layer; it is no record of a router trace.`);
      if (stage !== 'pre_dispatch')
        throw new UserError(`${where} was traced at stage ${stage}; only pre_dispatch, the router's choice, is read.`);
      if (block !== 'decoder' || !wanted.has(`${rank}/${step}`)) continue;
      const records: StepRecords = steps.get(`${rank}/${step}`) ?? new Map();
      steps.set(`${rank}/${step}`, records);
      if (records.has(layer as number))
        throw new UserError(`${where}: layer ${layer} occurs twice in step ${step}; trace one micro-batch per step.`);
      records.set(layer as number, routerRecord(value, path, where));
    }
  }
  return steps;
}

function routerRecord(value: Record<string, unknown>, path: string, where: string): RouterRecord {
  const { shape, values } = parseLists(value.top_indices, `${where}: "top_indices"`);
  if (shape.length !== 2 || shape[0] !== value.num_tokens || shape[1] !== value.topk)
    throw new UserError(
      `${where}: "top_indices" has shape (${shape.join(', ')}), the record says ${value.num_tokens} tokens of ${value.topk}; trace again.`,
    );
  const logits = value.logit_offset === undefined ? null : readLogits(value, path, where);
  return { tokens: shape[0], k: shape[1], expert: values, logits, where };
}

/** Logits of a record, bf16 in the file beside. */
function readLogits(
  { rank, logit_offset, logit_bytes, logit_shape }: Record<string, unknown>,
  path: string,
  where: string,
) {
  const file = join(path, `logits_rank${rank}.bin`);
  const [tokens, experts] = logit_shape as number[];
  if (logit_bytes !== tokens * experts * 2 || !existsSync(file))
    throw new UserError(`${where}: logits of shape (${logit_shape}) are not in ${file}; copy the whole folder.`);
  const bytes = new Uint8Array(logit_bytes as number);
  const open = openSync(file, 'r');
  try {
    if (readSync(open, bytes, 0, bytes.length, logit_offset as number) < bytes.length)
      throw new UserError(`${file} is cut short, ${where} has logits behind its end; copy the whole folder.`);
  } finally {
    closeSync(open);
  }
  const halves = new DataView(bytes.buffer);
  const bits = Uint32Array.from({ length: bytes.length / 2 }, (_, i) => halves.getUint16(2 * i, true) << 16);
  return new Float32Array(bits.buffer);
}
