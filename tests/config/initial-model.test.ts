// A run that starts from a checkpoint has its model: settings that nobody wrote come from there, others must agree.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type LoadOptions, loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { UserError } from '../../src/errors.ts';
import { readModelFolder } from '../../src/hub/model-folder.ts';
import { modelSpec } from '../../src/model/spec.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
const folder = mkdtempSync(join(tmpdir(), 'moe-initial-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Seven families, as many as Apollo has experts. */
const families = Array.from({ length: 7 }, (_, expert) => ({
  ...{ name: `F${expert}`, expert },
  languages: [{ code: `x${expert}`, name: `X${expert}`, script: 'Latn' }],
}));
const specAt = (name: string) => readModelFolder(join(HOME, name)).spec;

function load(init: string | null, model = '', options: LoadOptions = {}): Config {
  const path = join(folder, 'run.yaml');
  const lines = [`families: ${JSON.stringify({ name: 'seven', families })}`, `init: ${init}`, model];
  writeFileSync(path, lines.join('\n'));
  return loadConfig(path, { modelAt: init => specAt(init.split('/').at(-1)!), ...options }).config;
}
function refusal(...how: Parameters<typeof load>): string {
  try {
    load(...how);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error('accepted');
}

const SHAPE = {
  ...{ hidden_size: 999, intermediate_size: 999, num_hidden_layers: 9, num_attention_heads: 3, num_key_value_heads: 3 },
  ...{ rope_theta: 9, rms_norm_eps: 0.5, tie_word_embeddings: false, max_position_embeddings: 999 },
} as const;

test.each(['qwen2-tied', 'apollo', 'qwen2_moe', 'llama3'])('%s: what nobody wrote is the checkpoint’s', name => {
  const spec = specAt(name);
  const { model, router } = load(name);
  const sparse = spec.layers.includes('moe');
  const seven = { numExperts: spec.numExperts };
  const ours = modelSpec(model, sparse ? spec.router : router, seven, spec.vocab_size, !sparse, spec.decoder);
  const trained = {
    initializer_range: 0,
    router: 0,
    ...(sparse ? {} : { numExperts: 0, norm_topk_prob: 0, num_experts_per_tok: 0 }),
  };
  expect({ ...ours, ...trained }).toEqual({ ...spec, ...trained });
});

test.each(Object.entries(SHAPE))('another %s is refused, whoever wrote it; the same is not', (key, value) => {
  const spec = specAt('qwen2-tied');
  const own = spec[key as keyof typeof SHAPE];
  const inFile = `model:\n  ${key}: ${value}\n`;
  const said = refusal('qwen2-tied', inFile);
  expect(said).toMatch(
    /run\.yaml line \d+: model\.\w+ is .*, but the model that the run starts from, .*qwen2-tied, has /,
  );
  expect(said).toMatch(new RegExp(`model\\.${key} is ${value}, .* has ${own}; leave ${key} out\\.$`));
  expect(refusal('qwen2-tied', '', { overrides: [[`model.${key}`, value]] })).toMatch(
    new RegExp(`^--set model\\.${key}=${value}: .*; leave ${key} out\\.$`),
  );
  expect(load('qwen2-tied', `model:\n  ${key}: ${own}\n`).model[key as keyof typeof SHAPE]).toBe(own);
});

test('of a mixture also which layers have experts, and whether one is shared', () => {
  expect(load('apollo').model.moe_layers).toBe('last 2'); // as in the file
  const other = { ...specAt('apollo'), layers: ['moe' as const, 'dense' as const, 'moe' as const, 'moe' as const] };
  expect(load('apollo', '', { modelAt: () => other }).model.moe_layers).toEqual([0, 2, 3]);
  expect(load('apollo', 'model: { moe_layers: [2, 3] }').model.moe_layers).toEqual([2, 3]);
  expect(refusal('apollo', 'model: { moe_layers: last 1 }')).toMatch(/moe_layers is "last 1", .* has \[2,3\]; leave/);
  expect(refusal('apollo', 'model: { shared_expert: true }')).toMatch(/shared_expert is true, .* has false; leave/);
});

test('how its experts are weighed may be changed on purpose', () => {
  expect(load('apollo').model).toMatchObject({ norm_topk_prob: false, num_experts_per_tok: 2 });
  expect(load('apollo', 'model: { norm_topk_prob: true, num_experts_per_tok: 3 }').model).toMatchObject({
    norm_topk_prob: true,
    num_experts_per_tok: 3,
  });
});

test('experts of a dense one are the configuration’s, as ever', () => {
  const model = 'model: { moe_layers: last 1, num_experts_per_tok: 3, norm_topk_prob: false, shared_expert: true }';
  expect(load('qwen2-tied', model).model).toMatchObject({
    ...{ moe_layers: 'last 1', num_experts_per_tok: 3, norm_topk_prob: false, shared_expert: true },
    num_hidden_layers: 3,
  });
});

test('sequences as long as the checkpoint’s positions allow', () => {
  expect(load('qwen2-tied', 'data: { sequence_length: 128 }').data.sequence_length).toBe(128);
  expect(refusal('qwen2-tied', 'data: { sequence_length: 129 }')).toMatch(
    /129 is more than max_position_embeddings 128/,
  );
});

test('without a checkpoint nothing changes, and without a reader none is opened', () => {
  expect(load(null, 'model: { rope_theta: 9 }').model.rope_theta).toBe(9);
  expect(load('nowhere', 'model: { rope_theta: 9 }', { modelAt: undefined }).model.rope_theta).toBe(9);
});
