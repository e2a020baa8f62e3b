// What `moe train` tells a person: what is about to be trained, and what came of it.
import { join } from 'node:path';
import pc from 'picocolors';
import type { FamilyMap } from '../config/families.ts';
import type { Loaded } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Selection } from '../engine/backend.ts';
import { countParameters } from '../model/count.ts';
import { modelSpec } from '../model/spec.ts';
import type { LoopResult } from '../train/loop.ts';
import { readMetrics } from '../train/metrics.ts';
import { type Prepared, trainingMixture } from '../train/prepare.ts';
import { denseSteps, type RunState } from '../train/state.ts';
import { type Output, table, thousands } from './output.ts';

/** Before the text is read. */
export function announce(out: Output, { config, map }: Loaded, backend: Selection): void {
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
  if (config.init !== null) out.say(`  starts from the weights of ${config.init} and has that model's shape`);
  out.say(`  backend ${backend.name}: ${backend.why}`);
  out.say('  reading the text and making the tokenizer …');
}

/** Before the first step. */
export function introduce(
  out: Output,
  { config, map }: Loaded,
  prepared: Prepared,
  runDir: string,
  state: RunState,
): void {
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

/** After the last step. */
export function report(
  out: Output,
  { last, checkpoint }: LoopResult,
  runDir: string,
  state: RunState,
  map: FamilyMap,
): void {
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
