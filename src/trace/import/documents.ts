// The side file of an import: JSONL, one row per document in the order of the records (or named by `request`), which says what
// routers' files never do: the language of a text, the item that it shares with other languages, often its token ids.
import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { UserError } from '../../errors.ts';
import { onOneLine } from '../../hub/show.ts';

export interface DocumentRow {
  language: string;
  id: string;
  item: string;
  source: string;
  domain: string;
  /** Token ids; null where the records have them. */
  ids: Int32Array | null;
  /** Name of the request or response that the row speaks of; null: rows and records are in the same order. */
  request: string | null;
  /** Position of the first recorded token. */
  from: number;
  /** Of Megatron's records: where the tokens of this document are. */
  ranks: number[];
  step: number;
  /** First token in the record; null: after the document before it in the same record. */
  first: number | null;
  stride: number;
  /** What the file says of the language, where no families file does. */
  facts: { name?: string; script?: string; family?: string };
  /** `file:line`, for complaints. */
  where: string;
}

/** @throws UserError naming the line for a row that is not as it should be */
export async function readDocumentRows(path: string): Promise<DocumentRow[]> {
  const rows: DocumentRow[] = [];
  for await (const { value, where } of jsonLines(path)) rows.push(documentRow(value, where, rows.length));
  if (rows.length === 0) throw new UserError(`${path} has no rows; write one JSON object for each document.`);
  const named = rows.filter(row => row.request !== null).length;
  if (named !== 0 && named !== rows.length)
    throw new UserError(`${path}: ${named} of ${rows.length} rows have "request"; give it to all or to none.`);
  return rows;
}

/** Objects of a JSONL file, one by one. @throws UserError for a missing file and a line that is no object */
export async function* jsonLines(path: string): AsyncGenerator<{ value: Record<string, unknown>; where: string }> {
  if (!existsSync(path)) throw new UserError(`${path} does not exist; name a JSONL file.`);
  let line = 0;
  for await (const text of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
    line++;
    if (text.trim() === '') continue;
    const where = `${path}:${line}`;
    yield { value: parseObject(text.replace(/^\uFEFF/, ''), where), where };
  }
}

function parseObject(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where}: not JSON (${onOneLine((error as Error).message)}); write one JSON object per line.`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UserError(`${where}: not an object; write one JSON object per line.`);
}

function documentRow(row: Record<string, unknown>, where: string, index: number): DocumentRow {
  const bad = (key: string, wanted: string) =>
    new UserError(`${where}: "${key}" is ${JSON.stringify(row[key])?.slice(0, 40)}; give ${wanted}.`);
  const text = (key: string, otherwise: string): string => {
    const value = row[key] ?? otherwise;
    if (typeof value !== 'string' && typeof value !== 'number') throw bad(key, 'a text or a number');
    return String(value);
  };
  const whole = (key: string, otherwise: number, least = 0): number => {
    const value = row[key] ?? otherwise;
    if (!Number.isInteger(value) || (value as number) < least) throw bad(key, `a whole number of ${least} or more`);
    return value as number;
  };
  if (typeof row.language !== 'string' || row.language === '') throw bad('language', 'the code of the language');
  const item = text('item', String(index + 1));
  const ranks = [row.rank ?? 0].flat();
  if (!ranks.every(Number.isInteger)) throw bad('rank', 'the number of a rank, or a list of them');
  const optional = (key: 'name' | 'script' | 'family') => (row[key] === undefined ? {} : { [key]: text(key, '') });
  return {
    language: row.language,
    id: text('id', `${item}/${row.language}`),
    item,
    source: text('source', 'imported'),
    domain: text('domain', 'general'),
    ids: row.ids === undefined ? null : tokenIds(row.ids, `${where}: "ids"`),
    request: row.request === undefined ? null : text('request', ''),
    from: whole('from', 0),
    ranks: ranks as number[],
    step: whole('step', 0),
    first: row.first === undefined ? null : whole('first', 0),
    stride: whole('stride', 1, 1),
    facts: { ...optional('name'), ...optional('script'), ...optional('family') },
    where,
  };
}

/** @throws UserError for anything but a list of vocabulary ids */
export function tokenIds(value: unknown, where: string): Int32Array {
  if (!Array.isArray(value) || !value.every(id => Number.isInteger(id) && id >= 0 && id < 2 ** 31))
    throw new UserError(`${where} is no list of token ids; give whole numbers from 0.`);
  return Int32Array.from(value);
}
