// Generation: a tiny model whose next-token distribution is set by hand, and a random one against full forward passes.
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { tf } from '../../src/engine/tf.ts';
import { type GenerateOptions, generate } from '../../src/eval/generate.ts';
import { createModel, disposeModel, type Model } from '../../src/model/weights.ts';
import { collected, EOS, logitsOf, sequenceInput, toyModel, toySpec, toyWeights, VOCABULARY } from '../model/toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const greedy: GenerateOptions = {
  maxTokens: 8,
  temperature: 0,
  topP: 1,
  eosIds: [],
  mode: 'free',
  languageExpert: null,
  random: () => 0,
};

/** Blocks that add nothing and a hidden state that is one constant: every token has the given logits, by id; others −50. */
function withLogits(logits: Record<number, number>): Model {
  const spec = toySpec({ model: { tie_word_embeddings: false, moe_layers: 'none', num_hidden_layers: 1 } });
  const weights = toyWeights(spec);
  for (const [name, { values }] of weights) {
    if (name.includes('o_proj') || name.includes('down_proj')) values.fill(0);
    if (name.includes('embed_tokens') || name.includes('norm')) values.fill(1);
  }
  const head = weights.get('lm_head.weight')!.values.fill(0);
  for (let id = 0; id < VOCABULARY; id++) head[id * spec.hidden_size] = logits[id] ?? -50;
  return createModel(spec, weights);
}

/** Every token that is generated. */
const all = (...request: Parameters<typeof generate>): Promise<number[]> => collected(generate(...request));

/** One token per draw of `uniform`. */
async function draws(model: Model, uniform: number[], settings: Partial<GenerateOptions>): Promise<number[]> {
  const drawn: number[] = [];
  for (const u of uniform)
    drawn.push(...(await all(model, Int32Array.of(5), { ...greedy, maxTokens: 1, ...settings, random: () => u })));
  return drawn;
}

describe('a distribution set by hand: 0.5, 0.25, 0.125, 0.125 on ids 7, 3, 4, 9', () => {
  const probabilities = { 3: Math.log(0.25), 4: Math.log(0.125), 7: Math.log(0.5), 9: Math.log(0.125) };

  test('temperature 0 takes the most probable, the lowest id of equals', async () => {
    const model = withLogits(probabilities);
    expect(await all(model, Int32Array.of(5), greedy)).toEqual(Array(8).fill(7));
    disposeModel(model);
    const tied = withLogits({ 20: 2, 11: 2, 30: 1 });
    expect(await all(tied, Int32Array.of(5), greedy)).toEqual(Array(8).fill(11));
    disposeModel(tied);
  });

  test('temperature 1: uniform numbers fall into 0.5, 0.75, 0.875, 1, the more probable first, then the lower id', async () => {
    const model = withLogits(probabilities);
    const uniform = [0, 0.49, 0.51, 0.74, 0.76, 0.87, 0.88, 0.999];
    expect(await draws(model, uniform, { temperature: 1 })).toEqual([7, 7, 3, 3, 4, 4, 9, 9]);
    disposeModel(model);
  });

  test('top-p 0.7: the nucleus is {7, 3} of mass 0.75, renormalised to 2/3 and 1/3', async () => {
    const model = withLogits(probabilities);
    expect(await draws(model, [0, 0.66, 0.67, 0.999], { temperature: 1, topP: 0.7 })).toEqual([7, 7, 3, 3]);
    // 0.76 needs a third: the lower id of the two at 0.125; masses 4/7, 2/7, 1/7.
    expect(await draws(model, [0.57, 0.58, 0.85, 0.86, 0.999], { temperature: 1, topP: 0.76 })).toEqual([
      7, 3, 3, 4, 4,
    ]);
    expect(await draws(model, [0, 0.999], { temperature: 1, topP: 0.49 })).toEqual([7, 7]);
    disposeModel(model);
  });

  test('temperature 0.5 squares the odds: 16 : 4 : 1 : 1', async () => {
    const model = withLogits(probabilities);
    const uniform = [0.72, 0.73, 0.9, 0.91, 0.95, 0.96];
    expect(await draws(model, uniform, { temperature: 0.5 })).toEqual([7, 3, 3, 4, 4, 9]);
    disposeModel(model);
  });

  test('the end of text stops and is not given', async () => {
    const model = withLogits(probabilities);
    const uniform = [0.1, 0.6, 0.8, 0.1];
    const random = () => uniform.shift()!;
    expect(await all(model, Int32Array.of(5), { ...greedy, temperature: 1, eosIds: [4], random })).toEqual([7, 3]);
    expect(uniform).toEqual([0.1]);
    disposeModel(model);
  });
});

describe('a random mixture', () => {
  const prompt = Int32Array.of(3, 1, 4, 1, 5);

  test.each([
    ['free', null],
    ['forced', 2],
    ['hinted', 1],
  ] as const)('greedy tokens are those of full passes without a cache, %s', async (mode, languageExpert) => {
    const model = toyModel({ router: { hint_bias: 3 } });
    const ids = [...prompt];
    for (let i = 0; i < 8; i++) {
      const logits = logitsOf(model, sequenceInput(ids, 0, languageExpert), { mode }).at(-1)!;
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    expect(await all(model, prompt, { ...greedy, mode, languageExpert })).toEqual(ids.slice(prompt.length));
    disposeModel(model);
  });

  test('the same seed gives the same tokens, another seed others', async () => {
    const model = toyModel();
    const run = (seed: string) =>
      all(model, prompt, { ...greedy, maxTokens: 20, temperature: 1, random: seedrandom(seed) });
    const first = await run('a');
    expect(await run('a')).toEqual(first);
    expect(await run('b')).not.toEqual(first);
    disposeModel(model);
  });

  test('positions end at max_position_embeddings: 60 of 64 leave 5 predictions, a prompt beyond is refused', async () => {
    const model = toyModel();
    const long = Int32Array.from({ length: 60 }, (_, i) => i % EOS);
    const made = await all(model, long, { ...greedy, maxTokens: 50 });
    expect(made.length).toBe(5); // after positions 60, 61, 62, 63 and 64
    await expect(all(model, new Int32Array(65), greedy)).rejects.toThrow('64');
    await expect(all(model, new Int32Array(0), greedy)).rejects.toThrow('at least one');
    disposeModel(model);
  });

  test('a reader who stops early leaves no cache behind', async () => {
    const model = toyModel();
    const before = tf.memory().numTensors;
    const tokens = generate(model, prompt, { ...greedy, maxTokens: 50 });
    await tokens.next();
    await tokens.next();
    expect(tf.memory().numTensors - before).toBe(2 * model.spec.num_hidden_layers);
    await tokens.return(undefined);
    expect(tf.memory().numTensors).toBe(before);
    disposeModel(model);
  });
});
