// Beam search: two steps worked by hand, the transformers library on two checkpoints, and a full search of a small tree.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tf } from '../../src/engine/tf.ts';
import { type BeamOptions, beamSearch } from '../../src/eval/beam.ts';
import { type GenerateOptions, generate } from '../../src/eval/generate.ts';
import { readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { createModel, disposeModel, type Model } from '../../src/model/weights.ts';
import { allBackends, use } from '../engine/backends.ts';
import { collected, logitsOf, sequenceInput, toyModel, toySpec, toyWeights, VOCABULARY } from '../model/toy.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden');
const plain: BeamOptions = {
  beams: 3,
  maxTokens: 8,
  lengthPenalty: 1,
  eosIds: [],
  earlyStopping: false,
  mode: 'free',
  languageExpert: null,
};

interface Case {
  checkpoint: string;
  num_beams: number;
  length_penalty: number;
  early_stopping: boolean;
  eos: number[];
  prompt: number[];
  texts: { ids: number[]; score: number }[];
}
const { cases }: { cases: Case[] } = JSON.parse(readFileSync(join(GOLDEN, 'generate', 'beams.json'), 'utf8'));

function openGolden(name: string): Model {
  const folder = readModelFolder(join(GOLDEN, 'hf', name));
  return createModel(folder.spec, readTensors(folder, { halves: false }));
}

describe.each(allBackends)('the transformers library, on %s', backend => {
  beforeAll(() => use(backend).then(() => undefined));

  test.each(
    cases.map(one => [
      `${one.checkpoint}: ${one.num_beams} beams, end ${one.eos}, penalty ${one.length_penalty}, early ${one.early_stopping}`,
      one,
    ]),
  )('%s', async (_, { checkpoint, num_beams, length_penalty, early_stopping, eos, prompt, texts }) => {
    const model = openGolden(checkpoint);
    const found = await beamSearch(model, Int32Array.from(prompt), {
      ...plain,
      beams: num_beams,
      maxTokens: 20,
      lengthPenalty: length_penalty,
      earlyStopping: early_stopping,
      eosIds: eos,
    });
    disposeModel(model);
    expect(found.map(({ ids }) => ids)).toEqual(texts.map(({ ids }) => ids));
    found.forEach(({ score }, i) => {
      expect(Math.abs(score - texts[i].score)).toBeLessThan(1e-4);
    });
  });
});

test('the golden has texts that end at different lengths, and others that run on', () => {
  const lengths = cases.map(({ texts }) => texts.map(({ ids }) => ids.length));
  expect(lengths.some(all => new Set(all).size > 1)).toBe(true);
  expect(lengths.some(all => all.every(length => length === 20))).toBe(true);
});

const greedy: GenerateOptions = {
  ...{ maxTokens: 20, temperature: 0, topP: 1, eosIds: [], mode: 'free', languageExpert: null },
  random: () => 0,
};

describe.each(allBackends)('on %s', backend => {
  beforeAll(() => use(backend).then(() => undefined));

  test('one beam is greedy search, with and without an end', async () => {
    const model = toyModel();
    const prompt = Int32Array.of(3, 1, 4, 1, 5);
    const all = await collected(generate(model, prompt, greedy));
    expect(all).toHaveLength(20);
    for (const eosIds of [[], [all[6]], [all[2], all[6]], [all[0]]]) {
      const ids = await collected(generate(model, prompt, { ...greedy, eosIds }));
      const [text, ...others] = await beamSearch(model, prompt, { ...plain, beams: 1, maxTokens: 20, eosIds });
      expect(text.ids).toEqual(ids);
      expect(others).toEqual([]);
    }
    disposeModel(model);
  });
});

describe('a random mixture', () => {
  beforeAll(() => use('wasm').then(() => undefined));
  const logProbabilities = (logits: number[]): number[] => {
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return logits.map(logit => logit - total);
  };

  // With as many beams as tokens nothing is pruned before the last step: every pair and every end is looked at.
  test.each([
    ['free', null, 1],
    ['forced', 2, 1],
    ['hinted', 1, -0.5],
  ] as const)(
    'as many beams as tokens find the best of all texts of two tokens, %s',
    async (mode, languageExpert, lengthPenalty) => {
      const model = toyModel({ router: { hint_bias: 3 } });
      const prompt = [3, 1, 4, 1, 5];
      const next = (...ids: number[]) =>
        logProbabilities(logitsOf(model, sequenceInput([...prompt, ...ids], 0, languageExpert), { mode }).at(-1)!);
      const first = next();
      const eos = first.indexOf(Math.max(...first));
      const texts = [{ ids: [] as number[], score: first[eos] }];
      for (let a = 0; a < VOCABULARY; a++)
        if (a !== eos)
          next(a).forEach((second, b) => {
            texts.push({ ids: b === eos ? [a] : [a, b], score: (first[a] + second) / 2 ** lengthPenalty });
          });
      texts.sort((a, b) => b.score - a.score);
      const settings = {
        ...plain,
        beams: VOCABULARY,
        maxTokens: 2,
        lengthPenalty,
        eosIds: [eos],
        mode,
        languageExpert,
      };
      const found = await beamSearch(model, Int32Array.from(prompt), settings);
      disposeModel(model);
      expect(found.map(({ ids }) => ids)).toEqual(texts.slice(0, VOCABULARY).map(({ ids }) => ids));
      found.forEach(({ score }, i) => {
        expect(score).toBeCloseTo(texts[i].score, 4);
      });
    },
  );

  test('positions end at max_position_embeddings; a prompt beyond and no beams are refused', async () => {
    const model = toyModel();
    const long = Int32Array.from({ length: 62 }, (_, i) => i % 39);
    const found = await beamSearch(model, long, { ...plain, maxTokens: 50 });
    expect(found.map(({ ids }) => ids.length)).toEqual([3, 3, 3]); // after positions 62, 63 and 64
    await expect(beamSearch(model, new Int32Array(65), plain)).rejects.toThrow('64');
    await expect(beamSearch(model, new Int32Array(0), plain)).rejects.toThrow('at least one');
    await expect(beamSearch(model, long, { ...plain, beams: 0 })).rejects.toThrow('one beam');
    disposeModel(model);
  });

  test('the caches of a step that fails are given back', async () => {
    const model = toyModel();
    const before = tf.memory().numTensors;
    const table = model.weights.get('lm_head.weight') ?? model.weights.get('model.embed_tokens.weight')!;
    const search = beamSearch(model, Int32Array.of(1, 2), { ...plain, languageExpert: 99, mode: 'forced' });
    await expect(search).rejects.toThrow();
    expect(table.isDisposed).toBe(false);
    expect(tf.memory().numTensors).toBe(before);
    disposeModel(model);
  });
});

describe('the same odds at each step, by hand', () => {
  beforeAll(() => use('wasm').then(() => undefined));
  const uneven = { 3: 0.25, 4: 0.125, 7: 0.5, 9: 0.125 };

  /** Blocks that add nothing and a hidden state that is one constant. */
  async function search(odds: Record<number, number>, settings: Partial<BeamOptions>) {
    const spec = toySpec({ model: { tie_word_embeddings: false, moe_layers: 'none', num_hidden_layers: 1 } });
    const weights = toyWeights(spec);
    for (const [name, { values }] of weights) {
      if (name.includes('o_proj') || name.includes('down_proj')) values.fill(0);
      if (name.includes('embed_tokens') || name.includes('norm')) values.fill(1);
    }
    const head = weights.get('lm_head.weight')!.values.fill(0);
    for (let id = 0; id < VOCABULARY; id++) head[id * spec.hidden_size] = odds[id] ? Math.log(odds[id]) : -50;
    const model = createModel(spec, weights);
    const found = await beamSearch(model, Int32Array.of(5), { ...plain, ...settings });
    disposeModel(model);
    return found.map(({ ids, score }) => [ids.join(' '), Math.round(Math.exp(score) * 1e4) / 1e4]);
  }

  test('of equals the earlier beam is first, then the lower id', async () => {
    expect(await search({ 3: 0.5, 7: 0.5 }, { maxTokens: 2 })).toEqual([
      ['3 3', 0.5],
      ['3 7', 0.5],
      ['7 3', 0.5],
    ]);
  });

  test('an end counts as a token of the length', async () => {
    // 3 ends: alone it has 1/4, 7 before it (1/8)^(1/2), 7 7 before it (1/16)^(1/3): each longer one scores more.
    expect(await search(uneven, { beams: 3, maxTokens: 3, eosIds: [3] })).toEqual([
      ['7 7 7', 0.5],
      ['7 7', 0.3969],
      ['7', 0.3536],
    ]);
  });

  test('two ends: the search stops when no open text can gain, or at once if told to', async () => {
    // Penalty 0: the empty text ends with 1/4 and 7 with 1/8. The open 7 7 has 1/4 and might gain; 7 7 7 has 1/8: no more.
    expect(await search(uneven, { beams: 2, maxTokens: 9, eosIds: [3], lengthPenalty: 0 })).toEqual([
      ['', 0.25],
      ['7', 0.125],
    ]);
    // Penalty 1: a longer row of 7 is never worse than any text that has ended.
    expect((await search(uneven, { beams: 2, maxTokens: 9, eosIds: [3] }))[0]).toEqual(['7 7 7 7 7 7 7 7 7', 0.5]);
    expect(await search(uneven, { beams: 2, maxTokens: 9, eosIds: [3], earlyStopping: true })).toEqual([
      ['7', 0.3536],
      ['', 0.25],
    ]);
  });
});
