// The training loop, top to bottom: step, grow experts at the boundary, look, record, save; stop on request or trouble.
// Order within a step matters for resume: everything a step writes to metrics comes before its checkpoint, so that a
// checkpoint of step n and the metrics up to step n always belong together.
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import type { TokenDocument } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { sampleByLanguage } from '../eval/evaluate.ts';
import { listCheckpoints } from './checkpoint.ts';
import type { EventWriter } from './events.ts';
import { growExperts } from './grow.ts';
import { type Look, lookAt } from './look.ts';
import type { MetricsFile } from './metrics.ts';
import type { Prepared } from './prepare.ts';
import type { Progress } from './progress.ts';
import { rescue } from './rescue.ts';
import { denseSteps, enterSparse, type RunState, rateAt, saveState } from './state.ts';
import { type StepResult, trainStep } from './step.ts';

export interface LoopContext {
  config: Config;
  map: FamilyMap;
  prepared: Prepared;
  runDir: string;
  metrics: MetricsFile;
  events: EventWriter;
  progress: Progress;
  /** Asked after each step; true saves and ends the loop. */
  stopAsked: () => boolean;
  /** True when the run is new: its untrained self is looked at and saved first. */
  fresh: boolean;
}
export interface LoopResult {
  /** False when stopped by request before the last step. */
  finished: boolean;
  /** Folder of the last checkpoint. */
  checkpoint: string;
  last: Look | null;
}

/** Trains `state` in place until the last step, a request to stop, or trouble. @throws UserError when the loss explodes */
export async function trainLoop(state: RunState, context: LoopContext): Promise<LoopResult> {
  const { config, map, prepared, runDir } = context;
  const { train } = config;
  const sample = sampleByLanguage(prepared.documents.validation, train.evaluate_tokens);
  const expertOfLanguage = Int32Array.from(map.languages, language => language.expert);
  let last: Look | null = null;
  let checkpoint = '';
  const save = async (): Promise<void> => {
    context.metrics.flush();
    context.events.flush();
    checkpoint = await saveState(runDir, state, config, map, prepared);
  };
  if (context.fresh) {
    // An initial dense checkpoint without a dense phase grows its experts before the first step.
    if (state.phase === 'dense' && denseSteps(config) === 0 && config.model.moe_layers !== 'none')
      await grow(state, context, sample);
    last = await look(state, context, sample);
    await save();
  }
  while (state.step < train.steps) {
    const step = state.step + 1;
    const rate = rateAt(config, step);
    const cursor = state.stream.state();
    const result = await trainStep({ ...state, step, learningRate: rate, config, expertOfLanguage }).catch(error =>
      rescue(error, state, { ...context, cursor }),
    );
    if (result.stop) throw new UserError(`${result.stop}; the run's last checkpoint is ${lastCheckpoint(runDir)}.`);
    state.step = step;
    state.tokens += result.tokens;
    reportStep(state, result, rate, context);
    const grown = state.phase === 'dense' && step === denseSteps(config);
    if (grown) await grow(state, context, sample);
    const ended = step === train.steps;
    if (grown || ended || due(step, train.evaluate_every)) last = await look(state, context, sample);
    else if (state.phase === 'sparse' && due(step, train.record_every)) await record(state, context, sample);
    const stopping = context.stopAsked();
    if (grown || ended || stopping || due(step, train.save_every)) await save();
    if (stopping && !ended) return { finished: false, checkpoint, last };
  }
  return { finished: true, checkpoint, last };
}

const lastCheckpoint = (runDir: string): string => listCheckpoints(runDir)[0]?.directory ?? 'missing';

const due = (step: number, every: number): boolean => every > 0 && step % every === 0;

async function grow(state: RunState, { config, map, progress }: LoopContext, sample: TokenDocument[]): Promise<void> {
  const growth = await growExperts(state.model, config, map, sample, state.rng.upcycle);
  enterSparse(state, config, growth.model);
  progress.say(growth.sentence);
}

function reportStep(
  state: RunState,
  result: StepResult,
  rate: number,
  { metrics, events, progress }: LoopContext,
): void {
  const { loss, auxiliary, gradientNorm, tokens, load_E } = result;
  const { step, phase } = state;
  const load = load_E && [...load_E];
  metrics.write({ step, kind: 'train', phase, loss, auxiliary, gradientNorm, learningRate: rate, tokens, load });
  events.scalars(step, { 'train/loss': loss, 'train/gradient_norm': gradientNorm, 'train/learning_rate': rate });
  progress.update({ step, loss, tokens, expertLoad: load });
}

/** Losses by language with and without language ids, and where tokens went. */
async function look(state: RunState, context: LoopContext, sample: TokenDocument[]): Promise<Look> {
  const { config, map, prepared, metrics, events, progress } = context;
  const seen = await lookAt(state.model, sample, config, map, prepared);
  const { step, phase } = state;
  const { free, given, gap } = seen;
  metrics.write({ step, kind: 'validation', phase, free, given, gap });
  recordCounts(state, seen, context);
  events.scalars(step, {
    'validation/loss': free.all.languageMean,
    'validation/bits_per_byte': free.all.bitsPerByteMean,
    ...(given && gap !== null
      ? { 'validation/loss_given_language': given.all.languageMean, 'validation/gap': gap }
      : {}),
    ...Object.fromEntries(
      Object.entries(free.byFamily).map(([name, of]) => [`validation_family/${name}`, of.languageMean]),
    ),
  });
  const withIds = given ? `, with ids ${given.all.languageMean.toFixed(4)} (gap ${gap!.toFixed(4)})` : '';
  progress.say(`step ${step}: held-out loss ${free.all.languageMean.toFixed(4)} nats per token${withIds}.`);
  return seen;
}

async function record(state: RunState, context: LoopContext, sample: TokenDocument[]): Promise<void> {
  const { config, map, prepared } = context;
  recordCounts(state, await lookAt(state.model, sample, config, map, prepared, false), context);
}

/** One row per (layer, language, expert) that occurred: [layer, language, expert, count, gate]. */
function recordCounts({ step, phase }: RunState, { counter }: Look, { metrics }: LoopContext): void {
  if (phase !== 'sparse') return;
  const rows = counter.rows(step).map(row => [row.layer, row.language, row.expert, row.count, row.gate]);
  metrics.write({ step, kind: 'routing', rows });
}
