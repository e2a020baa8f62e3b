// `moe trace` on layouts of the transformers library with random weights, as people run it: OLMoE and Qwen3-MoE, in memory and
// layer by layer, with text of one's own; and with untrained routers.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readDocumentCounts } from '../../analysis/read/document-counts.ts';
import { streamBlocks } from '../../analysis/read/stream.ts';
import { layerNumbers } from '../../src/commands/options.ts';
import { trace } from '../../src/commands/trace.ts';
import { createTokenizer } from '../../src/data/tokenizer/index.ts';
import { UserError } from '../../src/errors.ts';
import { openCheckpoint, readFloat32 } from '../../src/hub/read-safetensors.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';
import { createRng } from '../../src/train/rng.ts';
import { moe } from '../cli/world.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden', 'hf');
const VOCABULARY = 257;
const home = mkdtempSync(join(tmpdir(), 'moe-traced-'));
afterAll(() => rmSync(home, { recursive: true }));
const run = (...args: string[]) => moe(home, ...args);

/** A golden checkpoint whose vocabulary has a token for every byte. */
async function withBytes(name: string): Promise<void> {
  const folder = join(home, name);
  cpSync(join(GOLDEN, name), folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, vocab_size: VOCABULARY }));
  writeFileSync(join(folder, 'tokenizer.json'), createTokenizer({ kind: 'bytes' }, []).toJson());
  const { gaussian } = createRng(name);
  const tensors = [...openCheckpoint(join(GOLDEN, name)).tensors].map(([tensor, entry]) => {
    const byToken = entry.shape[0] === config.vocab_size;
    const shape = byToken ? [VOCABULARY, entry.shape[1]] : [...entry.shape];
    const values = () =>
      byToken ? Float32Array.from({ length: VOCABULARY * shape[1] }, () => gaussian()) : readFloat32(entry);
    return { name: tensor, dtype: 'F32' as const, shape, values };
  });
  rmSync(join(folder, 'model.safetensors'));
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

const TEXTS = [
  { language: 'xa', id: 'one', text: 'a short text' },
  { language: 'xa', id: 'two', text: 'another, longer one' },
  { language: 'xb', id: 'one', text: 'ein kurzer Text' },
  { language: 'xb', id: 'two', text: 'noch einer, länger' },
];

beforeAll(async () => {
  await Promise.all(['olmoe', 'qwen3_moe'].map(withBytes));
  writeFileSync(join(home, 'texts.jsonl'), TEXTS.map(row => JSON.stringify(row)).join('\n'));
  const family = (code: string, expert: number) =>
    `  - { name: family ${code}, expert: ${expert}, languages: [{ code: ${code}, name: ${code}, script: Latn }] }\n`;
  writeFileSync(join(home, 'families.yaml'), `name: two\nfamilies:\n${family('xa', 0)}${family('xb', 1)}`);
});

test.each([
  ['olmoe', [0, 1]],
  ['qwen3_moe', [1, 2]],
])('%s: every token has k experts in every MoE layer, in memory as layer by layer', async (name, layers) => {
  const args = ['trace', '--model', name, '--text', 'texts.jsonl', '--families', 'families.yaml', '--softmax'];
  const [whole, within] = await Promise.all([
    run(...args, '--out', `${name}-whole`, '--json'),
    run(...args, '--out', `${name}-within`, '--memory', '2.2MB'),
  ]);
  expect(whole.code, whole.err).toBe(0);
  expect(within.code, within.err).toBe(0);
  const folder = join(home, `${name}-whole`);
  for (const file of readdirSync(folder))
    expect(readFileSync(join(home, `${name}-within`, file)).equals(readFileSync(join(folder, file))), file).toBe(true);
  const tokens = TEXTS.map(({ text }) => Buffer.byteLength(text));
  const all = tokens.reduce((a, b) => a + b);
  expect(JSON.parse(whole.out)).toMatchObject({ documents: 4, languages: 2, tokens: all, layers, softmax: true });
  const { header, counts } = await readDocumentCounts(folder);
  expect(header).toMatchObject({ model: name, moeLayers: layers, expertsPerToken: 2 });
  expect(header.documents.map(({ item, language }) => `${item} ${language}`)).toEqual(
    TEXTS.map(({ id, language }) => `texts.jsonl/${id} ${language}`),
  );
  expect([...counts.tokens]).toEqual(tokens.map(n => n - 1)); // the first content token is left out
  expect(counts.items).toBe(2);
  counts.softmax!.forEach(perDocument => {
    for (let d = 0; d < 4; d++) {
      const row = perDocument.subarray(d * header.numExperts, (d + 1) * header.numExperts);
      expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
    }
  });
  let seen = 0;
  for await (const { expert } of streamBlocks(folder)) {
    expect(expert.includes(-1)).toBe(false);
    seen += expert.length;
  }
  expect(seen).toBe(all * layers.length * 2);
});

test('routers drawn anew by a seed: the same text, other experts', async () => {
  const args = ['trace', 'olmoe', '--text', 'texts.jsonl', '--families', 'families.yaml', '--untrained-router'];
  const [drawn, otherwise] = await Promise.all([
    run(...args, '0', '--out', 'drawn'),
    run(...args, '1', '--out', 'other'),
  ]);
  expect([drawn.code, otherwise.code], drawn.err + otherwise.err).toEqual([0, 0]);
  const { header, counts } = await readDocumentCounts(join(home, 'drawn'));
  const trained = await readDocumentCounts(join(home, 'olmoe-whole'));
  expect([header.untrainedRouter, trained.header.untrainedRouter]).toEqual([0, undefined]);
  expect(counts.tokens).toEqual(trained.counts.tokens);
  expect(counts.count).not.toEqual(trained.counts.count);
  expect(counts.count).not.toEqual((await readDocumentCounts(join(home, 'other'))).counts.count);
});

test('what cannot be traced gets one sentence', async () => {
  const olmoe = join(home, 'olmoe');
  const families = join(home, 'families.yaml');
  const refused = (path: string | undefined, options: Partial<Parameters<typeof trace>[1]>) =>
    trace(path, { out: join(home, 'x'), tokens: 100, backend: 'wasm', ...options }).catch((error: Error) => error);
  const wrong = [
    await refused(olmoe, {}),
    await refused(olmoe, { model: olmoe }),
    await refused('x', { import: 'vllm' }),
    await refused(undefined, { import: 'vllm' }),
    await refused(olmoe, { experts: 3 }),
    await refused(olmoe, { text: 'nowhere.jsonl', families }),
    await refused(olmoe, { text: 'builtin', families }),
  ];
  expect(wrong.every(error => error instanceof UserError)).toBe(true);
  expect(wrong.map(error => (error as Error).message)).toEqual([
    expect.stringMatching(/olmoe does not say which languages it is for; name languages and text with --families/),
    `there are two models, ${olmoe} and --model ${olmoe}; leave one of them out.`,
    expect.stringMatching(/^these files do not say which text is which language; give --documents FILE/),
    'there is nothing to import; name the file or folder: moe trace --import vllm PATH.',
    "--experts describes another program's files; name their format with --import, or leave it out.",
    'nowhere.jsonl does not exist; give a file or folder of text',
    'the built-in text has none of the languages xa, xb; give text of your own with --text FILE.',
  ]);
  expect(existsSync(join(home, 'x'))).toBe(false);
});

test('numbers of layers', () => {
  expect(layerNumbers('1,3-5, 4')).toEqual([1, 3, 4, 5]);
  for (const wrong of ['5-3', '', 'all', '1,', '-2'])
    expect(() => layerNumbers(wrong)).toThrow('give numbers and ranges');
});
