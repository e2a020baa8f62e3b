// --memory and --families on a checkpoint of the transformers library, as people run them.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { memorySize } from '../../src/commands/options.ts';
import { moe, refusal, tinyWorld, type World } from './world.ts';

const MAKE = fileURLToPath(new URL('../../bench/make-checkpoint.mjs', import.meta.url));
const shape = {
  ...{ model_type: 'upcycling-qwen2-moe', vocab_size: 300, hidden_size: 64, intermediate_size: 512 },
  ...{ num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 24 },
  ...{ num_experts_per_tok: 2, moe_intermediate_size: 512, mlp_only_layers: [0], initializer_range: 0.2 },
  ...{ language_gate: true, tie_word_embeddings: true, hidden_act: 'silu', eos_token_id: 256 },
};

let world: World;
beforeAll(() => {
  world = tinyWorld();
  for (const num_experts of [3, 5]) {
    const config = join(world.folder, `${num_experts}.json`);
    writeFileSync(config, JSON.stringify({ ...shape, num_experts }));
    execFileSync(process.execPath, [MAKE, '--config', config, '--out', join(world.folder, `experts-${num_experts}`)]);
  }
});
afterAll(() => world.remove());

const run = (...args: string[]) => moe(world.folder, ...args);

test('a foreign checkpoint asks for languages, and its own tokenizer reads their text', async () => {
  expect(refusal(await run('eval', 'experts-3'))).toMatch(
    /experts-3 does not say which languages it is for; name languages and text with --families configs\/50lang\.yaml\.$/,
  );
  const whole = await run('eval', 'experts-3', '--families', 'config.yaml', '--json');
  expect(whole.code).toBe(0);
  const within = await run('eval', 'experts-3', '--families', 'config.yaml', '--memory', '1.3MB', '--json');
  expect(within.err).toMatch(/Memory 1\.2 MiB: . of 3 experts of a layer at a time .* MiB in all\./);
  const [expected, found] = [whole, within].map(({ out }) => JSON.parse(out));
  expect(found.free.all.tokens).toBe(expected.free.all.tokens);
  expect(found.free.all.tokenWeighted).toBeCloseTo(expected.free.all.tokenWeighted, 6);
  expect(found.given.all.tokenWeighted).toBeCloseTo(expected.given.all.tokenWeighted, 6);
  expect(found.given.all.tokenWeighted).not.toBe(found.free.all.tokenWeighted); // as many families as experts: ids serve
});

test('its routing is analysed, layer by layer as in memory', async () => {
  const analyse = (out: string, ...more: string[]) =>
    run('analyze-routing', 'experts-5', '--families', 'config.yaml', '--tokens', '1000', '--out', out, ...more);
  expect((await analyse('whole')).code).toBe(0);
  const within = await analyse('within', '--memory', '1.6MB');
  expect(within.code, within.err + within.out).toBe(0);
  expect(within.out).toMatch(/Memory 1\.5 MiB: . of 5 experts of a layer at a time /);
  for (const file of ['trace.parquet', 'counts.parquet', 'trace.json'])
    expect(
      readFileSync(join(world.folder, 'within', file)).equals(readFileSync(join(world.folder, 'whole', file))),
    ).toBe(true);
  const header = JSON.parse(readFileSync(join(world.folder, 'within', 'trace.json'), 'utf8'));
  expect(header).toMatchObject({
    numExperts: 5,
    expertNames: ['expert 0', 'expert 1', 'expert 2', 'expert 3', 'expert 4'],
  });
  expect(header.languages.map(({ expert }: { expert: number }) => expert)).toEqual([-1, -1, -1, -1, -1]); // three families
  expect(within.out).toMatch(/Layer 1: language decides [\d.]+ ?% of the routing budget/);
});

test('too little memory is refused with the least that would do', async () => {
  const asked = ['eval', 'experts-3', '--families', 'config.yaml', '--memory'];
  expect(refusal(await run(...asked, '0.01MB'))).toMatch(
    /--memory 0\.0 MiB is too little .* it needs at least [\d.]+ MiB/,
  );
  expect((await run(...asked, '4')).err).toMatch(/give a size and its unit/);
});

test.each([
  ['4GB', 4e9],
  ['512 MiB', 2 ** 29],
  ['1.5gib', 1.5 * 2 ** 30],
  ['100MB', 1e8],
])('%s is %d bytes', (text, bytes) => {
  expect(memorySize(text)).toBe(bytes);
});

test.each(['4', 'GB', '4TB', '-1GB', '0MB', '4 GB please'])('%s is no size', text => {
  expect(() => memorySize(text)).toThrow('give a size and its unit');
});
