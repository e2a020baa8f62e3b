// Routed experts as vLLM and SGLang return them with --enable-return-routed-experts: expert ids per token, layer and choice; no gates.
//   vLLM    base64 of a .npy array [rows, layers, k] (before 0.22 also lists, the prompt's apart as `prompt_routed_experts`), in the
//           choices of a completion, or in `outputs` of LLM.generate written as JSON
//   SGLang  base64 of int32, flat, [rows, layers, k], in `meta_info` of /generate or `sgl_ext` of a completion
// A row is a token that the model read: all of prompt and answer but the last. Plain arrays [rows, layers, k] are read too.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { UserError } from '../../errors.ts';
import { onOneLine } from '../../hub/show.ts';
import { type ForeignDocument, type ForeignShape, type ImportOptions, modelOf } from './build.ts';
import { type DocumentRow, jsonLines, tokenIds } from './documents.ts';
import { type Numbers, parseBase64, parseLists, parseNpy, parseRaw } from './numbers.ts';

export type Engine = 'vllm' | 'sglang';

/** One request. */
interface EngineRecord {
  request: string | null;
  /** Ids of prompt and answer; null: not in the record. */
  ids: Int32Array | null;
  /** [rows, layers, k], or [all] where the record does not say its shape. */
  experts: Numbers;
  /** Position of the first row; null: not said. */
  from: number | null;
  where: string;
}

type Json = Record<string, unknown>;

/** Reads a .jsonl or .json of responses, a .npy array, or a folder of them in the order of their names.
 *  @throws UserError naming file and line for what is not as the engine writes it */
export async function readEngine(
  engine: Engine,
  path: string,
  rows: DocumentRow[],
  options: ImportOptions,
): Promise<{ documents: ForeignDocument[]; shape: ForeignShape }> {
  const records: EngineRecord[] = [];
  for (const file of filesOf(path)) records.push(...(await recordsOf(engine, file)));
  const k = options.choices ?? modelOf(options)?.spec.num_experts_per_tok;
  const matched = matchRows(records, rows, path);
  const documents: ForeignDocument[] = [];
  let shape: ForeignShape | null = null;
  for (const [record, row] of matched) {
    const { ids, layers, choices, experts, from } = shaped(record, row, k);
    if (shape && (shape.layers !== layers || shape.k !== choices))
      throw new UserError(
        `${record.where} has ${layers} layers of ${choices} choices, the texts before it ${shape.layers} of ${shape.k}; import one model at a time.`,
      );
    shape = { numbers: null, layers, k: choices, path };
    documents.push({ row: { ...row, from }, ids, expert: experts });
  }
  return { documents, shape: shape! };
}

function filesOf(path: string): string[] {
  if (!existsSync(path)) throw new UserError(`${path} does not exist; name a file of responses, or a folder of them.`);
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter(name => ['.jsonl', '.json', '.npy'].includes(extname(name)));
  if (names.length === 0) throw new UserError(`the folder ${path} holds no .jsonl, .json or .npy file; name another.`);
  return names.sort().map(name => join(path, name));
}

async function recordsOf(engine: Engine, file: string): Promise<EngineRecord[]> {
  const plain = (experts: Numbers): EngineRecord => ({ request: null, ids: null, experts, from: null, where: file });
  const read = engine === 'vllm' ? vllmRecord : sglangRecord;
  if (extname(file) === '.npy') return [plain(parseNpy(readFileSync(file), file))];
  if (extname(file) === '.jsonl') {
    const records: EngineRecord[] = [];
    for await (const { value, where } of jsonLines(file)) records.push(read(value, where));
    return records;
  }
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(`${file} is not JSON (${onOneLine((error as Error).message)}); write the response as it came.`);
  }
  if (Array.isArray(json) && Array.isArray(json[0])) return [plain(parseLists(json, file))];
  return [json].flat().map((value, i) => {
    if (typeof value === 'object' && value !== null)
      return read(value as Json, Array.isArray(json) ? `${file}: ${i + 1}` : file);
    throw new UserError(`${file} is neither a response nor a list of them; write the response as it came.`);
  });
}

/** The one answer of a response. @throws UserError where there are several */
function onlyAnswer(response: Json, where: string): Json {
  const answers = response.choices ?? response.outputs;
  if (!Array.isArray(answers)) return response;
  if (answers.length === 1) return answers[0] as Json;
  throw new UserError(`${where} has ${answers.length} answers; ask for one (n = 1), so that each text is there once.`);
}

const nameOf = (...ids: unknown[]): string | null =>
  (ids.find(id => typeof id === 'string') as string | undefined) ?? null;

function vllmRecord(response: Json, where: string): EngineRecord {
  const answer = onlyAnswer(response, where);
  const parts = [response.prompt_routed_experts ?? answer.prompt_routed_experts, answer.routed_experts]
    .filter(part => part !== undefined && part !== null)
    .map(part => arrayOf(part, where));
  if (parts.length === 0) throw noExperts(where, 'start vLLM with --enable-return-routed-experts');
  const prompt = answer.prompt_token_ids ?? response.prompt_token_ids;
  const ids = Array.isArray(prompt)
    ? tokenIds([...prompt, ...((answer.token_ids as unknown[] | undefined) ?? [])], `${where}: token ids`)
    : null;
  return { request: nameOf(response.request_id, response.id), ids, experts: joined(parts, where), from: null, where };
}

const arrayOf = (part: unknown, where: string): Numbers =>
  typeof part === 'string' ? parseNpy(parseBase64(part, where), where) : parseLists(part, where);

function joined(parts: Numbers[], where: string): Numbers {
  const [{ shape }] = parts;
  const fits = parts.every(part => part.shape.length === 3 && part.shape[1] === shape[1] && part.shape[2] === shape[2]);
  if (!fits)
    throw new UserError(
      `${where} has routed experts of shape ${parts.map(part => `(${part.shape.join(', ')})`).join(' and ')}; they must be [tokens, layers, k].`,
    );
  const rows = parts.reduce((sum, part) => sum + part.shape[0], 0);
  return { shape: [rows, shape[1], shape[2]], values: Int32Array.from(parts.flatMap(({ values }) => [...values])) };
}

function sglangRecord(response: Json, where: string): EngineRecord {
  const answer = onlyAnswer(response, where);
  const meta = (answer.meta_info ?? response.meta_info ?? {}) as Json;
  const places = [meta, answer.sgl_ext, response.sgl_ext, answer].map(each => (each ?? {}) as Json);
  const experts = places.find(
    each => each.routed_experts !== undefined && each.routed_experts !== null,
  )?.routed_experts;
  if (experts === undefined)
    throw noExperts(where, 'start SGLang with --enable-return-routed-experts and ask with return_routed_experts');
  const type = String(meta.routed_experts_dtype ?? 'int32');
  const values =
    typeof experts === 'string'
      ? parseRaw(parseBase64(experts, where), type, where)
      : parseLists(experts, where).values;
  const shape = Array.isArray(experts) ? parseLists(experts, where).shape : [values.length];
  const [prompt, output] = [response.input_ids ?? answer.input_ids, answer.output_ids ?? response.output_ids];
  const ids = Array.isArray(prompt)
    ? tokenIds([...prompt, ...((output as unknown[] | undefined) ?? [])], `${where}: token ids`)
    : null;
  const from = typeof meta.routed_experts_start_len === 'number' ? meta.routed_experts_start_len : null;
  return { request: nameOf(meta.id, response.id), ids, experts: { shape, values }, from, where };
}

const noExperts = (where: string, mend: string) => new UserError(`${where} has no routed_experts; ${mend}.`);

function matchRows(records: EngineRecord[], rows: DocumentRow[], path: string): [EngineRecord, DocumentRow][] {
  if (rows[0].request === null) {
    if (records.length === rows.length) return records.map((record, i) => [record, rows[i]]);
    throw new UserError(
      `${path} has ${records.length} texts, the documents file ${rows.length} rows; give a row for each, or name them by "request".`,
    );
  }
  const byName = new Map(records.map(record => [record.request, record]));
  return rows.map(row => {
    const record = byName.get(row.request);
    if (record) return [record, row];
    throw new UserError(`${row.where}: there is no request "${row.request}" in ${path}; correct the name.`);
  });
}

/** Rows, layers and choices of a record, and the ids of its rows. @param k choices per token, where they are known */
function shaped(
  { ids: own, experts: { shape, values }, from: said, where }: EngineRecord,
  row: DocumentRow,
  k: number | undefined,
) {
  const all = row.ids ?? own;
  if (all === null)
    throw new UserError(
      `${row.where}: neither this row nor ${where} has token ids; add "ids", all that the model was given and wrote.`,
    );
  const from = said ?? row.from;
  const tokens = all.length - from;
  const flat = shape.length === 1;
  if (!flat && shape.length !== 3)
    throw new UserError(
      `${where} has routed experts of shape (${shape.join(', ')}); they must be [tokens, layers, k].`,
    );
  if (flat && k === undefined)
    throw new UserError(`${where} does not say how many experts a token has; give --choices K, or --model DIR.`);
  // Flat, the length alone could mean other layers over other rows: SGLang gives every token but the last.
  const rows = flat ? tokens - 1 : shape[0];
  if ((rows !== tokens && rows !== tokens - 1) || rows < 1 || (flat && values.length % (rows * k!) !== 0))
    throw new UserError(
      `${where} has ${flat ? `${values.length} routed experts` : `${rows} rows`} for ${tokens} tokens; its routing must cover every token, or all but the last.`,
    );
  const [layers, choices] = flat ? [values.length / rows / k!, k!] : [shape[1], shape[2]];
  return { ids: all.subarray(from, from + rows), layers, choices, experts: values, from };
}
