// A GPU cannot be read at once: growth, training, evaluation, traces, generation and checkpoints wait for their numbers, a
// training step for all of them together. What fails on the way leaves no tensor behind.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { bytesTokenizer } from '../../src/data/tokenizer/bytes.ts';
import type { Batch } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { tf } from '../../src/engine/tf.ts';
import { documentLosses } from '../../src/eval/evaluate.ts';
import { generate } from '../../src/eval/generate.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import { createModel, disposeModel, hostTensors, type Model } from '../../src/model/weights.ts';
import { growExperts } from '../../src/train/grow.ts';
import { lookAt } from '../../src/train/look.ts';
import { createOptimizer, optimizerSettings } from '../../src/train/optimizer.ts';
import type { Prepared } from '../../src/train/prepare.ts';
import { createRng, createStreams } from '../../src/train/rng.ts';
import { disposeState, type RunState, saveState } from '../../src/train/state.ts';
import { trainStep } from '../../src/train/step.ts';
import { createWatch } from '../../src/train/watch.ts';
import { webgpuHere } from '../engine/backends.ts';
import {
  collected,
  EOS,
  toyBatches,
  toyConfig,
  toyDocuments,
  toyExperts,
  toyMap,
  toyModel,
  toySpec,
  toyWeights,
} from '../model/toy.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-reading-'));
afterAll(() => rmSync(folder, { recursive: true }));

const documents = toyDocuments([9, 14, 6, 11]);
const batch = toyBatches(documents, 2, 24)[0];
const settings = {
  model: { shared_expert: true },
  router: { init: 'hidden-mean', bias_rate: 0.01, balance_coefficient: 0.01, z_coefficient: 0.001 },
  train: { accumulation: 3, batch_size: 2, gradient_checkpointing: true },
  data: { sequence_length: 24 },
} as const;
const config = toyConfig(settings);
const prepared = {
  tokenizer: { ...bytesTokenizer(), eosId: EOS },
  bytes: new Map(documents.map(({ id, ids }) => [id, ids.length])),
} as unknown as Prepared;

/** Files that read a tensor at once from now on: the caller outside of the engine, by its path in the repository. */
function filesThatRead(): Set<string> {
  const files = new Set<string>();
  const engine = tf.engine();
  const readSync = engine.readSync.bind(engine);
  vi.spyOn(engine, 'readSync').mockImplementation(id => {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = Number.POSITIVE_INFINITY;
    const frames = [...new Error().stack!.matchAll(/[\\/]((?:src|routing|experts|tests)[\\/][\w\\/.-]+\.ts):/g)];
    Error.stackTraceLimit = stackTraceLimit;
    // The first frame is the spy's.
    const callers = frames.slice(1).map(([, file]) => file.replaceAll('\\', '/'));
    files.add(callers.find(file => !file.startsWith('src/engine/')) ?? 'unknown');
    return readSync(id);
  });
  return files;
}

function stateOf(model: Model, batches: () => Batch = () => batch): RunState {
  return {
    phase: 'sparse',
    step: 1,
    tokens: 0,
    model,
    optimizer: createOptimizer(model.weights, optimizerSettings(config)),
    stream: { next: batches, state: () => ({}) } as unknown as RunState['stream'],
    watch: createWatch(),
    rng: createStreams(1),
  };
}
const step = (state: RunState) =>
  trainStep({ ...state, step: 1, learningRate: 0.01, config, expertOfLanguage: toyExperts });

/** SwiftShader compiles every kernel anew, for the CPU. */
const PATIENCE = 600_000;
const everywhere = ['cpu', 'wasm', ...(webgpuHere.works ? (['webgpu'] as const) : [])] as const;

describe.each(everywhere)('%s', { timeout: PATIENCE }, backend => {
  beforeEach(() => selectBackend(backend).then(() => undefined));

  test('the way from a dense model to a checkpoint, a trace and a text reads nothing at once', async () => {
    const files = filesThatRead();
    const denseSpec = toySpec(settings, true);
    const dense = createModel(denseSpec, toyWeights(denseSpec));
    const { model } = await growExperts(dense, config, toyMap, documents, createRng('reading'));
    disposeModel(dense);
    const state = stateOf(model);
    expect((await step(state)).stop).toBe(null);
    await lookAt(model, documents, config, toyMap, prepared);
    const request = { model, map: toyMap, documents, run: 'toy', modelName: 'toy', step: 1, history: [] };
    const shape = { batch: 2, sequence: 24, padId: EOS };
    await recordTrace({ ...request, mode: 'free', trainingBytes: [1, 1, 1, 1] }, shape);
    await saveState(join(folder, backend), state, config, toyMap, prepared);
    const settingsOfText = { maxTokens: 3, temperature: 1, topP: 1, eosIds: [], mode: 'free', languageExpert: null };
    await collected(
      generate(model, Int32Array.of(3, 4), { ...settingsOfText, random: () => 0.5 } as Parameters<typeof generate>[2]),
    );
    // The routers choose on the host where the kernels run there; a GPU refuses to be read at once.
    expect([...files].filter(file => !/^(routing|experts)\//.test(file))).toEqual([]);
    tf.tidy(() => tf.scalar(1).dataSync());
    expect(files).toContain('tests/train/reading.test.ts'); // so the others would have been seen
    disposeState(state);
  });

  test('a step of three micro-batches waits once', async () => {
    const state = stateOf(toyModel(settings));
    const reads = vi.spyOn(tf.engine(), 'read');
    await step(state);
    expect(reads).toHaveBeenCalledTimes(1);
    disposeState(state);
  });
});

describe('a device that is lost', () => {
  beforeEach(() => selectBackend('cpu').then(() => undefined));
  const lost = () => vi.spyOn(tf.engine(), 'read').mockRejectedValue(new Error('lost'));

  test('before the weights are changed: a step leaves them as they were', async () => {
    const state = stateOf(toyModel(settings));
    const before = await hostTensors(state.model);
    const reads = lost();
    await expect(step(state)).rejects.toThrow('lost');
    reads.mockRestore();
    expect(await hostTensors(state.model)).toEqual(before);
    disposeState(state);
  });

  test('during an evaluation', async () => {
    const model = toyModel();
    lost();
    const options = { mode: 'free' as const, batch: 2, sequence: 24, padId: EOS, onRouting: () => undefined };
    await expect(documentLosses(model, documents, toyMap.languages, options)).rejects.toThrow('lost');
    disposeModel(model);
  });

  test.each(['normal', 'hidden-mean'] as const)('during growth from a %s router', async init => {
    const spec = toySpec(settings, true);
    const dense = createModel(spec, toyWeights(spec));
    const wanted = toyConfig({ ...settings, router: { init } });
    const read = tf.engine().read.bind(tf.engine());
    let left = Number.POSITIVE_INFINITY;
    const reads = vi
      .spyOn(tf.engine(), 'read')
      .mockImplementation(id => (left-- > 0 ? read(id) : Promise.reject(new Error('lost'))));
    const grow = () => growExperts(dense, wanted, toyMap, documents, createRng('reading'));
    disposeModel((await grow()).model);
    const all = reads.mock.calls.length;
    for (let good = 0; good < all; good += 5) {
      left = good;
      await expect(grow(), `after ${good} reads`).rejects.toThrow('lost');
    }
    disposeModel(dense);
  });
});

test('data that ends between micro-batches: what was queued is freed', async () => {
  await selectBackend('cpu');
  let given = 0;
  const state = stateOf(toyModel(settings), () => {
    if (given++ === 1) throw new Error('no more');
    return batch;
  });
  await expect(step(state)).rejects.toThrow('no more');
  expect(given).toBe(2);
  disposeState(state);
});
