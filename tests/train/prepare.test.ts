// Text that cannot serve a run is refused before anything is trained on it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { Split } from '../../src/data/types.ts';
import { UserError } from '../../src/errors.ts';
import { prepare } from '../../src/train/prepare.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-prepare-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Prepares one language of four documents with these splits, as bytes. */
function prepareWith(...splits: Split[]) {
  const rows = splits.map((split, i) => JSON.stringify({ language: 'aa', text: `text ${i}`, split }));
  writeFileSync(join(folder, 'text.jsonl'), rows.join('\n'));
  writeFileSync(
    join(folder, 'run.yaml'),
    `families: { name: one, families: [{ name: A, expert: 0, languages: [{ code: aa, name: A, script: Latn }] }] }
data: { sources: [], files: [text.jsonl] }
tokenizer: { kind: bytes }
model: { num_experts_per_tok: 1, norm_topk_prob: false }
`,
  );
  const { config, map } = loadConfig(join(folder, 'run.yaml'));
  return prepare(config, map);
}

it('text in each split becomes token documents of it', async () => {
  const { documents, trainingBytes } = await prepareWith('train', 'train', 'validation', 'test');
  expect([documents.train, documents.validation, documents.test].map(list => list.length)).toEqual([2, 1, 1]);
  expect(Array.from(documents.test[0].ids)).toEqual([...Buffer.from('text 3'), 256]);
  expect([...trainingBytes]).toEqual([12]);
});

it.each<[Split, Split[]]>([
  ['train', ['validation', 'test']],
  ['validation', ['train', 'test']],
])('no %s text at all is refused with what to do', async (missing, splits) => {
  const wrong = prepareWith(...splits);
  await expect(wrong).rejects.toThrow(
    `none of the 2 documents is ${missing} text; mark some with "split": "${missing}"`,
  );
  await expect(wrong).rejects.toThrow(UserError);
});
