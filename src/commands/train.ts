// `moe train`: from a configuration to a run folder.
import { existsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import pc from 'picocolors';
import { stringify } from 'yaml';
import { type Loaded, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { loadTokenizer } from '../data/tokenizer/file.ts';
import type { BackendName, Selection } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { writeFileAtomically } from '../hub/atomic.ts';
import { readModelFolder } from '../hub/model-folder.ts';
import type { ModelSpec } from '../model/spec.ts';
import { type Checkpoint, listCheckpoints, loadCheckpoint } from '../train/checkpoint.ts';
import { openEvents } from '../train/events.ts';
import { type LoopResult, trainLoop } from '../train/loop.ts';
import { openMetrics } from '../train/metrics.ts';
import { openModel } from '../train/open.ts';
import { type Prepared, prepare } from '../train/prepare.ts';
import { createProgress } from '../train/progress.ts';
import { requireSameConfig } from '../train/resume.ts';
import { disposeState, freshState, type RunState, restoredState } from '../train/state.ts';
import { useBackend, useSameBackend } from './backend.ts';
import { environment } from './environment.ts';
import { Interrupted, withInterrupt } from './interrupt.ts';
import { createOutput, type Output } from './output.ts';
import { findCheckpoint, freeRunDir, newestWhole } from './runs.ts';
import { announce, introduce, report } from './train-report.ts';

interface Options {
  families?: string;
  preset: string[];
  set: [string, unknown][];
  out?: string;
  init?: string;
  steps?: number;
  seed?: number;
  backend: BackendName;
  threads?: number;
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
  const backend = await (from ? useSameBackend(runDir, options, out) : useBackend(options.backend, options));
  announce(out, loaded, backend);
  const { prepared, state } = await start(from, loaded);
  const fresh = from === null;
  await writeRunFiles(runDir, loaded.config, backend, prepared, fresh);
  introduce(out, loaded, prepared, runDir, state);
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
  if (options.init !== undefined) overrides.push(['init', resolve(findCheckpoint(options.init).checkpoint)]);
  if (options.seed !== undefined) overrides.push(['seed', options.seed]);
  const modelAt = (init: string): ModelSpec => readModelFolder(init).spec;
  const wanted = { presets: options.preset, overrides };
  if (options.families !== undefined) return loadConfig(options.families, { ...wanted, modelAt });
  if (options.resume === undefined)
    throw new UserError(
      `moe train needs --families FILE, for example 'moe train --families configs/50lang.yaml --preset quick'.`,
    );
  const saved = join(options.resume, 'config.yaml');
  if (!existsSync(saved))
    throw new UserError(
      `--resume ${options.resume} is not a run folder (it has no config.yaml); name one such as runs/50lang-quick.`,
    );
  // A run with a checkpoint of its own no longer needs the one that it began as.
  return loadConfig(saved, listCheckpoints(options.resume).length > 0 ? wanted : { ...wanted, modelAt });
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
    const tokenizer = config.init === null ? undefined : loadTokenizer(join(config.init, 'tokenizer.json'));
    const prepared = await prepare(config, map, tokenizer);
    return { prepared, state: freshState(config, map, prepared) };
  }
  const { model, tokenizer } = openModel(from.directory);
  const prepared = await prepare(config, map, tokenizer);
  return { prepared, state: restoredState(config, prepared, from, model) };
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
