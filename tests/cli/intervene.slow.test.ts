// `moe intervene` as a person uses it: a grid with controls, a pruned checkpoint that is evaluated and exported, families learned
// from routing that a run trains on; and every wrong wish refused in one sentence.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Ended, moe, refusal, tinyWorld } from './world.ts';

const world = tinyWorld({
  model: {
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 64,
    moe_layers: 'last 2',
  },
});
afterAll(world.remove);
const run = (...args: string[]): Promise<Ended> => moe(world.folder, ...args);
const refused = async (...args: string[]): Promise<string> => refusal(await run(...args));
const at = (...path: string[]): string => join(world.folder, ...path);

beforeAll(async () => {
  const [sparse, dense] = await Promise.all([
    run('train', '--families', world.config, '--out', 'run'),
    run('train', '--families', world.config, '--out', 'dense', '--set', 'model.moe_layers=none', '--steps', '1'),
  ]);
  expect([sparse.code, dense.code]).toEqual([0, 0]);
}, 120_000);

const few = ['--draws', '3', '--tokens', '100'];

describe('grids', () => {
  test('ablate: languages × families, controls, a verdict for each; CSV and JSON', async () => {
    const { code, out, err } = await run('intervene', 'ablate', 'run', ...few, '--out', 'grid');
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('Change of loss, bits per byte (+ is worse)');
    expect(out).toMatch(/\n {2}intervention +experts +flips +target +random +wrong layers/);
    expect(out.match(/^family-\d: (a module|no module|perhaps|no verdict)/gm)).toHaveLength(3);
    const [header, ...rows] = readFileSync(at('grid', 'intervention.csv'), 'utf8').trim().split('\n');
    expect(header).toBe(
      'intervention,layers,experts,control,language,family,delta_bits_per_byte,low,high,documents,null_mean,null_sd',
    );
    const own = rows.map(row => row.split(',')).filter(([, , , control]) => control === 'none');
    expect(own).toHaveLength(3 * 5);
    for (const row of own) expect(row.slice(6).every(cell => cell === '' || Number.isFinite(Number(cell)))).toBe(true);
    expect(readFileSync(at('grid', 'intervention.svg'), 'utf8')).toMatch(/^<svg/);
    const json = JSON.parse(readFileSync(at('grid', 'intervention.json'), 'utf8'));
    expect(json.columns[0].experts).toEqual({ 1: [expect.any(Number)], 2: [expect.any(Number)] });
  });

  test('steer: on one language alone nothing else moves; the same again gives the same', async () => {
    const args = ['intervene', 'steer', 'run', '--targets', 'family-0', '--on', 'family-2', ...few, '--json'];
    const [first, again] = [await run(...args), await run(...args)];
    expect(first.out).toBe(again.out);
    const { columns } = JSON.parse(first.out);
    expect(columns).toHaveLength(1);
    for (const { code, value } of columns[0].byLanguage)
      if (code !== columns[0].byLanguage.at(-1).code) expect(value).toBe(0);
    expect(columns[0].byLanguage.at(-1).value).not.toBe(0);
    expect(first.err).toContain('languages better');
  });

  test('without strength nothing moves at all; by shares, off and hard it does', async () => {
    const valuesOf = async (...more: string[]): Promise<number[]> => {
      const { out, err, code } = await run(
        'intervene',
        'steer',
        'run',
        '--targets',
        'family-0',
        ...few,
        '--json',
        ...more,
      );
      expect([code, err.includes('moe:')]).toEqual([0, false]);
      return JSON.parse(out).columns[0].byLanguage.map(({ value }: { value: number }) => value);
    };
    expect(await valuesOf('--strength', '0')).toEqual([0, 0, 0, 0, 0]);
    for (const more of [
      ['--how', 'hard'],
      ['--how', 'share', '--strength', '2', '--keep', '3', '--threshold', '0.9'],
    ])
      expect((await valuesOf(...more)).some(value => value !== 0)).toBe(true);
  });

  test('refusals', async () => {
    const cases: [string[], RegExp][] = [
      [
        ['ablate', 'run', '--experts', '0,1'],
        /Layer 1 has 3 experts of which 2 serve each token: at most 1 can be masked, not 2\.$/,
      ],
      [['ablate', 'run', '--experts', 'exclusive', '--threshold', '1'], /lower --threshold/],
      [['ablate', 'run', '--how', 'soft'], /--how soft is not known; use mask or zero\.$/],
      [['steer', 'dense'], /is a dense model without a router/],
    ];
    const said = await Promise.all(cases.map(([args]) => refused('intervene', ...args, '--tokens', '50')));
    for (const [i, [, pattern]] of cases.entries()) expect(said[i]).toMatch(pattern);
  });
});

describe('prune', () => {
  test.each([
    ['importance', 'layer'],
    ['output', 'global'],
  ])(
    'by %s, budget %s: the checkpoint reloads with the bits of the masked model, and is evaluated and exported',
    async (by, budget) => {
      const out = `pruned-${by}`;
      const args = ['--share', '0.34', '--by', by, '--budget', budget, '--out', out, '--tokens', '100'];
      const pruned = await run('intervene', 'prune', 'run', ...args);
      expect([pruned.code, pruned.err]).toEqual([0, '']);
      expect(pruned.out).toContain('has the losses of the whole model under a mask, to the last bit.');
      const inspected = await run('inspect', out);
      expect(inspected.out).toContain('3 experts (pruned: 2, 2 left), k 2, MoE in layers 1, 2 of 0–2');
      const [evaluated, exported, again] = await Promise.all([
        run('eval', out, '--families', 'families.yaml').then(() =>
          run('generate', out, '--prompt', 'ab', '--tokens', '3'),
        ),
        run('export', out, '--to', 'qwen2-moe', '--out', `${out}-qwen`),
        run('intervene', 'prune', out, '--out', 'twice'),
      ]);
      expect([evaluated.code, exported.code]).toEqual([0, 0]);
      expect(JSON.parse(readFileSync(at(`${out}-qwen`, 'config.json'), 'utf8')).num_experts).toBe(2);
      expect(again.code).toBe(2);
      expect(existsSync(at('twice'))).toBe(false);
    },
  );

  test('refusals', async () => {
    const cases: [string[], RegExp][] = [
      [
        ['run', '--share', '0.7', '--out', 'x'],
        /--share 0\.7 leaves 1 of 3 experts in layer 1, fewer than 2; drop less\.$/,
      ],
      [['run', '--share', '1', '--out', 'x'], /would drop every expert/],
      [['run', '--out', 'run'], /--out run exists already/],
      [['run', '--least', '1', '--out', 'x'], /--least 1 is below k/],
      [['dense', '--out', 'x'], /is a dense model/],
    ];
    const said = await Promise.all(cases.map(([args]) => refused('intervene', 'prune', ...args, '--tokens', '50')));
    for (const [i, [, pattern]] of cases.entries()) expect(said[i]).toMatch(pattern);
    expect(existsSync(at('x'))).toBe(false);
  });
});

describe('regroup', () => {
  test('writes a families file that a run trains on, and says what it agrees with', async () => {
    expect((await run('trace', '--model', 'run', '--out', 'trace')).code).toBe(0);
    const args = ['intervene', 'regroup', 'trace', '--draws', '50'];
    const { code, out, err } = await run(...args, '--out', 'learned.yaml');
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^groups +silhouette +stability$/m);
    expect(out).toMatch(/^own families +/m);
    const balanced = await run(...args, '--out', 'balanced.yaml', '--how', 'balanced', '--groups', '2', '--json');
    const { families } = JSON.parse(balanced.out);
    expect(families.map(({ languages }: { languages: unknown[] }) => languages.length)).toEqual([3, 2]);
    for (const file of ['learned.yaml', 'balanced.yaml']) {
      const trained = await run(
        'train',
        '--families',
        world.config,
        '--set',
        `families=${file}`,
        '--out',
        `from-${file}`,
        '--steps',
        '2',
      );
      expect([file, trained.code]).toEqual([file, 0]);
    }
  });

  test('refusals', async () => {
    expect(await refused('intervene', 'regroup', 'run', '--out', 'y.yaml')).toMatch(/trace/);
    expect(await refused('intervene', 'regroup', 'trace', '--out', 'learned.yaml')).toMatch(/exists already/);
    expect(await refused('intervene', 'regroup', 'trace', '--out', 'y.yaml', '--groups', '9')).toMatch(
      /--groups 9 is not between 2 and 4/,
    );
    expect(existsSync(at('y.yaml'))).toBe(false);
  });
});
