// `moe bench train|moe|infer|gemm`: how long this machine takes for fixed pieces of work, with all that the time depends on.
// bench/torch_baseline.py prints the same for PyTorch; bench/compare.mjs runs both in turn.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, platform } from 'node:os';
import { timeProducts } from '../bench/gemm.ts';
import { timeInference } from '../bench/infer.ts';
import { layerTensors, timeLayer } from '../bench/layer.ts';
import type { WeightType } from '../bench/random.ts';
import { type SavedTensor, saveTensors } from '../bench/saved.ts';
import { benchConfig, INFERENCE, layerShape, parameterCount, type Shape, sizeOf, TRAINING } from '../bench/shapes.ts';
import type { Repeats, Timing } from '../bench/timing.ts';
import { LEARNING_RATE, timeTraining } from '../bench/train.ts';
import type { BackendName, Selection } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { useBackend } from './backend.ts';
import { createOutput, type Output, table, thousands } from './output.ts';

/** Options of every kind of work. */
export interface Common {
  warmup: number;
  seed: number;
  backend: BackendName;
  threads?: number;
  precision?: 'f32' | 'f16';
  json?: boolean;
}
type Save = ((tensors: SavedTensor[]) => Promise<void>) | undefined;

/** What a piece of work answers; everything else is about the machine. */
interface Measured {
  shape: object;
  parameters?: number;
  timings: Timing[];
  /** Numbers that another program must reach too. */
  values?: number[];
}

export async function benchTrain(options: Common & { model: string; steps: number; save?: string }): Promise<void> {
  const { model, steps, seed, save } = options;
  const shape = shapeOf(TRAINING, model);
  const { beta1, beta2, epsilon, weight_decay, clip } = benchConfig(shape).train;
  await measure(`train ${model}`, options, steps, async repeats => ({
    shape: { ...shape, learningRate: LEARNING_RATE, beta1, beta2, epsilon, weightDecay: weight_decay, clip },
    parameters: parameterCount(shape),
    ...oneTiming(await timeTraining('training step', shape, seed, repeats, saver(save))),
  }));
}

export async function benchMoe(options: Common & { repeats: number; tokens: number; save?: string }): Promise<void> {
  const shape = layerShape(options.tokens);
  await measure('moe', options, options.repeats, async repeats => ({
    shape,
    parameters: layerTensors(shape).reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0),
    ...oneTiming(await timeLayer(shape, options.seed, repeats, saver(options.save))),
  }));
}

export async function benchInfer(
  options: Common & {
    model: string;
    repeats: number;
    tokens: number;
    layers?: number;
    weights: WeightType;
    save?: string;
  },
): Promise<void> {
  const { model, layers, tokens, weights, seed, save } = options;
  const known = shapeOf(INFERENCE, model);
  const shape = { ...known, layers: layers ?? known.layers, sequence: tokens };
  await measure(`infer ${model}`, options, options.repeats, async repeats => ({
    shape: { ...shape, weights },
    parameters: parameterCount(shape),
    ...oneTiming(await timeInference('forward pass', shape, seed, repeats, weights, saver(save))),
  }));
}

export async function benchGemm(options: Common & { repeats: number; sizes: number[] }): Promise<void> {
  const { sizes, seed } = options;
  await measure('gemm', options, options.repeats, async repeats => {
    const timings: Timing[] = [];
    for (const n of sizes) timings.push(...(await timeProducts(n, seed, repeats)));
    return { shape: { sizes }, timings };
  });
}

function shapeOf(models: Record<string, Shape>, name: string): Shape {
  if (Object.hasOwn(models, name)) return models[name];
  throw new UserError(`--model ${name} is not known; use ${Object.keys(models).join(', ')}.`);
}

const oneTiming = ({ timing, values }: { timing: Timing; values: number[] }) => ({ timings: [timing], values });

const saver = (path?: string): Save => (path === undefined ? undefined : tensors => saveTensors(path, tensors));

async function measure(
  work: string,
  options: Common,
  repeats: number,
  run: (repeats: Repeats) => Promise<Measured>,
): Promise<void> {
  await measured(work, options, repeats, run, (out, result) => reportTimings(out, work, result));
}

/** Runs `run` on the backend asked for, and tells people and machines of it and of all that its times depend on. */
export async function measured<M extends { shape: object }>(
  work: string,
  options: Common,
  repeats: number,
  run: (repeats: Repeats, backend: string) => Promise<M>,
  report: (out: Output, result: M) => void,
): Promise<void> {
  const out = createOutput(options.json ?? false);
  const threads = options.threads ?? availableParallelism();
  const backend = await useBackend(options.backend, { threads, precision: options.precision });
  const { warmup, seed } = options;
  const answer = await run({ repeats, warmup, clock: () => performance.now() }, backend.name);
  const used = process.resourceUsage();
  const result = {
    work,
    versions: versions(),
    machine: `${platform()} ${arch()}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}`,
    backend: { name: backend.name, why: backend.why },
    threads: backend.name === 'cpu' ? 1 : threads,
    seed,
    warmup,
    ...answer,
    peakBytes: used.maxRSS * 1024,
    processorSeconds: (used.userCPUTime + used.systemCPUTime) / 1e6,
  };
  reportMachine(out, result, backend);
  report(out, answer);
  out.say(`  peak memory ${thousands(result.peakBytes / 2 ** 20)} MiB`);
  out.result(result);
}

function reportMachine(
  out: Output,
  result: { work: string; shape: object; parameters?: number; versions: object; machine: string; threads: number },
  { name, why }: Selection,
): void {
  const { work, shape, parameters, threads } = result;
  const words = (of: object): string =>
    Object.entries(of)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ');
  out.say(`moe bench ${work}: ${words(shape)}${parameters ? `, ${thousands(parameters)} parameters` : ''}`);
  out.say(`${words(result.versions)}; ${result.machine}; backend ${name}, ${threads} threads asked for. ${why}\n`);
}

function reportTimings(out: Output, work: string, { timings, values }: Measured): void {
  const withTokens = timings.some(timing => timing.tokensPerSecond !== undefined);
  const rows = timings.map(timing => [
    timing.name,
    timing.ms.length,
    ...[timing.median, timing.min, timing.max].map(ms => ms.toFixed(2)),
    timing.gflopPerSecond.toFixed(1),
    ...(withTokens ? [thousands(timing.tokensPerSecond ?? 0)] : []),
  ]);
  const header = ['', 'runs', 'median ms', 'min', 'max', 'GFLOP/s', ...(withTokens ? ['tokens/s'] : [])];
  out.say(table(header, rows));
  if (timings.length === 1) out.say(`\n  each, ms: ${timings[0].ms.map(ms => ms.toFixed(1)).join(' ')}`);
  const what = work.startsWith('train') ? 'loss of each step' : 'check values';
  if (values) out.say(`  ${what}: ${values.map(v => v.toPrecision(6)).join(' ')}`);
}

function versions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const own = import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json';
  const read = (path: string | URL): string => (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
  return {
    node: process.version,
    'language-family-moe': read(new URL(own, import.meta.url)),
    tfjs: read(require.resolve('@tensorflow/tfjs/package.json')),
  };
}
