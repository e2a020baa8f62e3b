// Where an exported model says it comes from: its run's settings, text and figures, and the parent by hash.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { provenanceOf } from '../../../src/hub/export/provenance.ts';
import { readModelFolder } from '../../../src/hub/model-folder.ts';

const TRAINED = join(import.meta.dirname, '..', '..', 'golden', 'hub-export', 'checkpoint');
const root = mkdtempSync(join(tmpdir(), 'moe-provenance-'));
afterAll(() => rmSync(root, { recursive: true }));
const sha256 = createHash('sha256')
  .update(readFileSync(join(TRAINED, 'model.safetensors')))
  .digest('hex');

const row = (step: number, loss: number): string => {
  const byLanguage = [{ code: 'x0a', family: 'f', loss, bitsPerByte: 2 * loss, tokens: 7 }];
  return JSON.stringify({ step, kind: 'validation', free: { byLanguage }, given: { byLanguage } });
};

let run = '';
let checkpoint = '';
let start = '';
beforeEach(() => {
  const home = mkdtempSync(join(root, 'case-'));
  run = join(home, 'my-run');
  checkpoint = join(run, 'checkpoints', 'step-000040');
  start = join(home, 'start');
  mkdirSync(checkpoint, { recursive: true });
  mkdirSync(start);
  for (const folder of [checkpoint, start])
    for (const name of ['config.json', 'model.safetensors']) cpSync(join(TRAINED, name), join(folder, name));
  writeFileSync(join(run, 'config.yaml'), `seed: 3\ninit: ${start}\n`);
  writeFileSync(join(run, 'environment.json'), JSON.stringify({ corpus: { sources: [{ source: 'udhr' }] } }));
  // Step 40 was measured twice, before and after a resume; the last line was cut by a crash.
  writeFileSync(
    join(run, 'metrics.jsonl'),
    [row(20, 5), row(40, 4), row(40, 3), row(60, 2), row(40, 1).slice(0, 60)].join('\n'),
  );
});
const found = () => provenanceOf(readModelFolder(checkpoint), run);

test('a run: name, step, seed, text, the last figures of that step, parent by hash', () => {
  const loss = { x0a: { loss: 3, bitsPerByte: 6, tokens: 7 } };
  expect(found()).toMatchObject({
    weights_sha256: sha256,
    run: { name: 'my-run', step: 40, seed: 3 },
    data: [{ source: 'udhr' }],
    metrics: { step: 40, free: loss, given: loss },
    parent: { name: 'start', sha256 },
    families: { names: ['family-0', 'family-1', 'family-2'] },
  });
  expect(found().upcycling).toBeUndefined();
});

test('a run that began as an upcycled model hands on its dense parent', () => {
  const parent = { name: 'dense', sha256: '1'.repeat(64) };
  writeFileSync(join(start, 'provenance.json'), JSON.stringify({ parent, upcycling: 'Layers 1.' }));
  expect(found()).toMatchObject({ parent, upcycling: 'Layers 1.' });
});

test('what is gone or was not measured is left out', () => {
  rmSync(start, { recursive: true });
  rmSync(join(run, 'environment.json'));
  writeFileSync(join(run, 'metrics.jsonl'), `${row(20, 5)}\n`);
  expect(JSON.parse(JSON.stringify(found()))).toEqual({
    weights_sha256: sha256,
    run: { name: 'my-run', step: 40, seed: 3 },
    families: expect.anything(),
  });
});

test('a checkpoint that carries its provenance hands it on, in a run too; a damaged file is named', () => {
  writeFileSync(join(checkpoint, 'provenance.json'), '{"weights_sha256":"f00"}');
  expect(found()).toMatchObject({ weights_sha256: 'f00' });
  expect(found().run).toBeUndefined();
  writeFileSync(join(checkpoint, 'provenance.json'), '[');
  expect(found).toThrow(/provenance\.json is not a JSON object; mend it or remove it\.$/);
});
