// `moe train --init` from a model that another program wrote: its settings are kept, in the run's files too.
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { moe, refusal, tinyWorld, type World } from './world.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden', 'hf', 'llama3');

/** A letter a token; whatever else a text holds is the first. */
const vocab = Object.fromEntries(['<pad>', '</s>', ...'abcdefghijklmnopqrstuvwxyz '].map((token, id) => [token, id]));
const tokenizer = {
  added_tokens: ['<pad>', '</s>'].map((content, id) => ({ id, content, special: true })),
  decoder: { type: 'Fuse' },
  model: { type: 'BPE', vocab, merges: [], unk_token: '<pad>' },
};

let world: World;
beforeAll(() => {
  world = tinyWorld({ model: { moe_layers: 'last 1' } });
  cpSync(GOLDEN, join(world.folder, 'start'), { recursive: true });
  writeFileSync(join(world.folder, 'start', 'tokenizer.json'), JSON.stringify(tokenizer));
  mkdirSync(join(world.folder, 'configs'));
  for (const name of ['config.yaml', 'families.yaml', 'text.jsonl'])
    renameSync(join(world.folder, name), join(world.folder, 'configs', name));
});
afterAll(() => world.remove());

const train = (...args: string[]) =>
  moe(world.folder, 'train', '--families', 'configs/config.yaml', '--init', 'start', '--steps', '2', ...args);

test('a run from a Llama 3 has its shape, through growth and in its checkpoints, and goes on', async () => {
  const { code, out, err } = await train('--out', 'run');
  expect(code, err).toBe(0);
  expect(out).toMatch(/starts from the weights of .*start and has that model's shape/);
  const config = JSON.parse(readFileSync(join(GOLDEN, 'config.json'), 'utf8'));
  const { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, rms_norm_eps } = config;
  const { max_position_embeddings, tie_word_embeddings, rope_parameters } = config;
  const shape = {
    ...{ hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, rms_norm_eps },
    ...{ max_position_embeddings, tie_word_embeddings, rope_theta: rope_parameters.rope_theta },
  };
  expect(parse(readFileSync(join(world.folder, 'run', 'config.yaml'), 'utf8')).model).toMatchObject(shape);
  const [newest] = readdirSync(join(world.folder, 'run', 'checkpoints'))
    .toSorted()
    .reverse();
  const saved = readFileSync(join(world.folder, 'run', 'checkpoints', newest, 'config.json'), 'utf8');
  expect(JSON.parse(saved)).toMatchObject({ ...shape, num_experts: 3 });
  renameSync(join(world.folder, 'start'), join(world.folder, 'moved'));
  const again = await moe(world.folder, 'train', '--resume', 'run');
  renameSync(join(world.folder, 'moved'), join(world.folder, 'start'));
  expect(again.out, again.err).toMatch(/is finished/);
});

test('another rope_theta is refused', async () => {
  const said = refusal(await train('--out', 'other', '--set', 'model.rope_theta=5'));
  expect(said).toMatch(
    /--set model\.rope_theta=5: model\.rope_theta is 5, but .*start, has \d+; leave rope_theta out\./,
  );
});
