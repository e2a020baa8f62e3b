// Reads routing that another program recorded into a trace: Megatron-Core's router trace, routed experts of vLLM and SGLang, and the
// JSONL of OLMoE's analysis. What the files do not say comes from a side file of documents; docs/trace.md lists both.
import { UserError } from '../../errors.ts';
import type { Recorded } from '../recorded.ts';
import { type ForeignDocument, type ForeignShape, type ImportOptions, recordedOf } from './build.ts';
import { type DocumentRow, readDocumentRows } from './documents.ts';
import { readEngine } from './engines.ts';
import { readMegatron } from './megatron.ts';
import { readOlmoe } from './olmoe.ts';

type Reader = (
  path: string,
  rows: DocumentRow[],
  options: ImportOptions,
) => Promise<{ documents: ForeignDocument[]; shape: ForeignShape }>;

const READERS: Record<string, Reader> = {
  megatron: readMegatron,
  vllm: (path, rows, options) => readEngine('vllm', path, rows, options),
  sglang: (path, rows, options) => readEngine('sglang', path, rows, options),
  olmoe: readOlmoe,
};
export const FORMATS = Object.keys(READERS);

/** @throws UserError for files that are not as the format has them, or that contradict the side file or the options */
export async function importTrace(format: string, path: string, options: ImportOptions): Promise<Recorded> {
  const read = READERS[format];
  if (!read) throw new UserError(`--import ${format} is not known; use ${FORMATS.join(', ')}.`);
  const rows = await readDocumentRows(options.documents);
  const { documents, shape } = await read(path, rows, options);
  return recordedOf(documents, shape, options);
}
