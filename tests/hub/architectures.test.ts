// Checkpoints written by the transformers library (tests/golden/hf) give its logits, routing and greedy text here.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { generate } from '../../src/eval/generate.ts';
import { readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { readFloat32, readInt32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { recordRoutings } from '../../src/model/observed.ts';
import type { TokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import { createModel, disposeModel, type Model } from '../../src/model/weights.ts';
import { backends, kernelBackends, use } from '../engine/backends.ts';
import { collected, difference, tidied, valuesOf } from '../model/toy.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
const NAMES = [
  ...['qwen2-tied', 'qwen2-untied', 'qwen2-window', 'llama3', 'mistral', 'qwen3', 'apollo'],
  ...['mixtral', 'qwen2_moe', 'qwen2_moe-norm', 'qwen3_moe', 'olmoe'],
];

interface Golden {
  batches: Record<string, { ids: number[][]; mask: number[][] }>;
  generation: { prompt: number[]; ids: number[] };
}
const golden = (name: string): Golden => JSON.parse(readFileSync(join(HOME, name, 'golden.json'), 'utf8'));

function openGolden(name: string): Model {
  const folder = readModelFolder(join(HOME, name));
  return createModel(folder.spec, readTensors(folder, { halves: false }));
}

/** Positions count real tokens alone, as the library's generate does; padding is a segment of nobody. */
function inputOf({ ids, mask }: Golden['batches'][string]): TokenInput {
  const positions = mask.map(row => {
    let seen = 0;
    return row.map(real => {
      seen += real;
      return Math.max(0, seen - 1);
    });
  });
  const real_T = mask.flat();
  return {
    batch: ids.length,
    sequence: ids[0].length,
    id_T: Int32Array.from(ids.flat()),
    position_T: Int32Array.from(positions.flat()),
    segment_T: Int32Array.from(real_T, real => (real === 1 ? 0 : -1)),
    languageExpert_T: null,
    counted_T: Uint8Array.from(real_T),
  };
}

const argmax = (row: ArrayLike<number>): number =>
  Array.from(row).reduce((best, value, i, all) => (value > all[best] ? i : best), 0);

/** Logits and routing of one batch against the golden: the largest difference of a logit and of a gate. */
async function compare(model: Model, name: string, batch: string): Promise<{ logits: number; gates: number }> {
  const input = inputOf(golden(name).batches[batch]);
  const { tensors } = readSafetensors(join(HOME, name, 'golden.safetensors'));
  const recorder = recordRoutings();
  const found = tidied(() => {
    const { logits_TV } = forward(model, input, {
      mode: 'free',
      onRouting: (l, routing) => recorder.observe(l, routing),
    });
    return valuesOf(logits_TV);
  });
  const expected = readFloat32(tensors.get(`logits.${batch}`)!);
  const V = model.spec.vocab_size;
  let [logits, gates] = [0, 0];
  input.counted_T.forEach((real, t) => {
    if (real === 0) return;
    const [ours, theirs] = [found, expected].map(values => values.subarray(t * V, (t + 1) * V));
    logits = Math.max(logits, difference(ours, theirs));
    expect(argmax(ours), `argmax at ${t}`).toBe(argmax(theirs));
  });
  const routings = await recorder.read();
  expect(routings.map(({ layer }) => layer)).toEqual(
    model.spec.layers.flatMap((kind, i) => (kind === 'moe' ? [i] : [])),
  );
  for (const { layer, expertId_TK, gate_TK, k } of routings) {
    const theirId_TK = readInt32(tensors.get(`experts.${batch}.layer${layer}`)!);
    const theirGate_TK = readFloat32(tensors.get(`gates.${batch}.layer${layer}`)!);
    const masked = expertId_TK.map((id, slot) => (input.counted_T[Math.floor(slot / k)] === 1 ? id : -1));
    expect(masked, `experts of layer ${layer}`).toEqual(theirId_TK);
    const real = gate_TK.map((gate, slot) => (masked[slot] < 0 ? 0 : gate));
    gates = Math.max(gates, difference(real, theirGate_TK));
  }
  return { logits, gates };
}

const greedy = { temperature: 0, topP: 1, eosIds: [], mode: 'free', languageExpert: null, random: () => 0 } as const;
const best = kernelBackends.at(-1)!;

describe.each(NAMES)('%s', name => {
  test.each(['sequence0', 'sequence1', 'sequence2', 'right', 'left'])('logits and routing of %s', async batch => {
    await use(best);
    const model = openGolden(name);
    const { logits, gates } = await compare(model, name, batch);
    disposeModel(model);
    expect(logits).toBeLessThan(1e-4);
    expect(gates).toBeLessThan(1e-5);
  });

  test.each(backends.filter(backend => backend !== best))('logits and routing of left on %s', async backend => {
    await use(backend);
    const model = openGolden(name);
    const { logits, gates } = await compare(model, name, 'left');
    disposeModel(model);
    expect(logits).toBeLessThan(1e-4);
    expect(gates).toBeLessThan(1e-5);
  });

  test('64 tokens of greedy text', async () => {
    await use(best);
    const { prompt, ids } = golden(name).generation;
    const model = openGolden(name);
    const made = await collected(generate(model, Int32Array.from(prompt), { ...greedy, maxTokens: ids.length }));
    disposeModel(model);
    expect(ids).toHaveLength(64);
    expect(made).toEqual(ids);
  });
});
