// The user's own text. JSONL or Parquet, one document a row: { language | lang, text, domain?, split?, id? }; and ApolloMoE's
// JSON { "<type>_<language>[_qa]": [[question, answer, question, answer, …], …] }, told as
// `User:{q}\nAssistant:{a}` with further turns after `\nUser:`, where only answers (and the end) are learnt.
// Text is taken as it is, in NFC: what looks like a tag may be a finding, as in "<90 or >140 mmHg".
import { createReadStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import zlib from 'node:zlib';
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { UserError } from '../errors.ts';
import { onOneLine } from '../hub/show.ts';
import { findLanguage } from './language-facts.ts';
import { itemSplit } from './split.ts';
import type { Document, Domain, Language, Split } from './types.ts';

/** Bytes: what surely fits into one string of Node's (2²⁹ − 24 units). */
const LARGEST_JSON = 500e6;
const SPLITS = ['train', 'validation', 'test'];
const DOMAINS = ['medical', 'general'];
const READERS: Record<string, (path: string, languages: Language[]) => Promise<Document[]>> = {
  '.jsonl': readJsonl,
  '.ndjson': readJsonl,
  '.parquet': readParquet,
  '.json': readConversations,
};

/** Reads a file, or every file of a known kind in a folder (by name). A row's `id` names the parallel item: rows of several
 *  languages may share it; without one the row number serves. Without `split`, 90/5/5 by the hash of the item.
 *  Errors name file, line or row, value and mend. */
export async function readUserText(path: string, languages: Language[]): Promise<Document[]> {
  const kind = statSync(path, { throwIfNoEntry: false });
  if (kind === undefined) throw new UserError(`${path} does not exist; give a file or folder of text`);
  const known = Object.keys(READERS).join(', ');
  if (!kind.isDirectory()) {
    const reader = READERS[extname(path).toLowerCase()];
    if (reader === undefined) throw new UserError(`${path} is of no known kind; give a file ending in ${known}`);
    return reader(path, languages);
  }
  const names = readdirSync(path).filter(name => extname(name).toLowerCase() in READERS);
  if (names.length === 0) throw new UserError(`the folder ${path} holds no file ending in ${known}; put text into it`);
  const documents: Document[] = [];
  for (const name of names.sort()) documents.push(...(await readUserText(join(path, name), languages)));
  return documents;
}

async function readJsonl(path: string, languages: Language[]): Promise<Document[]> {
  const documents: Document[] = [];
  let line = 0;
  for await (const text of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
    line++;
    const bare = text.replace(/^\uFEFF/, '');
    if (bare.trim() === '') continue;
    const where = `${path}:${line}`;
    documents.push(toDocument(parseLine(bare, where), path, line, where, languages));
  }
  return documents;
}

function parseLine(text: string, where: string): Record<string, unknown> {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where}: not JSON (${onOneLine((error as Error).message)}); write one JSON object per line`);
  }
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw new UserError(`${where}: ${short(row)} is not an object; write {"language": "en", "text": "…"}`);
}

async function readParquet(path: string, languages: Language[]): Promise<Document[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((error: Error) => {
    throw new UserError(`${path}: not a whole Parquet file (${error.message}); write it again`);
  });
  for (const { columns } of metadata.row_groups) {
    for (const { meta_data } of columns) {
      const codec = meta_data?.codec ?? 'UNCOMPRESSED';
      if (codec === 'UNCOMPRESSED' || codec === 'SNAPPY' || codec in compressors) continue;
      throw new UserError(
        `${path}: its columns are compressed with ${codec}, which cannot be read here; write it with snappy or gzip`,
      );
    }
  }
  const rows = await parquetReadObjects({ file, metadata, compressors });
  return rows.map((row, i) => toDocument(row, path, i + 1, `${path}: row ${i + 1}`, languages));
}

// Snappy is hyparquet's own; gzip and brotli come from Node, zstd only from Node 22.15 on; LZ4 and LZO are not to be had.
const zstd: unknown = Reflect.get(zlib, 'zstdDecompressSync');
const compressors: Compressors = {
  GZIP: bytes => zlib.gunzipSync(bytes),
  BROTLI: bytes => zlib.brotliDecompressSync(bytes),
  ...(typeof zstd === 'function' ? { ZSTD: (bytes: Uint8Array) => zstd(bytes) } : {}),
};

function toDocument(
  row: Record<string, unknown>,
  path: string,
  line: number,
  where: string,
  languages: Language[],
): Document {
  const code = row.language ?? row.lang;
  if (code === undefined || code === null) {
    throw new UserError(`${where}: no "language" (or "lang"); add the language's code`);
  }
  const language = languageOf(code, where, languages);
  const text = typeof row.text === 'string' ? plainText(row.text) : '';
  if (text === '') {
    throw new UserError(`${where}: "text" is ${short(row.text)}; give the document's text or take the line out`);
  }
  const id = row.id ?? line;
  if (typeof id !== 'string' && typeof id !== 'number' && typeof id !== 'bigint') {
    throw new UserError(`${where}: "id" is ${short(id)}; give a text or a number`);
  }
  const source = basename(path);
  const item = `${source}/${id}`;
  return {
    id: `${item}/${language.code}`,
    language: language.code,
    source,
    domain: oneOf('domain', row.domain ?? 'general', DOMAINS, where) as Domain,
    split: oneOf('split', row.split ?? itemSplit(item), SPLITS, where) as Split,
    item,
    text,
  };
}

function languageOf(code: unknown, where: string, languages: Language[]): Language {
  const language = typeof code === 'string' ? findLanguage(code, languages) : undefined;
  if (language !== undefined) return language;
  const known = languages.map(each => each.code).join(' ');
  throw new UserError(
    `${where}: language ${short(code)} is not in the families file; add it there or use one of ${known}`,
  );
}

function oneOf(field: string, value: unknown, allowed: string[], where: string): string {
  if (typeof value === 'string' && allowed.includes(value)) return value;
  throw new UserError(`${where}: "${field}" is ${short(value)}; use one of ${allowed.join(', ')}`);
}

async function readConversations(path: string, languages: Language[]): Promise<Document[]> {
  const { size } = statSync(path);
  if (size > LARGEST_JSON) {
    throw new UserError(
      `${path} has ${Math.round(size / 1e6)} MB, too much for one JSON value; split it, or write it as .jsonl or .parquet`,
    );
  }
  const text = readFileSync(path, 'utf8');
  let groups: unknown;
  try {
    groups = JSON.parse(text);
  } catch (error) {
    throw new UserError(
      `${path}${lineOf(error as Error, text)}: not JSON (${onOneLine((error as Error).message)}); mend it there`,
    );
  }
  if (typeof groups !== 'object' || groups === null || Array.isArray(groups)) {
    throw new UserError(
      `${path}: not an object of {"medicalExam_en": [["question", "answer"], …]}; for rows use .jsonl`,
    );
  }
  return Object.entries(groups).flatMap(([key, samples]) => {
    const parts = /^([^_]+)_(.+?)(_qa)?$/.exec(key);
    if (parts === null) {
      throw new UserError(`${path}: the key "${key}" is not <type>_<language> or <type>_<language>_qa; rename it`);
    }
    const language = languageOf(parts[2], `${path}: key "${key}"`, languages);
    if (!Array.isArray(samples))
      throw new UserError(`${path}: "${key}" is ${short(samples)}; give a list of conversations`);
    return samples.map((turns, n) => conversation(turns, key, parts[1], n, path, language));
  });
}

/** One conversation as a document; its source is the key, which is what the paper's mixture weighs by. */
function conversation(
  turns: unknown,
  key: string,
  type: string,
  n: number,
  path: string,
  language: Language,
): Document {
  const where = `${path}: "${key}" conversation ${n + 1}`;
  const wrong = !Array.isArray(turns) || turns.length === 0 || turns.length % 2 === 1 || turns.some(isEmpty);
  if (wrong)
    throw new UserError(`${where} is ${short(turns)}; give questions and answers in turn, as texts, none empty`);
  const pieces = turns
    .map((turn: string, i) => ({ text: turn.normalize('NFC'), learn: i % 2 === 1 }))
    .flatMap((piece, i) => {
      const label = piece.learn ? '\nAssistant:' : i === 0 ? 'User:' : '\nUser:';
      return piece.learn ? [{ text: label, learn: false }, piece] : [{ text: label + piece.text, learn: false }];
    });
  const item = `${basename(path)}/${key}/${n + 1}`;
  return {
    id: `${item}/${language.code}`,
    language: language.code,
    source: key,
    domain: type.startsWith('medical') ? 'medical' : 'general',
    split: itemSplit(item),
    item,
    text: pieces.map(piece => piece.text).join(''),
    pieces,
  };
}

/** One kind of line end, no white space around, NFC. */
const plainText = (raw: string): string => raw.replace(/\r\n?/g, '\n').trim().normalize('NFC');

const isEmpty = (turn: unknown): boolean => typeof turn !== 'string' || turn.trim() === '';

/** `:line` of a JSON error that says a position. */
function lineOf(error: Error, text: string): string {
  const position = /at position (\d+)/.exec(error.message);
  return position === null ? '' : `:${text.slice(0, Number(position[1])).split('\n').length}`;
}

const short = (value: unknown): string => {
  const text = JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? String(v) : v)) ?? 'missing';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};
