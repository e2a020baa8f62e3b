// Everything that a run carries from step to step, how it starts, and how it is saved and taken up again bit for bit.
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import type { BatchStream, CursorState } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { readModelFolder, readTensors } from '../hub/model-folder.ts';
import { toConfigJson } from '../model/config-json.ts';
import { modelSpec } from '../model/spec.ts';
import { createModel, disposeModel, hostTensors, initialWeights, type Model } from '../model/weights.ts';
import { type Checkpoint, saveCheckpoint } from './checkpoint.ts';
import { offsetEmbeddings } from './offset-embeddings.ts';
import { createOptimizer, type Optimizer, optimizerSettings } from './optimizer.ts';
import { openTrainingStream, type Prepared } from './prepare.ts';
import { createStreams, restoreStreams, type StreamStates, type Streams, streamStates } from './rng.ts';
import { learningRate } from './schedule.ts';
import { createWatch, type Watch, type WatchState, watchDefaults } from './watch.ts';

/** `dense`: before the experts are grown. `sparse`: after, or from the start. */
export type Phase = 'dense' | 'sparse';

export interface RunState {
  phase: Phase;
  /** Steps done. */
  step: number;
  /** Tokens learned from so far. */
  tokens: number;
  model: Model;
  optimizer: Optimizer;
  stream: BatchStream;
  watch: Watch;
  rng: Streams;
}

/** The run's part of trainer_state.json. */
interface SavedRun {
  phase: Phase;
  tokens: number;
  rng: StreamStates;
  cursor: CursorState;
  watch: WatchState;
}

/** Steps trained before the experts are grown; 0 when the model is sparse (or dense) throughout. */
export function denseSteps({ train, upcycle, model }: Config): number {
  return model.moe_layers === 'none' ? 0 : Math.round(train.steps * upcycle.at);
}

/** Learning rate of a step. Each phase has its own warm-up and decay, because the experts start with a fresh optimizer. */
export function rateAt(config: Config, step: number): number {
  const { train, model } = config;
  const before = denseSteps(config);
  const dense = step <= before || model.moe_layers === 'none';
  const start = dense ? 0 : before;
  return learningRate(step - start, {
    kind: train.schedule,
    peak: dense ? train.dense_learning_rate : train.learning_rate,
    steps: dense && before > 0 ? before : train.steps - start,
    warmup: { fraction: train.warmup },
    horizon: train.horizon,
    finalRatio: train.final_ratio,
  });
}

export function freshState(config: Config, map: FamilyMap, prepared: Prepared): RunState {
  const rng = createStreams(config.seed);
  const model = config.init === null ? newModel(config, map, prepared, rng) : initialModel(config, map, config.init);
  return {
    phase: model.spec.layers.includes('moe') ? 'sparse' : 'dense',
    step: 0,
    tokens: 0,
    model,
    optimizer: createOptimizer(model.weights, optimizerSettings(config)),
    stream: openTrainingStream(config, prepared),
    watch: newWatch(config, model, 0),
    rng,
  };
}

function newModel(config: Config, map: FamilyMap, prepared: Prepared, rng: Streams): Model {
  const spec = modelSpec(config.model, config.router, map, prepared.tokenizer.vocabSize, denseSteps(config) > 0);
  const normal = (): number => rng.init.gaussian();
  const weights = initialWeights(spec, normal);
  offsetEmbeddings(weights, config.model.embedding_offset, normal);
  return createModel(spec, weights);
}

/** The weights of another checkpoint, dense or sparse, as far as they fit this configuration. */
function initialModel(config: Config, map: FamilyMap, path: string): Model {
  const folder = readModelFolder(path);
  const { layers, vocab_size, decoder, kept_experts } = folder.spec;
  if (kept_experts)
    throw new UserError(`${path} is pruned, and runs train whole models: start from the one that it was pruned from.`);
  const sparse = layers.includes('moe');
  if (sparse && denseSteps(config) > 0)
    throw new UserError(
      `${path} has experts already, but upcycle.at ${config.upcycle.at} plans a dense phase; set upcycle.at to 0.`,
    );
  const spec = modelSpec(config.model, config.router, map, vocab_size, !sparse, decoder);
  return createModel(spec, readTensors(folder, { halves: false }), path);
}

export function restoredState(config: Config, prepared: Prepared, checkpoint: Checkpoint, model: Model): RunState {
  const saved = checkpoint.trainerState.run as SavedRun;
  const optimizer = createOptimizer(model.weights, optimizerSettings(config));
  optimizer.importState(checkpoint.optimizer());
  return {
    phase: saved.phase,
    step: checkpoint.step,
    tokens: saved.tokens,
    model,
    optimizer,
    stream: openTrainingStream(config, prepared, saved.cursor),
    watch: newWatch(config, model, saved.phase === 'sparse' ? denseSteps(config) : 0, saved.watch),
    rng: restoreStreams(saved.rng),
  };
}

/** Swaps the dense model for the grown one: fresh optimizer and watch, the data stream goes on. */
export function enterSparse(state: RunState, config: Config, model: Model): void {
  state.optimizer.dispose();
  disposeModel(state.model);
  state.phase = 'sparse';
  state.model = model;
  state.optimizer = createOptimizer(model.weights, optimizerSettings(config));
  state.watch = newWatch(config, model, state.step);
}

/** @param cursor where the data stands, if not where the stream is now */
export async function saveState(
  runDir: string,
  state: RunState,
  config: Config,
  map: FamilyMap,
  prepared: Prepared,
  cursor = state.stream.state(),
): Promise<string> {
  const run: SavedRun = {
    phase: state.phase,
    tokens: state.tokens,
    rng: streamStates(state.rng),
    cursor,
    watch: state.watch.state(),
  };
  return saveCheckpoint(runDir, state.step, {
    config: toConfigJson(state.model.spec, map, prepared.tokenizer.eosId),
    weights: await hostTensors(state.model),
    optimizer: await state.optimizer.exportState(),
    trainerState: { seed: config.seed, config, run },
    tokenizerJson: prepared.tokenizer.toJson(),
    keep: config.train.keep_checkpoints,
  });
}

export function disposeState(state: RunState): void {
  state.optimizer.dispose();
  disposeModel(state.model);
}

/** Ten times the loss of guessing evenly among the vocabulary is beyond any warm-up. */
function newWatch({ train }: Config, { spec }: Model, phaseStart: number, from?: WatchState): Watch {
  const quietUntil = phaseStart + Math.max(watchDefaults.quietUntil, Math.ceil(train.warmup * train.steps));
  const ceiling = 10 * Math.log(spec.vocab_size);
  return createWatch({ ...watchDefaults, factor: train.explosion_factor, quietUntil, ceiling }, from);
}
