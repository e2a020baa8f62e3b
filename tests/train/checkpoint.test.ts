import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import {
  latestCheckpoint,
  listCheckpoints,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from '../../src/train/checkpoint.ts';
import type { NamedTensor } from '../../src/train/optimizer.ts';
import { contentsOf } from './contents.ts';

let run = '';
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'moe-run-'));
});
afterEach(() => rmSync(run, { recursive: true }));

const save = (step: number, keep?: number): Promise<string> => saveCheckpoint(run, step, { ...contentsOf(step), keep });
const names = (): string[] => readdirSync(join(run, 'checkpoints')).sort();
const byName = (a: NamedTensor, b: NamedTensor): number => (a[0] < b[0] ? -1 : 1);
function refused(directory: string, sentence: RegExp): void {
  expect(() => loadCheckpoint(directory)).toThrow(UserError);
  expect(() => loadCheckpoint(directory)).toThrow(sentence);
}

describe('checkpoint', () => {
  it('gives back every bit, in five files under the name of its step', async () => {
    const directory = await save(120);
    expect(directory).toBe(join(run, 'checkpoints', 'step-000120'));
    expect(readdirSync(directory).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'optimizer.safetensors',
      'tokenizer.json',
      'trainer_state.json',
    ]);
    const { weights, optimizer, trainerState, ...rest } = contentsOf(120);
    const loaded = loadCheckpoint(directory);
    expect([...loaded.weights()].sort(byName)).toEqual([...weights].sort(byName));
    expect([...loaded.optimizer()].sort(byName)).toEqual([...optimizer].sort(byName));
    // JSON writes −0 as 0; both mean the same to every state.
    const withZero = { ...trainerState.run, losses: [0.1 + 0.2, 0, 1e-300] };
    expect(loaded.trainerState).toEqual({ step: 120, ...trainerState, run: withZero });
    expect([loaded.step, loaded.config, loaded.tokenizerJson]).toEqual([120, rest.config, rest.tokenizerJson]);
  });

  it('trainer_state.json names bytes and SHA-256 of the other files, and of the configuration', async () => {
    const directory = await save(1);
    const state = JSON.parse(readFileSync(join(directory, 'trainer_state.json'), 'utf8'));
    const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');
    for (const name of ['config.json', 'model.safetensors', 'optimizer.safetensors', 'tokenizer.json']) {
      const bytes = readFileSync(join(directory, name));
      expect(state.files[name]).toEqual({ bytes: bytes.length, sha256: sha256(bytes) });
    }
    expect(state.configHash).toBe(sha256('{"name":"a","train":{"learning_rate":0.001}}'));
  });

  it('state that JSON would lose is refused at the save: NaN, typed arrays, maps; nothing is left behind', async () => {
    for (const lost of [Number.NaN, Infinity, new Float32Array(2), new Map([[1, 2]])]) {
      const contents = contentsOf(1);
      const trainerState = { ...contents.trainerState, run: { bias: lost } };
      await expect(saveCheckpoint(run, 1, { ...contents, trainerState })).rejects.toThrow("'bias' is not plain JSON");
    }
    expect(names()).toEqual([]);
  });

  it('saving a step again replaces it', async () => {
    await save(5);
    const contents = { ...contentsOf(5), tokenizerJson: '{}' };
    expect(loadCheckpoint(await saveCheckpoint(run, 5, contents)).tokenizerJson).toBe('{}');
    expect(names()).toEqual(['step-000005']);
  });

  it('a save that fails half way leaves the older checkpoints and no trace', async () => {
    await save(1);
    function* broken(): Iterable<NamedTensor> {
      yield ['a', { shape: [1], values: Float32Array.of(1) }];
      throw new Error('out of memory');
    }
    await expect(saveCheckpoint(run, 2, { ...contentsOf(2), optimizer: broken() })).rejects.toThrow('out of memory');
    expect(names()).toEqual(['step-000001']);
    loadCheckpoint(join(run, 'checkpoints', 'step-000001'));
  });
});

describe('a checkpoint that is not whole is refused in one sentence', () => {
  it('truncated, lengthened, changed or missing files', async () => {
    const directory = await save(9);
    const model = join(directory, 'model.safetensors');
    const good = readFileSync(model);
    truncateSync(model, good.length - 4);
    refused(
      directory,
      /model\.safetensors has \d+ bytes instead of \d+: it is truncated; resume from another checkpoint of the run\.$/,
    );
    writeFileSync(model, good);
    appendFileSync(model, 'x');
    refused(directory, /model\.safetensors has .* not the file that was saved/);
    writeFileSync(model, good);
    loadCheckpoint(directory);
    rmSync(join(directory, 'optimizer.safetensors'));
    refused(directory, /optimizer\.safetensors is missing: resume from another checkpoint of the run\.$/);
  });

  it('one flipped bit anywhere in any file', async () => {
    const directory = await save(9);
    const every = readdirSync(directory);
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(7), (file, place, bit) => {
        const path = join(directory, every[file % every.length]);
        const good = readFileSync(path);
        const bad = Buffer.from(good);
        bad[place % bad.length] ^= 1 << bit;
        writeFileSync(path, bad);
        // In trainer_state.json a flip may hit white space between values: then nothing has changed.
        const same = path.endsWith('trainer_state.json') && sameJson(good, bad);
        if (same) loadCheckpoint(directory);
        else expect(() => loadCheckpoint(directory)).toThrow(UserError);
        writeFileSync(path, good);
      }),
      { numRuns: 300 },
    );
    loadCheckpoint(directory);
  });

  it('folders of others, and no folder', async () => {
    const directory = await save(9);
    const foreign = join(run, 'foreign');
    refused(foreign, /^There is no checkpoint .*foreign: check the path\.$/);
    mkdirSync(foreign);
    cpSync(join(directory, 'config.json'), join(foreign, 'config.json'));
    refused(
      foreign,
      /has no trainer_state\.json, so a run cannot be resumed from it: name a folder checkpoints\/step-…/,
    );
    writeFileSync(join(foreign, 'trainer_state.json'), '{"global_step": 10, "log_history": []}');
    refused(
      foreign,
      /trainer_state\.json was written by another program: only checkpoints of moe train can be resumed\.$/,
    );
    for (const nonsense of ['', 'null', '[]', '"text"', '{', '7']) {
      writeFileSync(join(foreign, 'trainer_state.json'), nonsense);
      refused(foreign, /trainer_state\.json (is damaged|was written by another program)/);
    }
  });

  it('another format version', async () => {
    const directory = await save(9);
    const path = join(directory, 'trainer_state.json');
    const { sha256, ...state } = JSON.parse(readFileSync(path, 'utf8'));
    const next = { ...state, version: 2 };
    const seal = createHash('sha256').update(JSON.stringify(next)).digest('hex');
    expect(seal).not.toBe(sha256);
    writeFileSync(path, JSON.stringify({ ...next, sha256: seal }));
    refused(directory, /has format version 2, this program reads 1: resume with the moe that wrote it\.$/);
  });
});

function sameJson(a: Buffer, b: Buffer): boolean {
  try {
    return JSON.stringify(JSON.parse(a.toString())) === JSON.stringify(JSON.parse(b.toString()));
  } catch {
    return false;
  }
}

describe('the checkpoints of a run', () => {
  it('none: null, in an empty folder and in one that is not there', () => {
    expect(latestCheckpoint(run)).toBeNull();
    expect(latestCheckpoint(join(run, 'nowhere'))).toBeNull();
  });

  it('the newest by number, past a million steps; temporaries and others are ignored', async () => {
    for (const step of [999_999, 1_000_000, 20]) await save(step);
    for (const name of [
      '.step-2000000.partial',
      '.step-2000000.old',
      '.step-2000000.removed',
      'step-3000000x',
      'step-4',
      'best',
    ])
      mkdirSync(join(run, 'checkpoints', name));
    expect(listCheckpoints(run).map(({ step }) => step)).toEqual([1_000_000, 999_999, 20]);
    expect(latestCheckpoint(run)).toMatchObject({ step: 1_000_000, skipped: [] });
  });

  it('a damaged newest is passed over and said', async () => {
    for (const step of [1, 2, 3]) await save(step);
    truncateSync(join(run, 'checkpoints', 'step-000003', 'optimizer.safetensors'), 10);
    rmSync(join(run, 'checkpoints', 'step-000002', 'trainer_state.json'));
    const latest = latestCheckpoint(run)!;
    expect(latest.step).toBe(1);
    expect(latest.skipped).toHaveLength(2);
    expect(latest.skipped[0]).toMatch(/step-000003.optimizer\.safetensors has 10 bytes/);
    expect(latest.skipped[1]).toMatch(/step-000002 has no trainer_state\.json/);
  });

  it('keep 2 keeps the last two, and clears what crashes left', async () => {
    mkdirSync(join(run, 'checkpoints', '.step-000007.partial'), { recursive: true });
    for (const step of [1, 2, 3, 4]) await save(step, 2);
    expect(names()).toEqual(['step-000003', 'step-000004']);
  });

  it('pruning never removes the newest whole one, however many newer ones are damaged', async () => {
    for (const step of [1, 2, 3, 4]) await save(step);
    for (const step of ['3', '4']) truncateSync(join(run, 'checkpoints', `step-00000${step}`, 'model.safetensors'), 1);
    expect(pruneCheckpoints(run, 1)).toEqual([join(run, 'checkpoints', 'step-000001')]);
    expect(latestCheckpoint(run)?.step).toBe(2);
    truncateSync(join(run, 'checkpoints', 'step-000002', 'config.json'), 1);
    expect(pruneCheckpoints(run, 1)).toEqual([]);
    expect(names()).toEqual(['step-000002', 'step-000003', 'step-000004']);
  });

  it('keep 0 is keep 1', async () => {
    await save(1);
    await save(2);
    pruneCheckpoints(run, 0);
    expect(names()).toEqual(['step-000002']);
  });
});
