// config.json: what we write we read back, and another program's file or a damaged one is refused in one sentence.
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { UserError } from '../../src/errors.ts';
import { fromConfigJson, toConfigJson } from '../../src/model/config-json.ts';
import { modelSpec } from '../../src/model/spec.ts';
import { toyMap, toySpec } from './toy.ts';

/** As a file does. */
const throughText = (json: object): Record<string, unknown> => JSON.parse(JSON.stringify(json));

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).message;
  }
  throw new Error('nothing was refused');
}

test.each([
  ['as configured', toySpec()],
  ['dense', toySpec({}, true)],
  [
    'everything unusual',
    toySpec({
      model: {
        moe_layers: [0, 2],
        shared_expert: true,
        capacity_factor: 1.25,
        norm_topk_prob: false,
        tie_word_embeddings: false,
      },
      router: {
        kind: 'top-k',
        train_mode: 'hinted',
        inference_mode: 'hinted',
        hint_bias: 2,
        bias_rate: 0.001,
        init: 'zero',
      },
    }),
  ],
])('a model %s comes back as it went', (_, spec) => {
  const json = throughText(toConfigJson(spec, toyMap, 39));
  expect(fromConfigJson(json, 'config.json')).toEqual({ spec, map: toyMap });
});

test('Hugging Face keys have Hugging Face values', () => {
  const { config, map } = loadConfig('configs/models/qwen2-0.5b.yaml');
  const spec = modelSpec(config.model, config.router, map, 151_936);
  expect(throughText(toConfigJson(spec, map, 151_643))).toMatchObject({
    hidden_size: 896,
    intermediate_size: 4864,
    moe_intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    rope_theta: 1_000_000,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    hidden_act: 'silu',
    mlp_only_layers: Array.from({ length: 22 }, (_, i) => i),
    decoder_sparse_step: 1,
    num_experts: 7,
    num_experts_per_tok: 2,
    norm_topk_prob: false,
    bos_token_id: 151_643,
    eos_token_id: 151_643,
    pad_token_id: 151_643,
  });
});

test('another program’s model is refused with its name', () => {
  const json = { model_type: 'qwen2', hidden_size: 896 };
  expect(messageOf(() => fromConfigJson(json, 'there/config.json'))).toMatch(/there\/config\.json.*qwen2/);
});

test('a key with a value of another kind is named with the value', () => {
  const json = throughText(toConfigJson(toySpec(), toyMap, 39));
  const wrong: Record<string, unknown> = {
    hidden_size: '16',
    tie_word_embeddings: 1,
    capacity_factor: 'none',
    router: null,
    mlp_only_layers: 5,
    languages: { xa: 0 },
  };
  for (const [key, value] of Object.entries(wrong)) {
    const message = messageOf(() => fromConfigJson({ ...json, [key]: value }, 'config.json'));
    expect(message).toContain(`'${key}' is ${JSON.stringify(value)}`);
  }
  expect(fromConfigJson({ ...json, capacity_factor: 2 }, 'config.json').spec.capacity_factor).toBe(2);
});

test('each missing key is named', () => {
  const json = throughText(toConfigJson(toySpec(), toyMap, 39));
  const needed = [
    'hidden_size',
    'num_hidden_layers',
    'router',
    'languages',
    'mlp_only_layers',
    'num_experts',
    'expert_names',
    'capacity_factor',
  ];
  for (const key of needed) {
    const { [key]: _, ...rest } = json;
    expect(messageOf(() => fromConfigJson(rest, 'config.json'))).toContain(`'${key}'`);
  }
});
