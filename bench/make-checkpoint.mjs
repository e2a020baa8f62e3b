// A randomly initialised checkpoint, written tensor by tensor: the true shape of a published model without its download.
//   node bench/make-checkpoint.mjs --model apollo-0.5b --out /tmp/apollo --dtype bf16
//   node bench/make-checkpoint.mjs --config config.json --out DIR      a shape of your own: Qwen2 with experts by Qwen2-MoE's names
// Matrices N(0, initializer_range), norms 1, biases 0. The tokenizer has one token per byte, so every text can be read.
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** The config.json of the published Apollo-MoE-0.5B, as far as it says what is computed. */
const APOLLO = {
  architectures: ['UpcyclingQwen2MoeForCausalLM'],
  ...{ model_type: 'upcycling-qwen2-moe', vocab_size: 151936, hidden_size: 896, intermediate_size: 4864 },
  ...{ num_hidden_layers: 24, num_attention_heads: 14, num_key_value_heads: 2, max_position_embeddings: 131072 },
  ...{ num_experts: 7, num_experts_per_tok: 2, moe_intermediate_size: 4864, shared_expert_intermediate_size: 4864 },
  ...{ mlp_only_layers: Array.from({ length: 22 }, (_, i) => i), decoder_sparse_step: 1, norm_topk_prob: false },
  ...{ language_gate: true, share_flag: false, tie_word_embeddings: true, rope_theta: 1e6, rms_norm_eps: 1e-6 },
  ...{ hidden_act: 'silu', initializer_range: 0.02, use_sliding_window: false, sliding_window: 131072 },
  ...{ max_window_layers: 24, bos_token_id: 151643, eos_token_id: 151643, torch_dtype: 'bfloat16' },
};
const MODELS = { 'apollo-0.5b': APOLLO };

const { values: asked } = parseArgs({
  options: {
    model: { type: 'string', default: 'apollo-0.5b' },
    config: { type: 'string' },
    out: { type: 'string' },
    dtype: { type: 'string', default: 'bf16' },
    seed: { type: 'string', default: '1' },
  },
});
const shape = asked.config ? JSON.parse(readFileSync(asked.config, 'utf8')) : MODELS[asked.model];
if (!shape || !asked.out || !['bf16', 'f32'].includes(asked.dtype)) {
  console.error(
    `Give --out DIR, --model ${Object.keys(MODELS).join(' or ')} (or --config FILE) and --dtype bf16 or f32.`,
  );
  process.exit(2);
}

/** Names and shapes, as the published files have them: the head is stored although it is tied. */
function tensorsOf(c) {
  const D = c.hidden_size;
  const d = c.head_dim ?? D / c.num_attention_heads;
  const [q, kv] = [c.num_attention_heads * d, c.num_key_value_heads * d];
  const ffn = (at, F) => [
    [`${at}.gate_proj.weight`, [F, D]],
    [`${at}.up_proj.weight`, [F, D]],
    [`${at}.down_proj.weight`, [D, F]],
  ];
  const layer = i => {
    const at = `model.layers.${i}`;
    const experts = Array.from({ length: c.num_experts ?? 0 }, (_, e) =>
      ffn(`${at}.mlp.experts.${e}`, c.moe_intermediate_size),
    );
    const sparse = [[`${at}.mlp.gate.weight`, [c.num_experts, D]], ...experts.flat()];
    return [
      [`${at}.input_layernorm.weight`, [D]],
      ...Object.entries({ q, k: kv, v: kv }).flatMap(([name, rows]) => [
        [`${at}.self_attn.${name}_proj.weight`, [rows, D]],
        [`${at}.self_attn.${name}_proj.bias`, [rows]],
      ]),
      [`${at}.self_attn.o_proj.weight`, [D, q]],
      [`${at}.post_attention_layernorm.weight`, [D]],
      ...(experts.length === 0 || c.mlp_only_layers?.includes(i) ? ffn(`${at}.mlp`, c.intermediate_size) : sparse),
    ];
  };
  return [
    ['model.embed_tokens.weight', [c.vocab_size, D]],
    ...Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)).flat(),
    ['model.norm.weight', [D]],
    ['lm_head.weight', [c.vocab_size, D]],
  ];
}

const width = asked.dtype === 'bf16' ? 2 : 4;
const sizeOf = dimensions => dimensions.reduce((product, size) => product * size, 1);

let state = Number(asked.seed) >>> 0 || 1;
/** xorshift32 (Marsaglia 2003). */
function next() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}
/** Nearly normal: the sum of four bytes, less its mean, by its standard deviation. */
function normal() {
  const bits = next();
  return ((bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24) - 510) / 147.8;
}

function* piecesOf(name, dimensions) {
  const count = sizeOf(dimensions);
  const constant = name.endsWith('norm.weight') ? 1 : name.endsWith('bias') ? 0 : null;
  for (let done = 0; done < count; done += PIECE) {
    const values = new Float32Array(Math.min(PIECE, count - done));
    if (constant !== null) values.fill(constant);
    else for (let i = 0; i < values.length; i++) values[i] = shape.initializer_range * normal();
    yield width === 4 ? values : Uint16Array.from(new Uint32Array(values.buffer), bits => bits >>> 16);
  }
}
const PIECE = 2 ** 20;

/** Bytes as the letters that byte-level tokenizers give them. */
function byteLetters() {
  const shown = byte => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(shown(byte) ? byte : 256 + others++));
}

function tokenizerJson() {
  const vocab = Object.fromEntries(byteLetters().map((letter, id) => [letter, id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    version: '1.0',
    added_tokens: [{ id: 256, content: '<|endoftext|>', special: true }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: 'BPE', vocab, merges: [] },
  };
}

const tensors = tensorsOf(shape);
let end = 0;
const header = { __metadata__: { format: 'pt' } };
for (const [name, dimensions] of tensors) {
  const start = end;
  end += sizeOf(dimensions) * width;
  header[name] = { dtype: asked.dtype === 'bf16' ? 'BF16' : 'F32', shape: dimensions, data_offsets: [start, end] };
}
const json = Buffer.from(JSON.stringify(header));
const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
const length = Buffer.alloc(8);
length.writeBigUInt64LE(BigInt(padded.length));

mkdirSync(asked.out, { recursive: true });
writeFileSync(join(asked.out, 'config.json'), `${JSON.stringify(shape, null, 2)}\n`);
writeFileSync(join(asked.out, 'tokenizer.json'), `${JSON.stringify(tokenizerJson())}\n`);
const file = openSync(join(asked.out, 'model.safetensors'), 'w');
const write = bytes => {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(file, bytes, done, bytes.byteLength - done);
};
write(length);
write(padded);
let seed = state;
for (const [name, dimensions] of tensors) {
  // A stored head that is tied is the embedding again.
  if (name === 'lm_head.weight' && shape.tie_word_embeddings) [state, seed] = [seed, state];
  for (const piece of piecesOf(name, dimensions)) write(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
}
closeSync(file);
const count = tensors.reduce((sum, [, dimensions]) => sum + sizeOf(dimensions), 0);
console.log(
  `${asked.out}: ${tensors.length} tensors, ${count} numbers, ${(end / 1e9).toFixed(2)} GB in ${asked.dtype}.`,
);
