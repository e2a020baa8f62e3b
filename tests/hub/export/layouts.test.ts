// Exports of the goldens of the transformers library and of the toy: layouts, bytes, names, shapes, types, shards, refusals.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { UserError } from '../../../src/errors.ts';
import { apolloLayout } from '../../../src/hub/export/apollo.ts';
import type { ConfigFacts } from '../../../src/hub/export/layout.ts';
import { provenanceOf } from '../../../src/hub/export/provenance.ts';
import { pythonFloat } from '../../../src/hub/export/python-json.ts';
import { qwen2MoeLayout } from '../../../src/hub/export/qwen2-moe.ts';
import { divideIntoShards, indexJson } from '../../../src/hub/export/shards.ts';
import { type ExportOptions, exportModel, type Target } from '../../../src/hub/export/write-export.ts';
import { openWeights, readModelFolder, readTensors } from '../../../src/hub/model-folder.ts';
import { openCheckpoint, readBytes, readFloat32 } from '../../../src/hub/read-safetensors.ts';
import type { TensorEntry } from '../../../src/hub/safetensors.ts';
import { writeSafetensors } from '../../../src/hub/write-safetensors.ts';
import { type ModelSpec, modelSpec } from '../../../src/model/spec.ts';
import { use } from '../../engine/backends.ts';
import { toySpec } from '../../model/toy.ts';
import { logitsOf } from './logits.ts';

const GOLDEN = join(import.meta.dirname, '..', '..', 'golden');
const foreign = (name: string): string => join(GOLDEN, 'hf', name);
const TRAINED = join(GOLDEN, 'hub-export', 'checkpoint');
const FACTS: ConfigFacts = { dtype: 'bfloat16', tokens: { bos: 151643, eos: [151643], pad: null } };

const root = mkdtempSync(join(tmpdir(), 'moe-layouts-'));
afterAll(() => rmSync(root, { recursive: true }));
let exports = 0;
async function exportOf(from: string, target: Target, options: Partial<ExportOptions> = {}): Promise<string> {
  const out = join(root, `export-${exports++}`);
  const folder = readModelFolder(from);
  const provenance = provenanceOf(folder, null);
  await exportModel(folder, out, { target, dtype: null, mostBytes: 5e9, provenance, ...options });
  return out;
}
const filesOf = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map(name => [name, readFileSync(join(folder, name), 'latin1')]));

/** Every tensor of the model by our name, as stored. */
const storedBits = (folder: string): Map<string, string> =>
  new Map(
    Array.from(openWeights(readModelFolder(folder)).tensors, ([name, entry]) => [
      name,
      `${entry.dtype} ${Buffer.from(readBytes(entry)).toString('base64')}`,
    ]),
  );

const SEQUENCES = [
  [3, 1, 4, 1, 5],
  [9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3],
];

describe('safetensors', () => {
  test.each(['qwen2-tied', 'llama3', 'qwen2-window', 'olmoe', 'mixtral-fused', 'qwen2_moe', 'apollo'])(
    'of %s: the same bits, logits and, exported again, the same files',
    async name => {
      await use('wasm');
      const first = await exportOf(foreign(name), 'safetensors');
      expect(storedBits(first)).toEqual(storedBits(foreign(name)));
      expect(logitsOf(first, SEQUENCES)).toEqual(logitsOf(foreign(name), SEQUENCES));
      const second = await exportOf(first, 'safetensors');
      expect(filesOf(second)).toEqual(filesOf(first));
    },
  );
  test('of a trained checkpoint: config.json and weights as they were, in every type exported twice the same', async () => {
    const first = await exportOf(TRAINED, 'safetensors');
    const [before, after] = [filesOf(TRAINED), filesOf(first)];
    for (const name of ['config.json', 'model.safetensors', 'tokenizer.json'])
      expect(after[name], name).toBe(before[name]);
    for (const dtype of ['BF16', 'F16'] as const) {
      const narrow = await exportOf(TRAINED, 'safetensors', { dtype });
      expect(new Set(Array.from(openCheckpoint(narrow).tensors.values(), entry => entry.dtype))).toEqual(
        new Set([dtype]),
      );
      expect(filesOf(await exportOf(narrow, 'safetensors'))).toEqual(filesOf(narrow));
    }
  });
  test('copies bytes whose type stays: a NaN keeps its payload', async () => {
    const narrow = await exportOf(TRAINED, 'safetensors', { dtype: 'BF16' });
    const file = join(narrow, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes.writeUInt16LE(0x7f81, bytes.length - 2);
    writeFileSync(file, bytes);
    expect(readFileSync(join(await exportOf(narrow, 'safetensors'), 'model.safetensors')).equals(bytes)).toBe(true);
  });
  test('keeps a balancing bias in F32 whatever the type of the rest', async () => {
    const from = join(root, 'biased');
    cpSync(TRAINED, from, { recursive: true });
    const sources = Array.from(openCheckpoint(TRAINED).tensors.values(), entry => ({
      ...entry,
      bytes: () => readBytes(entry),
    }));
    const name = 'model.layers.1.mlp.gate.e_score_correction_bias';
    const bias = { name, dtype: 'F32' as const, shape: [3], values: () => Float32Array.of(0.001, -0.002, 0.25) };
    rmSync(join(from, 'model.safetensors'));
    await writeSafetensors(join(from, 'model.safetensors'), [...sources, bias], { format: 'pt' });
    const out = await exportOf(from, 'safetensors', { dtype: 'BF16' });
    const { tensors } = openCheckpoint(out);
    expect(tensors.get('model.norm.weight')!.dtype).toBe('BF16');
    expect(tensors.get(name)!.dtype).toBe('F32');
    expect(readFloat32(tensors.get(name)!)).toEqual(Float32Array.of(0.001, -0.002, 0.25));
  });
});

test('numbers beyond F16 are refused, beyond nothing else', async () => {
  const from = join(root, 'large');
  cpSync(TRAINED, from, { recursive: true });
  const values = (entry: TensorEntry) => () =>
    entry.name === 'model.norm.weight' ? new Float32Array(16).fill(-70_000) : readFloat32(entry);
  const sources = Array.from(openCheckpoint(TRAINED).tensors.values(), entry => ({
    name: entry.name,
    dtype: 'F32' as const,
    shape: entry.shape,
    values: values(entry),
  }));
  rmSync(join(from, 'model.safetensors'));
  await writeSafetensors(join(from, 'model.safetensors'), sources, { format: 'pt' });
  await expect(exportOf(from, 'safetensors', { dtype: 'F16' })).rejects.toThrow(
    '--dtype f16 ends at 65504 and tensor "model.norm.weight" holds -70000; use bf16, which has the range of f32.',
  );
  const { tensors } = openCheckpoint(await exportOf(from, 'safetensors', { dtype: 'BF16' }));
  expect(readFloat32(tensors.get('model.norm.weight')!)[0]).toBe(-70144);
});

describe('apollo', () => {
  test('of the golden: config.json and every tensor as they were', async () => {
    const out = await exportOf(foreign('apollo'), 'apollo');
    expect(readFileSync(join(out, 'config.json'), 'utf8')).toBe(
      readFileSync(join(foreign('apollo'), 'config.json'), 'utf8'),
    );
    const bits = (tensors: Map<string, TensorEntry>): unknown[] =>
      Array.from(tensors.values(), entry => [entry.name, entry.shape, Buffer.from(readBytes(entry)).toString('hex')]);
    expect(bits(openCheckpoint(out).tensors).sort()).toEqual(bits(openCheckpoint(foreign('apollo')).tensors).sort());
  });
  test('of a trained checkpoint: opened again, the same weights and logits', async () => {
    await use('wasm');
    const out = await exportOf(TRAINED, 'apollo');
    expect(readModelFolder(out).modelType).toBe('upcycling-qwen2-moe');
    expect(storedBits(out)).toEqual(storedBits(TRAINED));
    expect(logitsOf(out, SEQUENCES)).toEqual(logitsOf(TRAINED, SEQUENCES));
    const { tensors } = openCheckpoint(out);
    expect(readBytes(tensors.get('lm_head.weight')!)).toEqual(readBytes(tensors.get('model.embed_tokens.weight')!));
    expect(filesOf(await exportOf(out, 'apollo'))).toEqual(filesOf(out));
  });
  test('at the published 0.5B shape, config.json has the published 1,388 bytes', () => {
    const { configJson } = apolloLayout(readModelFolder05B(), FACTS);
    expect(configJson).toBe(readFileSync(join(foreign('apollo'), 'config-0.5b.json'), 'utf8'));
    expect(configJson).toHaveLength(1388);
  });
  test('at the published 7B shape: 377 tensors, 5 files, an index of 31,178 bytes, no weight allocated', () => {
    const { config, map } = loadConfig('configs/models/qwen2-7b.yaml');
    const layout = apolloLayout(modelSpec(config.model, config.router, map, config.model.vocab_size!), FACTS);
    expect(layout.configJson).toHaveLength(1425);
    expect(layout.tensors).toHaveLength(377);
    const shards = divideIntoShards(
      layout.tensors.map(tensor => ({ ...tensor, dtype: 'BF16' as const })),
      5e9,
    );
    const gigabytes = shards.map(({ tensors }) => {
      const count = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
      return Number(((count * 2) / 1e9).toFixed(2));
    });
    expect(gigabytes).toEqual([4.88, 4.93, 4.95, 4.27, 1.09]);
    expect(indexJson(shards)).toHaveLength(31178);
  });
});

/** The published shape, from the published file. */
function readModelFolder05B(): ModelSpec {
  const from = join(root, 'apollo-0.5b');
  cpSync(join(foreign('apollo'), 'config-0.5b.json'), join(from, 'config.json'));
  return readModelFolder(from).spec;
}

describe('qwen2-moe', () => {
  test.each(['qwen2-tied', 'qwen2-untied', 'apollo', 'mixtral', 'mixtral-fused', 'qwen2_moe', 'qwen2_moe-norm'])(
    'of %s: opened again, the same logits',
    async name => {
      await use('wasm');
      const out = await exportOf(foreign(name), 'qwen2-moe');
      const dense = name.startsWith('qwen2-');
      expect(readModelFolder(out).modelType).toBe(dense ? 'qwen2' : 'qwen2_moe');
      expect(logitsOf(out, SEQUENCES)).toEqual(logitsOf(foreign(name), SEQUENCES));
      // Parameters are counted anew: the zeros are now the model's own.
      const [{ 'README.md': _, ...again }, once] = [filesOf(await exportOf(out, 'qwen2-moe')), filesOf(out)];
      expect(once).toMatchObject(again);
    },
  );
  test('a model without a shared expert gets one of zeros, and biases of zeros where it has none', () => {
    const spec = { ...readModelFolder(foreign('mixtral')).spec };
    const { tensors, configJson } = qwen2MoeLayout(spec, FACTS);
    const zeros = tensors.filter(({ from }) => from === null).map(({ name, shape }) => `${name} ${shape}`);
    expect(zeros.filter(name => name.includes('layers.0.'))).toEqual([
      'model.layers.0.self_attn.q_proj.bias 32',
      'model.layers.0.self_attn.k_proj.bias 16',
      'model.layers.0.self_attn.v_proj.bias 16',
      'model.layers.0.mlp.shared_expert.gate_proj.weight 128,32',
      'model.layers.0.mlp.shared_expert.up_proj.weight 128,32',
      'model.layers.0.mlp.shared_expert.down_proj.weight 32,128',
      'model.layers.0.mlp.shared_expert_gate.weight 1,32',
    ]);
    expect(zeros).toHaveLength(7 * spec.num_hidden_layers);
    expect(JSON.parse(configJson).shared_expert_intermediate_size).toBe(128);
  });
  test('config.json says the same to version 4 and version 5', () => {
    const config = JSON.parse(
      qwen2MoeLayout(toySpec(), { ...FACTS, tokens: { bos: 1, eos: [2, 3], pad: 0 } }).configJson,
    );
    expect(config.rope_parameters).toEqual({ rope_theta: config.rope_theta, rope_type: 'default' });
    expect(config).toMatchObject({ rope_scaling: null, torch_dtype: 'bfloat16', dtype: 'bfloat16' });
    expect(config).toMatchObject({ bos_token_id: 1, eos_token_id: [2, 3], pad_token_id: 0, decoder_sparse_step: 1 });
    expect(config.layer_types).toEqual(toySpec().layers.map(() => 'full_attention'));
  });
});

describe('refusals, one sentence each, before anything is written', () => {
  const reason = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      return (error as Error).message;
    }
    return 'no refusal';
  };
  const END = '; use --to safetensors, which keeps everything for moe.';
  test.each([
    ['llama3', 'stretched rotary positions (llama3)'],
    ['qwen3', 'norms of queries and keys'],
    ['olmoe', 'norms of queries and keys'],
    ['qwen2-window', 'sliding windows'],
  ])('%s', async (name, feature) => {
    await expect(exportOf(foreign(name), 'qwen2-moe')).rejects.toThrow(
      `--to qwen2-moe cannot express this model: it has ${feature}${END}`,
    );
    expect(existsSync(join(root, `export-${exports - 1}`))).toBe(false);
  });
  const toy = toySpec();
  test.each<[string, Partial<ModelSpec>]>([
    ["the router 'hash'", { router: { ...toy.router, kind: 'hash' } }],
    [
      'routing by language at inference (router.inference_mode forced)',
      { router: { ...toy.router, inference_mode: 'forced' } },
    ],
    [
      'a balancing bias on the choice of experts (router.bias_rate)',
      { router: { ...toy.router, inference_mode: 'free', bias_rate: 0.001 } },
    ],
    [
      'a limit on the load of an expert (capacity_factor 1.25)',
      { router: { ...toy.router, inference_mode: 'free' }, capacity_factor: 1.25 },
    ],
    ['a bias in the output projection of attention', { decoder: { ...toy.decoder, o_bias: true } }],
    ['limits on queries, keys and values (clip_qkv)', { decoder: { ...toy.decoder, clip_qkv: 8 } }],
    [
      `heads 6 wide instead of ${toy.hidden_size / toy.num_attention_heads}`,
      { decoder: { ...toy.decoder, head_dim: 6 } },
    ],
  ])('%s', (feature, change) => {
    const sentence = (target: Target): string => `--to ${target} cannot express this model: it has ${feature}${END}`;
    expect(reason(() => qwen2MoeLayout({ ...toy, ...change }, FACTS))).toBe(sentence('qwen2-moe'));
    expect(reason(() => apolloLayout({ ...toy, ...change }, FACTS))).toBe(sentence('apollo'));
  });
  test('apollo without experts, or with narrow ones', () => {
    expect(reason(() => apolloLayout(toySpec({}, true), FACTS))).toMatch(
      /^--to apollo needs experts and this model is/,
    );
    const narrow = { ...toy, decoder: { ...toy.decoder, moe_intermediate_size: 7 } };
    expect(reason(() => apolloLayout(narrow, FACTS))).toMatch(/here one is 7 wide; use --to qwen2-moe\.$/);
  });
});

describe('shards', () => {
  test('opened, they are the model; exported again, the same; the index names every tensor once', async () => {
    const out = await exportOf(foreign('qwen2_moe'), 'safetensors', { mostBytes: 40_000 });
    const files = readdirSync(out).filter(name => name.endsWith('.safetensors'));
    expect(files.length).toBeGreaterThan(3);
    const index = JSON.parse(readFileSync(join(out, 'model.safetensors.index.json'), 'utf8'));
    const { tensors } = openCheckpoint(out);
    expect(Object.keys(index.weight_map)).toEqual([...tensors.keys()].sort());
    const bytes = Array.from(tensors.values(), ({ byteLength }) => byteLength);
    expect(index.metadata.total_size).toBe(bytes.reduce((a, b) => a + b, 0));
    for (const { name, path } of tensors.values()) expect(index.weight_map[name]).toBe(basename(path));
    expect(storedBits(out)).toEqual(storedBits(foreign('qwen2_moe')));
    expect(filesOf(await exportOf(out, 'safetensors', { mostBytes: 40_000 }))).toEqual(filesOf(out));
  });
  test('are filled in order, one with a tensor above the limit holds it alone', () => {
    const tensors = [3, 2, 9, 1, 1, 4].map((size, i) => ({ name: `t${i}`, dtype: 'U8' as const, shape: [size] }));
    const shards = divideIntoShards(tensors, 5);
    expect(shards.map(({ tensors }) => tensors.map(({ name }) => name).join(' '))).toEqual([
      't0 t1',
      't2',
      't3 t4',
      't5',
    ]);
    expect(shards[0].file).toBe('model-00001-of-00004.safetensors');
    const first = divideIntoShards(tensors.slice(2), 5);
    expect(first.map(({ tensors }) => tensors.length)).toEqual([1, 2, 1]);
    expect(divideIntoShards(tensors, 20).map(({ file }) => file)).toEqual(['model.safetensors']);
  });
});

test('the card says whom experts serve, what was trained on, how well, whence, and how to load it', async () => {
  const out = await exportOf(TRAINED, 'qwen2-moe');
  const card = readFileSync(join(out, 'README.md'), 'utf8');
  expect(card).toMatch(/^---\nlibrary_name: transformers\n/);
  expect(card).toContain('| 1 | family-1 | Synthetic 1a (x1a), Synthetic 1b (x1b) |');
  const { data, weights_sha256 } = JSON.parse(readFileSync(join(TRAINED, 'provenance.json'), 'utf8'));
  for (const hash of [...Object.values(data[0].sha256), weights_sha256]) expect(card).toContain(`\`${hash}\``);
  expect(card).toContain('- run big, step 150, seed 0\n');
  expect(card).toContain("AutoModelForCausalLM.from_pretrained('.')");
  expect(card).toMatch(/\| x2a \| \d\.\d{4} \| \d\.\d{4} \| \d\.\d{4} \| \d+ \|/);
});

test('a tokenizer that has its own configuration keeps it; one without gets the texts of its special ids', async () => {
  const out = await exportOf(TRAINED, 'qwen2-moe');
  expect(JSON.parse(readFileSync(join(out, 'tokenizer_config.json'), 'utf8'))).toEqual({
    clean_up_tokenization_spaces: false,
    eos_token: '<|endoftext|>',
    model_max_length: 64,
    pad_token: '<|endoftext|>',
    tokenizer_class: 'PreTrainedTokenizerFast',
  });
  const from = join(root, 'chatty');
  cpSync(TRAINED, from, { recursive: true });
  const own = '{"tokenizer_class": "X", "chat_template": "{{ messages }}"}\n';
  writeFileSync(join(from, 'tokenizer_config.json'), own);
  writeFileSync(join(from, 'chat_template.jinja'), '{{ messages }}');
  const kept = filesOf(await exportOf(from, 'qwen2-moe'));
  expect([kept['tokenizer_config.json'], kept['chat_template.jinja']]).toEqual([own, '{{ messages }}']);
});

test('floats as Python writes them', () => {
  const written = [0, 1e-6, 0.02, 1e6, 1e-4, 0.00012345, 1.5, 1e16, 123456789012345680, 3e-10, -2];
  expect(written.map(pythonFloat).join(' ')).toBe(
    '0.0 1e-06 0.02 1000000.0 0.0001 0.00012345 1.5 1e+16 1.2345678901234568e+17 3e-10 -2.0',
  );
});

test('a damaged source is refused before a folder is made', async () => {
  const from = join(root, 'damaged');
  cpSync(foreign('qwen2-tied'), from, { recursive: true });
  const bytes = readFileSync(join(from, 'model.safetensors'));
  writeFileSync(join(from, 'model.safetensors'), bytes.subarray(0, bytes.length - 4));
  const folder = readModelFolder(from);
  const out = join(root, 'never');
  const options = { target: 'safetensors', dtype: null, mostBytes: 5e9, provenance: {} } as const;
  await expect(exportModel(folder, out, options)).rejects.toThrow(/the file is cut short/);
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(root).filter(name => name.endsWith('.partial'))).toEqual([]);
  expect(() => readTensors(folder, { halves: false })).toThrow(UserError);
});
