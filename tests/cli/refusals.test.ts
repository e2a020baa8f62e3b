// Wrong input of every kind gets one sentence (what, where, how to mend it), exit 2, no stack trace, and nothing is lost.
// What the configuration itself refuses is tested beside its reader (tests/config); here: that it reaches the person.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Ended, moe, refusal, tinyWorld } from './world.ts';

const world = tinyWorld();
afterAll(world.remove);
const run = (...args: string[]): Promise<Ended> => moe(world.folder, ...args);
const refused = async (...args: string[]): Promise<string> => refusal(await run(...args));
const inWorld = (...path: string[]): string => join(world.folder, ...path);
const change = (from: string, to: string, edit: (text: string) => string): void =>
  writeFileSync(inWorld(to), edit(readFileSync(inWorld(from), 'utf8')));

/** Every file of a folder with its size and time of change: equal before and after means untouched. */
function fingerprint(folder: string): string[] {
  return readdirSync(inWorld(folder), { recursive: true, encoding: 'utf8' })
    .sort()
    .map(name => `${name} ${statSync(inWorld(folder, name)).size} ${statSync(inWorld(folder, name)).mtimeMs}`);
}

beforeAll(async () => {
  const [sparse, dense] = await Promise.all([
    run('train', '--families', world.config, '--out', 'run'),
    run('train', '--families', world.config, '--out', 'dense', '--set', 'model.moe_layers=none', '--steps', '1'),
  ]);
  expect([sparse.code, dense.code]).toEqual([0, 0]);
}, 60_000);

describe('configuration', () => {
  test('unknown key, unknown code, holes, k > E, layer out of range', async () => {
    change('config.yaml', 'key.yaml', text => text.replace('batch_size', 'bach_size'));
    change('families.yaml', 'holes.yaml', text => text.replace('expert: 2', 'expert: 3'));
    const inspect = (...args: string[]): Promise<string> => refused('inspect', ...args);
    const said = await Promise.all([
      inspect('key.yaml'),
      inspect('holes.yaml'),
      inspect('config.yaml', '--set', 'languages=["x0a","zz"]'),
      inspect('config.yaml', '--set', 'model.num_experts_per_tok=4'),
      inspect('config.yaml', '--set', 'model.moe_layers=[2]'),
    ]);
    expect(said[0]).toMatch(/^moe: key\.yaml line \d+: unknown key 'train\.bach_size'; did you mean 'batch_size'\?$/);
    expect(said[1]).toMatch(/^moe: holes\.yaml line \d+: no family has expert 2, although ids go up to 3; number /);
    expect(said[2]).toMatch(/^moe: --set languages=.*: language 'zz' is in no family; add it .*x0a x0b x1a x1b x2a\.$/);
    expect(said[3]).toMatch(/^moe: --set model\.num_experts_per_tok=4: .* more than the 3 experts of 'tiny'; choose /);
    expect(said[4]).toMatch(/^moe: --set model\.moe_layers=\[2\]: .*layers 0 to 1/);
  });
});

describe('text', () => {
  test('a language without text is named, and going on without it is offered and works', async () => {
    const lines = readFileSync(inWorld('text.jsonl'), 'utf8').split('\n');
    writeFileSync(inWorld('less.jsonl'), lines.filter(line => !line.includes('"language":"x2a"')).join('\n'));
    const less = ['train', '--families', world.config, '--steps', '1', '--set', 'data.files=["less.jsonl"]'];
    const said = await refused(...less, '--out', 'less');
    expect(said).toMatch(/^moe: no text for Synthetic 2a \(x2a\).*data\.allow_missing/);
    expect(readdirSync(world.folder)).not.toContain('less');
    const { code, out, err } = await run(...less, '--out', 'less', '--set', 'data.allow_missing=true');
    expect(code, err).toBe(0);
    expect(out).toContain('Synthetic 2a (x2a)');
    expect(out + err).not.toMatch(/NaN|Infinity|undefined/);
  });
  test('a line that is not JSON is named by file and number', async () => {
    change('text.jsonl', 'broken.jsonl', text => text.replace('\n', '\n{"language": "x0a", \n'));
    const said = await refused('data', 'stats', '--families', world.config, '--set', 'data.files=["broken.jsonl"]');
    expect(said).toMatch(/broken\.jsonl:2: not JSON .*; write one JSON object per line/);
  });
});

describe('runs', () => {
  test('a run folder that exists is not touched', async () => {
    const before = fingerprint('run');
    expect(await refused('train', '--families', world.config, '--out', 'run')).toBe(
      'moe: --out run exists already; choose another folder, or go on with that run by --resume run.',
    );
    expect(fingerprint('run')).toEqual(before);
  });
  test('a finished run says so and is not touched', async () => {
    const before = fingerprint('run');
    const { code, out } = await run('train', '--resume', 'run');
    expect([code, out.split('\n')[0]]).toEqual([0, 'run is finished: all 4 steps are done; nothing was changed.']);
    expect(fingerprint('run')).toEqual(before);
  });
  test('a resume under another configuration lists the differences', async () => {
    const said = await refused('train', '--resume', 'run', '--set', 'train.batch_size=3', '--seed', '5');
    expect(said).toContain('run/checkpoints/step-000004 was trained under another configuration');
    expect(said).toContain('(seed: 0 → 5; train.batch_size: 2 → 3)');
  });
  test('no run, an empty run, a folder that is none', async () => {
    mkdirSync(inWorld('empty'), { recursive: true });
    const said = await Promise.all([
      refused('analyze-routing'),
      refused('analyze-routing', 'empty'),
      refused('eval', 'nowhere'),
      refused('train', '--resume', 'empty'),
    ]);
    expect(said).toEqual([
      "moe: there is no run in runs/; train one with 'moe train --families configs/50lang.yaml --preset quick', or name a checkpoint.",
      'moe: empty holds no checkpoint; name a run folder with checkpoints/, or a checkpoint itself.',
      'moe: nowhere does not exist; name a run folder such as runs/50lang-quick or a checkpoint in it.',
      'moe: --resume empty is not a run folder (it has no config.yaml); name one such as runs/50lang-quick.',
    ]);
  });
  test('a dense model has no routing to show', async () => {
    expect(await refused('analyze-routing', 'dense')).toMatch(
      /^moe: dense\/.* is a dense model without a router; .*moe upcycle/,
    );
  });
});

describe('checkpoints', () => {
  test('a truncated one is passed over for the one before, and said; without one before it is refused', async () => {
    cpSync(inWorld('run'), inWorld('cut'), { recursive: true });
    truncateSync(inWorld('cut/checkpoints/step-000004/model.safetensors'), 1000);
    expect((await run('inspect', 'cut', '--json')).err).toMatch(
      /it is truncated.* Taking cut\/checkpoints\/step-000003\.$/m,
    );
    const { code, out, err } = await run('train', '--resume', 'cut');
    expect(code, err).toBe(0);
    expect(out).toMatch(/step-000004\/model\.safetensors has 1000 bytes instead of \d+: it is truncated/);
    expect(out).toContain('resumed at step 3');
    const file = 'checkpoints/step-000004/model.safetensors';
    expect(readFileSync(inWorld('cut', file)).equals(readFileSync(inWorld('run', file)))).toBe(true);
    for (const step of ['step-000003', 'step-000004'])
      truncateSync(inWorld('cut/checkpoints', step, 'optimizer.safetensors'), 10);
    const before = fingerprint('cut');
    expect(await refused('train', '--resume', 'cut')).toMatch(/step-000004\/optimizer\.safetensors has 10 bytes/);
    expect(fingerprint('cut')).toEqual(before);
  });
  test('a run goes on on the backend it was on; another one is said', async () => {
    cpSync(inWorld('run'), inWorld('moved'), { recursive: true });
    const resumed = async (...args: string[]): Promise<string> => {
      rmSync(inWorld('moved/checkpoints/step-000004'), { recursive: true });
      const { code, out, err } = await run('train', '--resume', 'moved', ...args);
      expect(code, err).toBe(0);
      return out;
    };
    change('moved/environment.json', 'moved/environment.json', text => text.replace(/"name": "\w+"/, '"name": "wasm"'));
    const same = await resumed();
    expect(same).toContain('WebAssembly kernels');
    expect(same).not.toContain('goes on on');
    expect(await resumed('--backend', 'cpu')).toContain('This run was on wasm and goes on on cpu: not with the bits');
    expect(readFileSync(inWorld('moved/environment.json'), 'utf8')).toContain('"name": "cpu"');
  });
  test('one of another program is refused by what it is', async () => {
    cpSync(inWorld('run/checkpoints/step-000004'), inWorld('foreign'), { recursive: true });
    writeFileSync(inWorld('foreign/config.json'), '{"model_type": "bert"}');
    cpSync(inWorld('run/checkpoints/step-000004'), inWorld('notjson'), { recursive: true });
    writeFileSync(inWorld('notjson/config.json'), '{"model_type": ');
    cpSync(inWorld('run/checkpoints/step-000004'), inWorld('short'), { recursive: true });
    truncateSync(inWorld('short/model.safetensors'), 5000);
    const [foreign, notJson, short] = await Promise.all(
      ['foreign', 'notjson', 'short'].map(name => refused('eval', name)),
    );
    expect(foreign).toMatch(/^moe: foreign\/config\.json: model_type is "bert", .* it reads .*llama/);
    expect(notJson).toMatch(/^moe: notjson\/config\.json.*; /);
    expect(short).toMatch(/^moe: short\/model\.safetensors/);
  });
});
