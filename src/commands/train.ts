// `moe train`: from a configuration to a run folder.
import { existsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import pc from 'picocolors';
import { stringify } from 'yaml';
import type { FamilyMap } from '../config/families.ts';
import { type Loaded, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { BackendName, Selection } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { writeFileAtomically } from '../hub/atomic.ts';
import { countParameters } from '../model/count.ts';
import { modelSpec } from '../model/spec.ts';
import { type Checkpoint, listCheckpoints, loadCheckpoint } from '../train/checkpoint.ts';
import { openEvents } from '../train/events.ts';
import { type LoopResult, trainLoop } from '../train/loop.ts';
import { openMetrics, readMetrics } from '../train/metrics.ts';
import { openModel } from '../train/open.ts';
import { type Prepared, prepare, trainingMixture } from '../train/prepare.ts';
import { createProgress } from '../train/progress.ts';
import { requireSameConfig } from '../train/resume.ts';
import { denseSteps, disposeState, freshState, type RunState, restoredState } from '../train/state.ts';
import { useBackend } from './backend.ts';
import { environment } from './environment.ts';
import { Interrupted, withInterrupt } from './interrupt.ts';
import { createOutput, type Output, table, thousands } from './output.ts';
import { findCheckpoint, freeRunDir, newestWhole } from './runs.ts';

interface Options {
  families?: string;
  preset: string[];
  set: [string, unknown][];
  out?: string;
  init?: string;
  steps?: number;
  seed?: number;
  backend: BackendName;
  resume?: string;
  json?: boolean;
}

export async function train(options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const loaded = loadWanted(options);
  const runDir = runFolder(options, loaded.config);
  const from = options.resume === undefined ? null : resumedCheckpoint(runDir, loaded.config, out);
  if (from && from.step >= loaded.config.train.steps) {
    out.say(`${runDir} is finished: all ${from.step} steps are done; nothing was changed.`);
    out.say(`See where languages route: moe analyze-routing ${runDir}`);
    out.result({ run: runDir, checkpoint: from.directory, steps: from.step, finished: true });
    return;
  }
  const backend = await useBackend(options.backend);
  announce(out, loaded, backend);
  const { prepared, state } = await start(from, loaded);
  const fresh = from === null;
  await writeRunFiles(runDir, loaded.config, backend, prepared, fresh);
  say(out, loaded, prepared, runDir, state);
  const result = await runLoop(state, { ...loaded, prepared, runDir, fresh }, out);
  disposeState(state);
  if (!result.finished) {
    out.result({ run: runDir, checkpoint: result.checkpoint, steps: state.step, finished: false });
    throw new Interrupted(`stopped at step ${state.step} and saved; go on with 'moe train --resume ${runDir}'.`);
  }
  report(out, result, runDir, state, loaded.map);
}

function loadWanted(options: Options): Loaded {
  const overrides: [string, unknown][] = [...options.set];
  if (options.steps !== undefined) overrides.push(['train.steps', options.steps]);
  if (options.init !== undefined) overrides.push(['init', findCheckpoint(options.init).checkpoint]);
  if (options.seed !== undefined) overrides.push(['seed', options.seed]);
  if (options.families !== undefined) return loadConfig(options.families, { presets: options.preset, overrides });
  if (options.resume === undefined)
    throw new UserError(
      `moe train needs --families FILE, for example 'moe train --families configs/50lang.yaml --preset quick'.`,
    );
  const saved = join(options.resume, 'config.yaml');
  if (!existsSync(saved))
    throw new UserError(
      `--resume ${options.resume} is not a run folder (it has no config.yaml); name one such as runs/50lang-quick.`,
    );
  return loadConfig(saved, { presets: options.preset, overrides });
}

function runFolder({ out, resume }: Options, config: Config): string {
  if (resume !== undefined) {
    if (out !== undefined && out !== resume)
      throw new UserError(`--resume goes on in ${resume}; leave --out ${out} away.`);
    return resume;
  }
  if (out !== undefined && existsSync(out))
    throw new UserError(
      `--out ${out} exists already; choose another folder, or go on with that run by --resume ${out}.`,
    );
  return out ?? freeRunDir(config.name);
}

interface Started {
  prepared: Prepared;
  state: RunState;
}

/**
 * The newest whole checkpoint of a run, checked against the configuration; null for a run that was stopped before its first.
 * Says which newer ones are damaged.
 */
function resumedCheckpoint(runDir: string, config: Config, out: Output): Checkpoint | null {
  if (listCheckpoints(runDir).length === 0) return null;
  const latest = newestWhole(runDir);
  for (const sentence of latest.skipped) out.say(pc.yellow(`  ${sentence}`));
  if (latest.skipped.length > 0) out.say(pc.yellow(`  Going on from ${latest.directory} instead.`));
  const checkpoint = loadCheckpoint(latest.directory);
  requireSameConfig(checkpoint.trainerState.config, JSON.parse(JSON.stringify(config)), latest.directory);
  return checkpoint;
}

async function start(from: Checkpoint | null, { config, map }: Loaded): Promise<Started> {
  if (from === null) {
    const tokenizer = config.init === null ? undefined : openModel(config.init).tokenizer;
    const prepared = await prepare(config, map, tokenizer);
    return { prepared, state: freshState(config, map, prepared) };
  }
  const { model, tokenizer } = openModel(from.directory);
  const prepared = await prepare(config, map, tokenizer);
  return { prepared, state: restoredState(config, prepared, from, model) };
}

function announce(out: Output, { config, map }: Loaded, backend: Selection): void {
  const spec = modelSpec(config.model, config.router, map, config.model.vocab_size ?? 1);
  const sparse = spec.layers.flatMap((kind, i) => (kind === 'moe' ? [i] : []));
  out.say(
    pc.bold(
      `${config.name}: ${map.languages.length} languages, ${map.numExperts} experts (${config.families.name}), k ${spec.num_experts_per_tok}`,
    ),
  );
  out.say(
    `  MoE in layers ${sparse.join(', ') || 'none'} of 0–${spec.layers.length - 1}; routing ${config.router.train_mode} in training, ${config.router.inference_mode} at inference`,
  );
  out.say(`  backend ${backend.name}: ${backend.why}`);
  out.say('  reading the text and making the tokenizer …');
}

function say(out: Output, { config, map }: Loaded, prepared: Prepared, runDir: string, state: RunState): void {
  const { documents, tokenizer, zeroText } = prepared;
  const count = (split: 'train' | 'validation'): string =>
    thousands(documents[split].reduce((sum, { ids }) => sum + ids.length, 0));
  sayMixture(out, config, prepared, map);
  out.say(
    `  text: ${count('train')} training tokens, ${count('validation')} held out; vocabulary ${thousands(tokenizer.vocabSize)}`,
  );
  if (zeroText.size > 0)
    out.say(
      `  zero-text languages (no sentence in any source): ${map.languages
        .filter(l => zeroText.has(l.code))
        .map(l => `${l.name} (${l.code})`)
        .join(', ')}`,
    );
  out.say(`  model: ${sizes(config, map, state)}`);
  out.say(`  run folder ${runDir}, ${state.step === 0 ? 'from step 0' : `resumed at step ${state.step}`}`);
}

/** Parameters now, and after the experts are grown. */
function sizes(config: Config, map: FamilyMap, { phase, model: { spec } }: RunState): string {
  const grown = modelSpec(config.model, config.router, map, spec.vocab_size);
  const { total, active } = countParameters(grown);
  const sparse = `${thousands(total)} parameters, ${thousands(active)} active per token`;
  if (phase === 'sparse') return sparse;
  const dense = `dense, ${thousands(countParameters(spec).total)} parameters`;
  return grown.layers.includes('moe') ? `${dense}, for ${denseSteps(config)} steps; then ${sparse}` : dense;
}

/** How often the most repeated language is read, and whether that is more than asked. */
function sayMixture(out: Output, config: Config, prepared: Prepared, map: FamilyMap): void {
  if (config.data.mixing.kind !== 'temperature') return;
  const { epochs_G, withinCap } = trainingMixture(config, prepared);
  const most = epochs_G.indexOf(Math.max(...epochs_G));
  const over = withinCap
    ? ''
    : `; the run is longer than ${config.data.mixing.max_epochs} epochs of all text, so every language is repeated more often`;
  out.say(
    `  mixture: bytes^${config.data.mixing.alpha}; ${map.languages[most].name} is read most often, ${epochs_G[most].toFixed(2)} epochs${over}`,
  );
}

async function writeRunFiles(
  runDir: string,
  config: Config,
  backend: Selection,
  prepared: Prepared,
  fresh: boolean,
): Promise<void> {
  const write = (name: string, text: string): Promise<void> =>
    writeFileAtomically(join(runDir, name), path => writeFileSync(path, text));
  if (fresh)
    await write(
      'config.yaml',
      `# Fully resolved; run it again with: moe train --families ${join(runDir, 'config.yaml')}\n${stringify(config)}`,
    );
  await write('environment.json', `${JSON.stringify(environment(backend, prepared), null, 2)}\n`);
}

interface Where extends Loaded {
  prepared: Prepared;
  runDir: string;
  fresh: boolean;
}

async function runLoop(state: RunState, where: Where, out: Output): Promise<LoopResult> {
  const { runDir, fresh, config } = where;
  // A run stopped before its first checkpoint begins again: nothing it wrote counts.
  const metricsFile = join(runDir, 'metrics.jsonl');
  const resumeStep = fresh ? (existsSync(metricsFile) ? -1 : undefined) : state.step;
  const metrics = openMetrics(metricsFile, resumeStep);
  const events = openEvents({
    directory: join(runDir, 'events'),
    clock: () => Date.now() / 1000,
    host: hostname(),
    resumeStep,
  });
  const progress = createProgress({
    total: config.train.steps,
    from: state.step,
    stream: process.stderr,
    clock: () => performance.now(),
    silent: out.json,
    every: 10,
  });
  try {
    return await withInterrupt(stopAsked => trainLoop(state, { ...where, metrics, events, progress, stopAsked }));
  } finally {
    progress.stop();
    metrics.close();
    events.close();
  }
}

function report(out: Output, { last, checkpoint }: LoopResult, runDir: string, state: RunState, map: FamilyMap): void {
  const first = readMetrics(join(runDir, 'metrics.jsonl')).find(record => record.kind === 'validation');
  const before = (first?.free as { byLanguage: { code: string; loss: number }[] } | undefined)?.byLanguage ?? [];
  const start = new Map(before.map(row => [row.code, row.loss]));
  if (last) {
    const rows = Object.entries(last.free.byFamily).map(([name, of]) => {
      const codes = map.languages.filter(l => l.family === name && start.has(l.code));
      const untrained = codes.reduce((sum, l) => sum + start.get(l.code)!, 0) / codes.length;
      const given = last.given ? [last.given.byFamily[name].languageMean.toFixed(3)] : [];
      return [name, of.languages, untrained.toFixed(3), of.languageMean.toFixed(3), ...given];
    });
    const header = ['family', 'languages', 'untrained', 'trained', ...(last.given ? ['ids given'] : [])];
    out.say(`\nHeld-out loss, nats per token (mean over languages):\n${table(header, rows)}`);
    if (last.gap !== null) out.say(`  gap between free routing and given language ids: ${last.gap.toFixed(4)} nats`);
  }
  out.say(`\nTrained ${state.step} steps, ${thousands(state.tokens)} tokens. Checkpoint: ${checkpoint}`);
  out.say(`See where languages route: moe analyze-routing ${runDir}`);
  out.result({
    run: runDir,
    checkpoint,
    steps: state.step,
    finished: true,
    tokens: state.tokens,
    validation: last && { free: last.free.all, given: last.given?.all ?? null, gap: last.gap },
  });
}
