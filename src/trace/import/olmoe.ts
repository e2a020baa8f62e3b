// What OLMoE's scripts/run_moe_analysis.py writes: JSONL, per stretch of text `input_ids` [n] and `exp_ids` [n][k][layers], experts by
// falling score; no gates. The pickles of run_routing_analysis.py hold counts of whole domains in three layers, no documents: they
// cannot become a trace.
import { UserError } from '../../errors.ts';
import type { ForeignDocument, ForeignShape } from './build.ts';
import { type DocumentRow, jsonLines, tokenIds } from './documents.ts';
import { parseLists } from './numbers.ts';

/** @throws UserError naming the line for what the script does not write */
export async function readOlmoe(
  path: string,
  rows: DocumentRow[],
): Promise<{ documents: ForeignDocument[]; shape: ForeignShape }> {
  if (path.endsWith('.pkl'))
    throw new UserError(
      `${path} is a pickle of counts over whole domains, without documents; import the JSONL of run_moe_analysis.py instead.`,
    );
  const documents: ForeignDocument[] = [];
  let shape: ForeignShape | null = null;
  for await (const { value, where } of jsonLines(path)) {
    const row = rows[documents.length];
    if (row === undefined)
      throw new UserError(
        `${where} is text ${documents.length + 1}, the documents file has ${rows.length} rows; give a row for each.`,
      );
    const ids = tokenIds(value.input_ids, `${where}: "input_ids"`);
    const { shape: found, values } = parseLists(value.exp_ids, `${where}: "exp_ids"`);
    const [n, k, layers] = found;
    if (found.length !== 3 || n !== ids.length || (shape && (shape.k !== k || shape.layers !== layers)))
      throw new UserError(
        `${where}: "exp_ids" has shape (${found.join(', ')}) for ${ids.length} ids; it must be [tokens, k, layers], the same k and layers in every line.`,
      );
    const expert = new Int32Array(values.length);
    for (let i = 0; i < n; i++)
      for (let slot = 0; slot < k; slot++)
        for (let l = 0; l < layers; l++) expert[(i * layers + l) * k + slot] = values[(i * k + slot) * layers + l];
    documents.push({ row, ids, expert });
    shape = { numbers: null, layers, k, path };
  }
  if (shape === null || documents.length < rows.length)
    throw new UserError(
      `${path} has ${documents.length} texts, the documents file ${rows.length} rows; give a row for each.`,
    );
  return { documents, shape };
}
