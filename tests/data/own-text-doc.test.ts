// docs/own-text.md is true: its files, put beside each other as it says, are read as it says.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { readUserText } from '../../src/data/user.ts';

const blocks = readFileSync(new URL('../../docs/own-text.md', import.meta.url), 'utf8').matchAll(
  /^```(\w+)\n([\s\S]*?)^```/gm,
);
const [families, run, jsonl, json] = [...blocks].map(([, , body]) => body);
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-doc-'));
  const files = { 'families.yaml': families, 'rivers.yaml': run, 'text.jsonl': jsonl, 'paper.json': json };
  for (const [name, body] of Object.entries(files)) writeFileSync(join(folder, name), body);
});
afterAll(() => rmSync(folder, { recursive: true }));

it('its configuration names two languages with an expert each, and its own text alone', () => {
  const { config, map } = loadConfig(join(folder, 'rivers.yaml'));
  expect(map.languages.map(({ code, expert }) => [code, expert])).toEqual([
    ['ull', 0],
    ['nor1', 1],
  ]);
  expect(config.data).toMatchObject({ sources: [], files: [join(folder, 'text.jsonl')] });
});

it('its JSONL is one parallel item, its JSON two conversations of which answers are learnt', async () => {
  const { map } = loadConfig(join(folder, 'rivers.yaml'));
  const rows = await readUserText(join(folder, 'text.jsonl'), map.languages);
  expect(rows.map(({ language, item }) => [language, item])).toEqual([
    ['ull', 'text.jsonl/song-1'],
    ['nor1', 'text.jsonl/song-1'],
  ]);
  const talks = await readUserText(join(folder, 'paper.json'), map.languages);
  expect(talks.map(({ language, domain, source }) => [language, domain, source])).toEqual([
    ['ull', 'medical', 'medicalExam_ull'],
    ['nor1', 'general', 'general_nor1_qa'],
  ]);
  const learnt = talks[1].pieces?.filter(({ learn }) => learn).map(({ text }) => text);
  expect(learnt).toEqual(['Brugond.', 'Il.']);
});
