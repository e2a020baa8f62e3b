// `moe eval`: held-out loss of a checkpoint per language and family, with free routing and with language ids given.
import { from } from 'arquero';
import seedrandom from 'seedrandom';
import { forcedGap } from '../../analysis/forced-gap.ts';
import type { RoutingMode } from '../../routing/types.ts';
import type { TokenDocument } from '../data/types.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { aggregateLosses } from '../eval/aggregate.ts';
import {
  type DocumentLoss,
  documentLosses,
  type Evaluated,
  lossesByLanguage,
  sampleByLanguage,
} from '../eval/evaluate.ts';
import { givenMode } from '../eval/modes.ts';
import { useBackend } from './backend.ts';
import { documentsOf, type HeldOut, openHeldOut, passShape } from './held-out.ts';
import { closeModel, openFor } from './memory.ts';
import { createOutput, table, thousands } from './output.ts';
import { passProgress } from './pass-progress.ts';

interface Options {
  split: string;
  tokens: number;
  families?: string;
  memory?: number;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

export async function evaluate(run: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const { split } = options;
  if (split !== 'validation' && split !== 'test')
    throw new UserError(`--split ${split} is not known; use validation or test.`);
  await useBackend(options.backend, options);
  const held = await openHeldOut<Evaluated>(run, openFor(options, out.say), options.families);
  const documents = sampleByLanguage(documentsOf(held, split), options.tokens);
  const eachFree = await losses(held, documents, 'free', out.json);
  const mode = modeWithIds(held);
  const eachGiven = mode === null ? null : await losses(held, documents, mode, out.json);
  closeModel(held.model);
  const bytesOf = ({ id }: TokenDocument): number => held.prepared.bytes.get(id) ?? 0;
  const aggregated = (each: DocumentLoss[]) =>
    aggregateLosses(lossesByLanguage(each, documents, held.map.languages, bytesOf));
  const free = aggregated(eachFree);
  const given = eachGiven && aggregated(eachGiven);
  out.say(
    `${held.name}, step ${held.step}: ${split} text, ${documents.length} documents, ${thousands(free.all.tokens)} tokens\n`,
  );
  const givenOf = new Map(given?.byLanguage.map(row => [row.code, row.loss]));
  const header = ['code', 'family', 'tokens', 'nats/token', 'bits/byte', ...(given ? ['ids given'] : [])];
  const rows = free.byLanguage.map(row => [
    row.code,
    row.family,
    row.tokens,
    row.loss.toFixed(3),
    row.bitsPerByte.toFixed(3),
    ...(given ? [givenOf.get(row.code)!.toFixed(3)] : []),
  ]);
  out.say(table(header, rows, ''));
  const ids = given
    ? `, ${given.all.languageMean.toFixed(4)} with ids given (gap ${(free.all.languageMean - given.all.languageMean).toFixed(4)})`
    : '';
  out.say(
    `\nmean over languages: ${free.all.languageMean.toFixed(4)} nats per token, ${free.all.bitsPerByteMean.toFixed(4)} bits per byte${ids}`,
  );
  const byDocument = documents.map((document, i) => ({
    id: document.id,
    item: document.item,
    language: held.map.languages[document.language].code,
    tokens: eachFree[i].tokens,
    bytes: bytesOf(document),
    free: eachFree[i].nats,
    given: eachGiven?.[i].nats ?? null,
  }));
  const gap = given && gapOf(byDocument);
  if (gap) out.say(gapSentence(gap));
  out.result({ run: held.name, step: held.step, split, free, given, gap, documents: byDocument });
}

type Gap = { group: string; gap: number; low: number | null; high: number | null; interval: string | null };

/** What knowing the language changes, in bits per byte: by language and, last, over all. */
function gapOf(documents: Record<string, unknown>[]): Gap[] {
  const options = { unit: 'bits per byte', random: seedrandom('forced–free gap') } as const;
  return forcedGap(from(documents), options).objects() as Gap[];
}

function gapSentence(gaps: Gap[]): string {
  const { gap, low, high, interval } = gaps[gaps.length - 1];
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
  const range =
    low === null || high === null ? '' : `, 95 % ${signed(low)} to ${signed(high)} (${interval} over texts)`;
  return `being told the language changes the loss by ${signed(gap)} bits per byte${range}`;
}

/** How ids are used when they are given: not at all by a dense model, or where languages have no experts of their own. */
function modeWithIds({ model, map }: HeldOut<Evaluated>): RoutingMode | null {
  const known = map.languages.every(({ expert }) => expert >= 0);
  return known && model.spec.layers.includes('moe') ? givenMode(model.spec.router) : null;
}

async function losses(
  { map, model, ...held }: HeldOut<Evaluated>,
  documents: TokenDocument[],
  mode: RoutingMode,
  silent: boolean,
): Promise<DocumentLoss[]> {
  const progress = passProgress(silent, model.spec.num_hidden_layers);
  const options = { ...passShape(held), mode, onBatch: progress.update };
  const each = await documentLosses(model, documents, map.languages, options);
  progress.stop();
  return each;
}
