// vocabulary.parquet: the text of the token ids that occur, for people to read.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { rowGroups } from './parquet.ts';

/** Text by token id; empty where the trace has no such file. Throws UserError for a damaged one. */
export function readVocabulary(directory: string): Map<number, string> {
  const path = join(directory, 'vocabulary.parquet');
  const texts = new Map<number, string>();
  if (!existsSync(path)) return texts;
  for (const { rows, columns } of rowGroups(path, { token: 'integer', text: 'text' }, null)) {
    for (let i = 0; i < rows; i++) texts.set(columns.token[i], columns.text[i] as unknown as string);
  }
  return texts;
}
