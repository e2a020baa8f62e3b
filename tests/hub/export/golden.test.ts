// What stock transformers computed with an export of a trained mixture (tests/golden/hub-export/make.py) is what the program
// computes with the checkpoint, and the export is still, byte for byte, what transformers was given.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadTokenizer } from '../../../src/data/tokenizer/file.ts';
import { provenanceOf } from '../../../src/hub/export/provenance.ts';
import { exportModel } from '../../../src/hub/export/write-export.ts';
import { readModelFolder } from '../../../src/hub/model-folder.ts';
import { readFloat32, readSafetensors } from '../../../src/hub/read-safetensors.ts';
import { backends, use } from '../../engine/backends.ts';
import { difference } from '../../model/toy.ts';
import { logitsOf } from './logits.ts';

const HOME = join(import.meta.dirname, '..', '..', 'golden', 'hub-export');
const CHECKPOINT = join(HOME, 'checkpoint');
const golden = JSON.parse(readFileSync(join(HOME, 'golden.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'moe-export-'));
const exported = join(folder, 'qwen2-moe');
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  const provenance = provenanceOf(readModelFolder(CHECKPOINT), null);
  await exportModel(readModelFolder(CHECKPOINT), exported, {
    target: 'qwen2-moe',
    dtype: null,
    mostBytes: 5e9,
    provenance,
  });
});

test('the export has the bytes that transformers loaded', () => {
  const hash = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(exported, name)))
      .digest('hex');
  expect(Object.fromEntries(Object.keys(golden.sha256).map(name => [name, hash(name)]))).toEqual(golden.sha256);
});

test.each(backends)('checkpoint and export give the logits of transformers on %s', async backend => {
  await use(backend);
  const { tensors } = readSafetensors(join(HOME, 'logits.safetensors'));
  for (const directory of [CHECKPOINT, exported]) {
    const found = logitsOf(directory, golden.sequences);
    found.forEach((logits_SV, i) => {
      const expected = readFloat32(tensors.get(`sequence${i}`)!);
      expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(3);
      expect(difference(logits_SV, expected)).toBeLessThan(1e-5);
    });
  }
});

test('AutoTokenizer gives the ids of our tokenizer', () => {
  const tokenizer = loadTokenizer(join(exported, 'tokenizer.json'));
  expect(Array.from(tokenizer.encode(golden.text.text))).toEqual(golden.text.ids);
  expect(tokenizer.eosId).toBe(golden.text.eos);
});
