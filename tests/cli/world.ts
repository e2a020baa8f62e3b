// A tiny world for tests of the whole program: five made-up languages in three families, their text as JSONL, a
// configuration that trains in a second; and the program itself, run as people run it.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { syntheticCorpus } from '../../src/data/synthetic.ts';

/** Kernels are compiled once for all tests, and the person's own cache is left alone. */
const CACHE = join(tmpdir(), 'language-family-moe-tests');
const PROGRAM = fileURLToPath(new URL('../../bin/moe.mjs', import.meta.url));

export interface World {
  /** Folder of everything; `moe` runs in it. */
  folder: string;
  /** Configuration file, relative to the folder. */
  config: string;
  remove(): void;
}

/** Two layers of width 16, byte tokens, the second layer sparse after half of 4 steps. */
export function tinyWorld(settings: Record<string, unknown> = {}): World {
  const folder = mkdtempSync(join(tmpdir(), 'moe-world-'));
  const { languages, corpus } = syntheticCorpus({ seed: 'world', families: [2, 2, 1], items: 24, sentences: 2 });
  const lines = corpus.documents.map(({ language, item, split, domain, text }) =>
    JSON.stringify({ language, id: item, split, domain, text }),
  );
  writeFileSync(join(folder, 'text.jsonl'), `${lines.join('\n')}\n`);
  const families = [0, 1, 2].map(expert => ({
    name: `family-${expert}`,
    expert,
    languages: languages
      .filter(language => language.expert === expert)
      .map(({ code, name, script }) => ({ code, name, script })),
  }));
  writeFileSync(join(folder, 'families.yaml'), stringify({ name: 'tiny', families }));
  writeFileSync(join(folder, 'config.yaml'), stringify({ ...tinyConfig, ...settings }));
  return { folder, config: 'config.yaml', remove: () => rmSync(folder, { recursive: true, force: true }) };
}

const tinyConfig = {
  name: 'tiny',
  families: 'families.yaml',
  data: { sources: [], files: ['text.jsonl'], sequence_length: 32 },
  tokenizer: { kind: 'bytes' },
  model: {
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 64,
    moe_layers: 'last 1',
  },
  train: { steps: 4, batch_size: 2, evaluate_every: 2, evaluate_tokens: 40, save_every: 1, record_every: 1 },
};

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

export interface Started {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** Resolves once this was said on stderr. */
  said(words: string): Promise<void>;
}

/** Starts `moe` in a folder, as a pipe sees it: no terminal, no colours. `preload` is imported by it first. */
export function startMoe(folder: string, args: string[], preload?: URL): Started {
  const before = preload ? ['--import', preload.href] : [];
  const child = spawn(process.execPath, [...before, PROGRAM, ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '80', XDG_CACHE_HOME: CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // A test that fails while the program runs must not leave it behind.
  const stop = (): void => void child.kill('SIGKILL');
  process.once('exit', stop);
  child.once('close', () => process.off('exit', stop));
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    err += text;
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
  const said = (words: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => void (err.includes(words) && resolve());
      child.stderr.on('data', look);
      child.on('close', () => reject(new Error(`ended without saying '${words}': ${err}`)));
      look();
    });
  return { child, ended, said };
}

export const moe = (folder: string, ...args: string[]): Promise<Ended> => startMoe(folder, args).ended;

/** What the person reads when the program refuses: its one sentence, after the check that it is one and nothing else went wrong. */
export function refusal({ code, err, out }: Ended): string {
  const said = err.split('\n').filter(line => line.startsWith('moe: '));
  if (code !== 2 || said.length !== 1 || !err.endsWith(`${said[0]}\n`) || /^\s+at /m.test(err + out))
    throw new Error(`not a refusal in one sentence: exit ${code}\n${out}\n${err}`);
  return said[0];
}
