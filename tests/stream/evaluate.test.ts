// Evaluation of a model in its files under a budget: losses, counts and traces are those of the model in memory, whatever the
// router, and what is held stays within what was asked.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RoutingMode } from '../../routing/types.ts';
import { documentLosses, type Evaluated } from '../../src/eval/evaluate.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import { withUntrainedRouters } from '../../src/eval/untrained-router.ts';
import { readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';
import { toConfigJson } from '../../src/model/config-json.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { createModel, disposeModel } from '../../src/model/weights.ts';
import { inMemory, onDisk } from '../../src/stream/activations.ts';
import type { StreamedModel } from '../../src/stream/model.ts';
import { describePlan, planStream } from '../../src/stream/plan.ts';
import { storedModel } from '../../src/stream/source.ts';
import { kernelBackends, use } from '../engine/backends.ts';
import { EOS, toyBatches, toyDocuments, toyExperts, toyMap, toySpec, toyWeights } from '../model/toy.ts';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'moe-stream-'));
});
afterAll(() => rmSync(home, { recursive: true }));

const documents = toyDocuments([8, 14, 12, 25, 1, 30, 5, 24, 2, 16, 16, 9]);
const shape = { batch: 4, sequence: 16, padId: EOS };

type Settings = Parameters<typeof toySpec>[0];

/** A toy checkpoint on disk, its matrices in one type or the other. */
async function saved(name: string, settings: Settings, dtype: 'F32' | 'BF16'): Promise<string> {
  const folder = mkdtempSync(join(home, name));
  const spec = toySpec(settings);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toConfigJson(spec, toyMap, EOS)));
  const tensors = [...toyWeights(spec)].map(([tensor, { shape: size, values }]) => ({
    ...{ name: tensor, dtype, shape: size, values: () => values },
  }));
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

function opened(folder: string, budget: number | null, lines: string[] = []): StreamedModel {
  const stored = storedModel(readModelFolder(folder));
  return { spec: stored.spec, stored, budget, temporary: home, announce: line => lines.push(line) };
}

const evaluate = (model: Evaluated, mode: RoutingMode) =>
  recordTrace(
    {
      ...{ model, map: toyMap, documents, mode, run: 'toy', modelName: 'toy', step: 1 },
      ...{ trainingBytes: [1, 1, 1, 1], history: [], softmax: true },
    },
    shape,
  );

const KINDS: [name: string, settings: Settings, mode: RoutingMode][] = [
  ['forced', { model: { shared_expert: true } }, 'forced'],
  ['capacity', { model: { capacity_factor: 0.75 } }, 'free'],
  ['expert-choice', { router: { kind: 'expert-choice', inference_mode: 'free', train_mode: 'free' } }, 'free'],
];

describe.each(kernelBackends)('on %s', backend => {
  beforeAll(() => use(backend).then(() => undefined));

  test.each(KINDS)('%s routing, in bf16, at the least memory', async (name, settings, mode) => {
    const folder = await saved(name, settings, 'BF16');
    const own = readModelFolder(folder);
    const model = createModel(own.spec, readTensors(own, { halves: true }));
    const expected = await evaluate(model, mode);
    const losses = await documentLosses(model, documents, toyMap.languages, { ...shape, mode });
    const drawn = withUntrainedRouters(model, 3);
    const expectedUntrained = await evaluate(drawn.model, mode);
    drawn.dispose();
    disposeModel(model);
    const inputs = toyBatches(documents, shape.batch, shape.sequence).map(batch => tokenInput(batch, toyExperts));
    const lines: string[] = [];
    const stored = storedModel(own);
    const places = name === 'expert-choice' ? 4 : 2; // a token may get any number of the experts that choose
    const softmax = documents.length * 2 * 4; // sums of 2 layers of 4 experts
    const tokens = documents.reduce((sum, { ids }) => sum + ids.length - 1, 0);
    const recorded = 2 * places * 6 + (4 * softmax) / tokens;
    const least = leastAccepted(budget => planStream(stored, inputs, budget, recorded));
    const streamed = opened(folder, least, lines);
    expect(await evaluate(streamed, mode)).toEqual(expected);
    const found = await documentLosses(streamed, documents, toyMap.languages, { ...shape, mode });
    expect(await evaluate(withUntrainedRouters(streamed, 3).model, mode)).toEqual(expectedUntrained);
    expect(expectedUntrained.columns.expert).not.toEqual(expected.columns.expert);
    found.forEach(({ nats, tokens }, d) => {
      expect(tokens).toBe(losses[d].tokens);
      expect(Math.abs(nats - losses[d].nats)).toBeLessThan(1e-5);
    });
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^1 of 4 experts of a layer at a time .* on disk/);
    expect(readdirSync(home).filter(file => file.startsWith('moe-activations'))).toEqual([]);
  });
});

/** The smallest budget that is not refused. */
function leastAccepted(plan: (budget: number) => unknown): number {
  const accepts = (budget: number): boolean => {
    try {
      plan(budget);
      return true;
    } catch {
      return false;
    }
  };
  let [refused, accepted] = [0, 2 ** 30];
  while (accepted - refused > 1) {
    const middle = Math.floor((refused + accepted) / 2);
    if (accepts(middle)) accepted = middle;
    else refused = middle;
  }
  return accepted;
}

describe('a plan', () => {
  beforeAll(() => use('wasm').then(() => undefined));
  const stored = () => storedModel(readModelFolder(join(import.meta.dirname, '..', 'golden', 'hf', 'qwen3_moe')));
  const inputs = (count: number) =>
    toyBatches(toyDocuments(Array.from({ length: count }, () => 16)), 8, 16).map(batch => tokenInput(batch, null));

  test('stays within its budget and holds the more the larger that is', () => {
    const model = stored();
    const whole = planStream(model, inputs(64), null);
    expect(
      whole.experts_L.every((held, layer) => model.spec.layers[layer] === 'dense' || held === model.spec.numExperts),
    ).toBe(true);
    expect(whole.onDisk).toBe(false);
    const least = leastAccepted(budget => planStream(model, inputs(64), budget));
    let before = 0;
    for (let i = 0; i <= 20; i++) {
      const budget = Math.floor(least + ((whole.totalBytes - least) * i) / 20);
      const plan = planStream(model, inputs(64), budget);
      expect(plan.totalBytes).toBeLessThanOrEqual(budget);
      expect(plan.headTokens).toBeGreaterThanOrEqual(1);
      const held = Math.min(...plan.experts_L.filter((_, layer) => model.spec.layers[layer] === 'moe'));
      expect(held).toBeGreaterThanOrEqual(i === 0 ? 1 : before);
      before = held;
    }
    expect(before).toBe(model.spec.numExperts);
    expect(planStream(model, inputs(64), least)).toMatchObject({ sequences: 1, onDisk: true });
  });

  test('that cannot hold one expert is refused with the least that would do, and that does', () => {
    const model = stored();
    expect(() => planStream(model, inputs(64), 1000)).toThrow(
      /^--memory 0\.0 MiB is too little for this model and text; it needs at least \d+(\.\d)? MiB: one expert or dense layer, and the tokens of one sequence\.$/,
    );
    const least = leastAccepted(budget => planStream(model, inputs(64), budget));
    expect(() => planStream(model, inputs(64), 1000)).toThrow(`at least ${Math.ceil(least / 2 ** 20).toFixed(1)} MiB`);
  });

  test('is told in one line', () => {
    const model = stored();
    const line = describePlan(planStream(model, inputs(64), null), model);
    expect(line).toMatch(
      /^one layer at a time \(weights [\d.]+ MiB\), work [\d.]+ MiB, activations [\d.]+ MiB in memory, records [\d.]+ MiB: [\d.]+ MiB in all$/,
    );
  });
});

describe('activations', () => {
  test.each(['memory', 'disk'])('come back from %s as they were written, and the file has no name', where => {
    const kept = where === 'memory' ? inMemory(10) : onDisk(10, home);
    kept.write(3, Float32Array.of(1, 2, 3));
    kept.write(5, Float32Array.of(-1));
    const found = new Float32Array(4);
    kept.read(2, found);
    expect([...found]).toEqual([0, 1, 2, -1]);
    expect(readdirSync(home).filter(file => file.startsWith('moe-activations'))).toEqual([]);
    kept.close();
  });

  test('a folder that is not there is said', () => {
    expect(() => onDisk(10, join(home, 'nowhere'))).toThrow(
      /^cannot keep 0 MiB of activations in .*nowhere \(ENOENT\)/,
    );
  });
});
