// `moe analyze-routing`: plain inference over held-out text, the trace of it, and pictures of who serves whom.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pc from 'picocolors';
import { analyze } from '../../analysis/analyze.ts';
import { toPng } from '../../analysis/figures/png.ts';
import type { CountRow } from '../../routing/trace.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { type Evaluated, sampleByLanguage } from '../eval/evaluate.ts';
import { readMode } from '../eval/modes.ts';
import { recordTrace } from '../eval/trace.ts';
import { writeTrace } from '../trace/write.ts';
import { readMetrics } from '../train/metrics.ts';
import { useBackend } from './backend.ts';
import { documentsOf, openHeldOut, passShape } from './held-out.ts';
import { closeModel, openFor } from './memory.ts';
import { createOutput, thousands } from './output.ts';
import { passProgress } from './pass-progress.ts';

interface Options {
  out?: string;
  tokens: number;
  routing?: string;
  png?: boolean;
  families?: string;
  memory?: number;
  backend: BackendName;
  threads?: number;
  trace?: string;
  json?: boolean;
}

export async function analyzeRouting(run: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const traceDir = options.trace ?? (await trace(run, options, out.say, out.json));
  const { files, metrics, sentences } = await analyze(traceDir, options.out ?? traceDir);
  if (options.png) files.push(...drawPngs(files));
  out.say('');
  for (const sentence of sentences) out.say(sentence);
  out.say(`\n${pc.bold('Pictures')}`);
  for (const file of files.filter(name => /\.(svg|png)$/.test(name))) out.say(`  ${file}`);
  out.say(
    `Numbers:  ${files.find(name => name.endsWith('metrics.json'))}\nReport:   ${files.find(name => name.endsWith('report.html'))}`,
  );
  out.result({ trace: traceDir, files, sentences, metrics });
}

/** Wide enough for print: about 300 dots per inch on a page. */
const PNG_WIDTH = 2000;

/** Each SVG as a PNG beside it. */
function drawPngs(files: string[]): string[] {
  return files
    .filter(name => name.endsWith('.svg'))
    .map(svg => {
      const png = svg.replace(/svg$/, 'png');
      writeFileSync(png, toPng(readFileSync(svg, 'utf8'), PNG_WIDTH));
      return png;
    });
}

/** @returns the folder that the trace was written to */
async function trace(
  run: string | undefined,
  options: Options,
  say: (line: string) => void,
  silent: boolean,
): Promise<string> {
  await useBackend(options.backend, options);
  const held = await openHeldOut<Evaluated>(run, openFor(options, say), options.families);
  const sparse = held.model.spec.layers.includes('moe');
  if (!sparse)
    throw new UserError(
      `${held.checkpoint} is a dense model without a router; train on past its dense phase, or upcycle it with 'moe upcycle'.`,
    );
  const mode = readMode(options.routing, held.model.spec.router);
  const documents = sampleByLanguage(documentsOf(held, 'test'), options.tokens);
  say(
    `${held.name}, step ${held.step}: ${mode} routing over ${documents.length} held-out documents, ${thousands(documents.reduce((sum, d) => sum + d.ids.length, 0))} tokens.`,
  );
  const progress = passProgress(silent, held.model.spec.num_hidden_layers);
  const recorded = await recordTrace(
    {
      model: held.model,
      map: held.map,
      documents,
      mode,
      run: held.name,
      modelName: held.config.name,
      step: held.step,
      trainingBytes: held.prepared.trainingBytes.map((bytes, i) =>
        held.prepared.zeroText.has(held.map.languages[i].code) ? 0 : bytes,
      ),
      history: held.run === null ? [] : history(held.run),
    },
    { ...passShape(held), onBatch: progress.update },
  );
  progress.stop();
  closeModel(held.model);
  const dir = options.out ?? join(held.run ?? held.checkpoint, 'routing');
  writeTrace(dir, recorded);
  return dir;
}

/** Counts recorded while training: metrics.jsonl lines of kind routing. */
function history(run: string): CountRow[] {
  const file = join(run, 'metrics.jsonl');
  if (!existsSync(file)) return [];
  return readMetrics(file).flatMap(({ step, kind, rows }) => {
    if (kind !== 'routing') return [];
    return (rows as number[][]).map(([layer, language, expert, count, gate]) => ({
      step,
      layer,
      language,
      expert,
      count,
      gate,
    }));
  });
}
