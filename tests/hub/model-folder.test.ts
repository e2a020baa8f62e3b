// Folders of the transformers library as they are read: settings of both versions, both layouts of experts, sizes, refusals.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { architectureOf } from '../../src/hub/architectures/registry.ts';
import { type ModelFolder, openWeights, readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { openCheckpoint, partOf, readFloat32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { storedSize } from '../../src/hub/stored-size.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';
import { countParameters } from '../../src/model/count.ts';
import type { HostTensor } from '../../src/model/weights.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
const at = (...names: string[]): string => join(HOME, ...names);
const json = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, 'utf8'));

let scratch = '';
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'moe-folder-'));
});
afterAll(() => rmSync(scratch, { recursive: true }));

let made = 0;
/** A copy of a golden folder with other settings. */
function changed(name: string, settings: Record<string, unknown>, config = 'config.json'): string {
  const folder = join(scratch, String(made++));
  cpSync(at(name), folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json(at(name, config)), ...settings }));
  return folder;
}

/** The folder written anew with other tensors. */
async function rewritten(name: string, edit: (tensors: Map<string, HostTensor>) => void): Promise<ModelFolder> {
  const folder = changed(name, {});
  const tensors = new Map<string, HostTensor>();
  for (const entry of openCheckpoint(folder).tensors.values())
    tensors.set(entry.name, { shape: entry.shape, values: readFloat32(entry) });
  edit(tensors);
  const sources = Array.from(tensors, ([tensor, { shape, values }]) => ({
    ...{ name: tensor, dtype: 'F32' as const },
    ...{ shape, values: () => values },
  }));
  rmSync(join(folder, 'model.safetensors'));
  await writeSafetensors(join(folder, 'model.safetensors'), sources);
  return readModelFolder(folder);
}

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

const ARCHITECTURES = [
  ...['llama3', 'mistral', 'mixtral', 'olmoe', 'qwen2-tied', 'qwen2-untied', 'qwen2-window', 'qwen2_moe'],
  ...['qwen2_moe-norm', 'qwen3', 'qwen3_moe'],
];

test.each(ARCHITECTURES)('%s: settings as version 4 writes them give the same model', name => {
  expect(readModelFolder(changed(name, {}, 'config-4.json')).spec).toEqual(readModelFolder(at(name)).spec);
});

test.each([...ARCHITECTURES, 'apollo'])(
  '%s: parameters are the numbers in the file, a tied head counted once',
  name => {
    const folder = readModelFolder(at(name));
    const stored = storedSize(folder);
    const { tensors } = readSafetensors(at(name, 'model.safetensors'));
    const all = Array.from(tensors.values()).reduce((sum, { byteLength }) => sum + byteLength / 4, 0);
    const head = folder.spec.vocab_size * folder.spec.hidden_size;
    expect(stored.parameters).toBe(all - (name === 'apollo' ? head : 0));
    expect(countParameters(folder.spec).total).toBe(stored.parameters);
    expect(stored).toMatchObject({ dtypes: { F32: stored.parameters }, files: 1, fusedExperts: false });
    expect(stored.tiedHeadStored).toBe(name === 'apollo');
  },
);

test('what one token passes: all but the experts that were not chosen', () => {
  // Experts of 3·24·32 in 2 layers, k 2 of 6.
  const { spec } = readModelFolder(at('qwen2_moe'));
  const { total, active, expert } = countParameters(spec);
  expect([expert, total - active]).toEqual([2304, 2 * 4 * 2304]);
  const dense = countParameters(readModelFolder(at('qwen2-tied')).spec);
  expect(dense.active).toBe(dense.total);
});

test.each(['mixtral', 'olmoe', 'qwen2_moe', 'qwen3_moe'])('%s: both layouts of experts give the same bits', name => {
  const read = (folder: string) => readTensors(readModelFolder(folder), { halves: false });
  const [single, fused] = [read(at(name)), read(at(`${name}-fused`))];
  expect([...fused.keys()]).toEqual([...single.keys()]);
  for (const [tensor, host] of single) {
    const [a, b] = [host, fused.get(tensor)!].map(found => found as HostTensor);
    expect(b.shape, tensor).toEqual(a.shape);
    expect(Buffer.compare(Buffer.from(b.values.buffer), Buffer.from(a.values.buffer)), tensor).toBe(0);
  }
  expect(storedSize(readModelFolder(at(`${name}-fused`))).fusedExperts).toBe(true);
});

test('a part of a tensor is its elements and no others', async () => {
  const path = join(scratch, 'part.safetensors');
  const values = Float32Array.from({ length: 24 }, (_, i) => i);
  await writeSafetensors(path, [
    { name: 'a', dtype: 'F32', shape: [2, 3, 4], values: () => values },
    { name: 'b', dtype: 'BF16', shape: [2, 3, 4], values: () => values },
  ]);
  for (const name of ['a', 'b']) {
    const entry = readSafetensors(path).tensors.get(name)!;
    expect([...readFloat32(partOf(entry, 16, [2, 4]))]).toEqual([16, 17, 18, 19, 20, 21, 22, 23]);
    expect(partOf(entry, 16, [2, 4]).shape).toEqual([2, 4]);
    expect(() => partOf(entry, 17, [2, 4])).toThrow(RangeError);
    expect(() => partOf(entry, -1, [1])).toThrow(RangeError);
  }
});

test('experts are named by number, languages are none, and both files may say what ends a text', () => {
  const folder = readModelFolder(at('qwen2_moe'));
  expect(folder.map.languages).toEqual([]);
  expect(folder.map.expertNames).toEqual(['expert 0', 'expert 1', 'expert 2', 'expert 3', 'expert 4', 'expert 5']);
  expect(folder.eosIds).toEqual([2]);
  const several = changed('qwen2_moe', { eos_token_id: 5 });
  writeFileSync(join(several, 'generation_config.json'), JSON.stringify({ eos_token_id: [7, 9] }));
  expect(readModelFolder(several).eosIds).toEqual([7, 9]);
  rmSync(join(several, 'generation_config.json'));
  expect(readModelFolder(several).eosIds).toEqual([5]);
});

test('published Apollo-MoE: hybrid-k in training, plain top-k at inference, the last two layers', () => {
  const folder = changed('apollo', {}, 'config-0.5b.json');
  const { spec } = readModelFolder(folder);
  expect(spec.router).toMatchObject({ kind: 'hybrid-k', train_mode: 'forced', inference_mode: 'free' });
  expect(spec.layers.flatMap((kind, i) => (kind === 'moe' ? [i] : []))).toEqual([22, 23]);
  expect(spec.decoder.window_L).toEqual(Array(24).fill(null));
  // Qwen2-0.5B has 494,032,768; each sparse layer gets six further experts of 3·896·4864 and a router of 7·896.
  expect(countParameters(spec).total).toBe(494_032_768 + 2 * (6 * 3 * 896 * 4864 + 7 * 896));
});

describe('refused with key and value', () => {
  const cases: [folder: string, key: string, value: unknown, said: RegExp][] = [
    ['qwen2-tied', 'model_type', 'bert', /model_type is "bert", .*reads language_family_moe, llama, mistral, mixtral/],
    ['qwen2-tied', 'hidden_act', 'gelu', /hidden_act is "gelu"; .*"silu"/],
    ['qwen2-tied', 'use_mrope', true, /use_mrope is true/],
    ['llama3', 'mlp_bias', true, /mlp_bias is true; .*false/],
    ['llama3', 'attention_bias', 'yes', /attention_bias is "yes"; true or false/],
    [
      'llama3',
      'rope_parameters',
      { rope_type: 'yarn', rope_theta: 1, factor: 4 },
      /rope_parameters is {"rope_type":"yarn"/,
    ],
    ['llama3', 'rope_parameters', { rope_type: 'llama3', rope_theta: 1 }, /rope_parameters: factor is missing/],
    ['llama3', 'rope_scaling', { type: 'dynamic', factor: 2 }, /rope_scaling is {"type":"dynamic"/],
    ['llama3', 'partial_rotary_factor', 0.5, /partial_rotary_factor 1/],
    ['llama3', 'quantization_config', { quant_method: 'fp8' }, /quantization_config is {"quant_method":"fp8"}/],
    ['llama3', 'head_dim', 7, /head_dim is 7; .*even/],
    ['llama3', 'num_key_value_heads', 3, /num_key_value_heads is 3; it does not divide 4/],
    ['llama3', 'num_hidden_layers', 1e9, /num_hidden_layers is 1000000000; more than 1024/],
    ['llama3', 'hidden_size', undefined, /hidden_size is missing/],
    ['llama3', 'rms_norm_eps', 'small', /rms_norm_eps is "small"; a number/],
    ['qwen2-window', 'layer_types', ['full_attention'], /layer_types is \["full_attention"\]; one type for each of 3/],
    ['qwen2-window', 'layer_types', ['x', 'full_attention', 'full_attention'], /layer_types is \["x",/],
    ['qwen2-window', 'use_sliding_window', false, /layer_types is .*with use_sliding_window/],
    ['qwen3_moe', 'num_experts_per_tok', 9, /num_experts_per_tok is 9; there are only 8 experts/],
    ['qwen3_moe', 'mlp_only_layers', '0', /mlp_only_layers is "0"; a list/],
    ['qwen3_moe', 'num_local_experts', 1e6, /num_local_experts is 1000000; more than 1024/],
  ];
  test.each(cases)('%s: %s %j', (name, key, value, said) => {
    const message = messageOf(() => readModelFolder(changed(name, { [key]: value })));
    expect(message).toMatch(said);
    expect(message).toContain('config.json');
    expect(message).not.toContain('\n');
  });
});

test('whatever stands at a key: a model, or one sentence', () => {
  const configs = ARCHITECTURES.flatMap(name => [json(at(name, 'config.json')), json(at(name, 'config-4.json'))]);
  const keys = [...new Set(configs.flatMap(config => Object.keys(config)))];
  let refused = 0;
  const property = fc.property(
    fc.constantFrom(...configs),
    fc.constantFrom(...keys),
    fc.jsonValue(),
    (config, key, value) => {
      const hostile = { ...config, [key]: value };
      try {
        const spec = architectureOf(hostile.model_type, 'config.json', 'ours').spec({
          json: hostile,
          file: 'config.json',
        });
        expect(spec.layers).toHaveLength(spec.num_hidden_layers);
        expect(spec.decoder.window_L).toHaveLength(spec.num_hidden_layers);
        expect(JSON.stringify(spec)).not.toMatch(/NaN|undefined/);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
        expect((error as UserError).message).toMatch(/^config\.json.{1,300}\.$/);
        refused++;
      }
    },
  );
  fc.assert(property, { numRuns: 3000, seed: 5 });
  expect(refused).toBeGreaterThan(300);
});

test('many experts in many layers are refused before their names are listed', () => {
  const folder = changed('qwen3_moe', { num_hidden_layers: 1000, num_local_experts: 1000 });
  expect(messageOf(() => readModelFolder(folder))).toMatch(/num_local_experts is 1000; 1000000 experts in all layers/);
});

describe('where the file says nothing, the value that the library takes', () => {
  const bare = (name: string, settings: Record<string, unknown> = {}) =>
    readModelFolder(
      changed(name, { layer_types: undefined, rope_parameters: undefined, rms_norm_eps: undefined, ...settings }),
    ).spec;

  test('epsilon and rotary base', () => {
    const of = ({ rms_norm_eps, rope_theta }: ModelFolder['spec']) => [rms_norm_eps, rope_theta];
    for (const name of ['qwen2-tied', 'llama3', 'mistral', 'qwen2_moe', 'qwen3', 'qwen3_moe'])
      expect(of(bare(name)), name).toEqual([1e-6, 10_000]);
    expect(of(bare('mixtral'))).toEqual([1e-5, 1_000_000]);
    expect(of(bare('olmoe'))).toEqual([1e-5, 10_000]);
  });

  test('widths of heads: their share of the width, but 128 for Qwen3', () => {
    expect(bare('llama3', { head_dim: undefined }).decoder.head_dim).toBe(8);
    expect(bare('qwen3_moe', { head_dim: undefined }).decoder.head_dim).toBe(8);
    expect(bare('qwen3', { head_dim: undefined }).decoder.head_dim).toBe(128);
  });

  test('windows', () => {
    const windows = (name: string, settings: Record<string, unknown>) => bare(name, settings).decoder.window_L;
    expect(windows('mistral', { sliding_window: undefined })).toEqual([4096, 4096, 4096]);
    expect(windows('mistral', { sliding_window: null })).toEqual([null, null, null]);
    expect(windows('mixtral', { sliding_window: undefined })).toEqual([null, null]);
    expect(windows('mixtral', { sliding_window: 5 })).toEqual([5, 5]);
    const on = { use_sliding_window: true, sliding_window: 5 };
    expect(windows('qwen2-tied', { ...on, max_window_layers: 2 })).toEqual([null, null, 5]);
    expect(windows('qwen3', { ...on, max_window_layers: 1 })).toEqual([null, 5, 5]);
    expect(windows('qwen3_moe', { ...on, max_window_layers: 1 })).toEqual([5, 5, 5]);
    // Qwen2-MoE: every other layer, below max_window_layers.
    expect(windows('qwen2_moe-norm', { ...on, max_window_layers: 2 })).toEqual([5, null, null, null]);
    expect(windows('qwen2_moe-norm', { ...on, max_window_layers: 4 })).toEqual([5, null, 5, null]);
    expect(windows('qwen2-tied', { sliding_window: 5, max_window_layers: 0 })).toEqual([null, null, null]);
  });

  test('stretched rotations', () => {
    const { rope_scaling } = bare('llama3', { rope_theta: 50, rope_scaling: { type: 'linear', factor: 4 } }).decoder;
    expect(rope_scaling).toMatchObject({ rope_type: 'linear', factor: 4 });
    expect(bare('llama3', { rope_theta: 50 })).toMatchObject({ rope_theta: 50, decoder: { rope_scaling: null } });
  });

  test('biases of the output projection come with attention_bias', () => {
    expect(bare('llama3', { attention_bias: true }).decoder).toMatchObject({ qkv_bias: true, o_bias: true });
    expect(bare('qwen2_moe', { qkv_bias: false }).decoder).toMatchObject({ qkv_bias: false, o_bias: false });
    expect(bare('qwen2_moe').decoder).toMatchObject({ qkv_bias: true, o_bias: false });
  });
});

test('in shards, in bf16 and in parts: the same tensors; halves stay halves but for routers and norms', async () => {
  const folder = await rewritten('olmoe-fused', () => undefined);
  const weights = join(folder.directory, 'model.safetensors');
  const entries = [...readSafetensors(weights).tensors.values()].map(entry => ({
    ...entry,
    values: readFloat32(entry),
  }));
  const shards = ['a.safetensors', 'b.safetensors'];
  for (const [i, shard] of shards.entries())
    await writeSafetensors(
      join(folder.directory, shard),
      entries
        .filter((_, e) => e % 2 === i)
        .map(({ values, ...entry }) => ({ ...entry, dtype: 'BF16', values: () => values })),
    );
  rmSync(weights);
  const weight_map = Object.fromEntries(entries.map(({ name }, e) => [name, shards[e % 2]]));
  writeFileSync(join(folder.directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  expect(storedSize(folder)).toMatchObject({ files: 2, dtypes: { BF16: countParameters(folder.spec).total } });
  const wanted = readTensors(readModelFolder(at('olmoe')), { halves: false });
  const bits = new Float32Array(1);
  for (const [name, found] of readTensors(folder, { halves: true })) {
    const isMatrix = found.shape.length === 2 && !name.endsWith('mlp.gate.weight');
    expect('halves' in found, name).toBe(isMatrix);
    const values =
      'halves' in found
        ? Array.from(found.halves, half => {
            new Uint32Array(bits.buffer)[0] = half << 16;
            return bits[0];
          })
        : found.values;
    (wanted.get(name) as HostTensor).values.forEach((value, i) => {
      expect(Math.abs(values[i] - value)).toBeLessThanOrEqual(Math.abs(value) / 256);
    });
  }
});

describe('tensors that do not fit', () => {
  const opened = async (...of: Parameters<typeof rewritten>): Promise<string> => {
    const folder = await rewritten(...of);
    return messageOf(() => readTensors(folder, { halves: false }));
  };
  const rename = (tensors: Map<string, HostTensor>, from: string, to: string): void => {
    tensors.set(to, tensors.get(from)!);
    tensors.delete(from);
  };

  test('one missing, one of another shape, one too many', async () => {
    const gate = 'model.layers.1.block_sparse_moe.gate.weight';
    expect(await opened('mixtral', tensors => tensors.delete(gate))).toMatch(
      /'model\.layers\.1\.mlp\.gate\.weight' is missing/,
    );
    const wrong = { shape: [32, 4], values: new Float32Array(128) };
    expect(await opened('mixtral', tensors => tensors.set(gate, wrong))).toMatch(
      /model\.safetensors: tensor 'model\.layers\.1\.block_sparse_moe\.gate\.weight' has shape \[32, 4\], .* asks for \[4, 32\]/,
    );
    const bias = { shape: [32], values: new Float32Array(32) };
    expect(await opened('qwen2-tied', tensors => tensors.set('model.layers.0.self_attn.o_proj.bias', bias))).toMatch(
      /'model\.layers\.0\.self_attn\.o_proj\.bias' has no place in the qwen2 model/,
    );
    const fused = 'model.layers.0.mlp.experts.gate_up_proj';
    expect(await opened('olmoe-fused', t => t.set(fused, { ...t.get(fused)!, shape: [8, 32, 48] }))).toMatch(
      /experts\.gate_up_proj' has shape \[8, 32, 48\], the configuration asks for \[8, 48, 32\]/,
    );
  });

  test('norms of queries that the file lacks', async () => {
    const said = await opened('qwen3', tensors => rename(tensors, 'model.layers.2.self_attn.q_norm.weight', 'x'));
    expect(said).toMatch(/'model\.layers\.2\.self_attn\.q_norm\.weight' is missing/);
  });

  test('rotary frequencies are passed over', async () => {
    const frequencies = { shape: [4], values: new Float32Array(4) };
    const folder = await rewritten('llama3', t => t.set('model.layers.0.self_attn.rotary_emb.inv_freq', frequencies));
    expect(readTensors(folder, { halves: false }).has('model.layers.0.self_attn.rotary_emb.inv_freq')).toBe(false);
  });

  test('the stored head of a tied model is the embedding, or the file contradicts itself', async () => {
    const folder = await rewritten('apollo', () => undefined);
    expect(openWeights(folder).tiedHead?.name).toBe('lm_head.weight');
    expect(readTensors(folder, { halves: false }).has('lm_head.weight')).toBe(false);
    const said = await opened('apollo', tensors => {
      tensors.get('lm_head.weight')!.values[3000] += 1;
    });
    expect(said).toMatch(/'lm_head\.weight' differs from the embedding, although tie_word_embeddings is true/);
  });
});

test('a shared expert of no width is none', async () => {
  const folder = await rewritten('apollo', tensors => {
    for (const i of [2, 3]) {
      const name = `model.layers.${i}.mlp.shared_expert`;
      tensors.set(`${name}_gate.weight`, { shape: [1, 32], values: new Float32Array(32) });
    }
  });
  const config = { model_type: 'qwen2_moe', shared_expert_intermediate_size: 0, share_flag: undefined };
  writeFileSync(
    join(folder.directory, 'config.json'),
    JSON.stringify({ ...json(join(folder.directory, 'config.json')), ...config }),
  );
  const stock = readModelFolder(folder.directory);
  expect(stock.spec.shared_expert).toBe(false);
  expect(readTensors(stock, { halves: false }).size).toBe(
    readTensors(readModelFolder(at('apollo')), { halves: false }).size,
  );
});

test('no config.json, or one that is not JSON', () => {
  const empty = mkdtempSync(join(scratch, 'empty-'));
  expect(messageOf(() => readModelFolder(empty))).toMatch(/config\.json is missing/);
  writeFileSync(join(empty, 'config.json'), '{"model_type": ');
  expect(messageOf(() => readModelFolder(empty))).toMatch(/config\.json is not valid JSON/);
  writeFileSync(join(empty, 'config.json'), '{\n  "model_type": qwen2\n}\n');
  expect(messageOf(() => readModelFolder(empty))).toMatch(/config\.json is not valid JSON \(.*\); fetch it again\.$/);
  for (const text of ['[]', 'null', '3']) {
    writeFileSync(join(empty, 'config.json'), text);
    expect(messageOf(() => readModelFolder(empty))).toMatch(/config\.json is not a JSON object/);
  }
  expect(readdirSync(empty)).toEqual(['config.json']);
});
