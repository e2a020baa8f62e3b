// `moe data`: what text there is to train on, and whether it is what it says it is.
import pc from 'picocolors';
import { loadConfig } from '../config/load.ts';
import { type CheckRow, checkCorpus } from '../data/check.ts';
import { CONFUSION_SETS } from '../data/identify.ts';
import { corpusStats, statsTable } from '../data/stats.ts';
import { prepare } from '../train/prepare.ts';
import { createOutput, table } from './output.ts';

interface Options {
  families: string;
  preset: string[];
  set: [string, unknown][];
  json?: boolean;
}

async function load(options: Options) {
  const { config, map } = loadConfig(options.families, { presets: options.preset, overrides: options.set });
  return { map, prepared: await prepare(config, map) };
}

export async function stats(options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const { map, prepared } = await load(options);
  const rows = corpusStats(prepared.corpus.documents, map.languages, prepared.tokenizer);
  const [header, ...body] = statsTable(rows);
  out.say(table(header, body, ''));
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  out.say(
    `\n${rows.length} languages, ${(bytes / 1e6).toFixed(2)} MB. Sources and splits in kB; medical: share of bytes.`,
  );
  out.say('tax: tokens for what English says in one token, over the items that both have of the most shared source.');
  out.result({ languages: rows, manifest: prepared.corpus.manifest });
}

export async function check(options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const { map, prepared } = await load(options);
  const rows = await checkCorpus(prepared.corpus.documents, map.languages);
  const told = rows.filter(row => row.result !== 'pass');
  const colour = { fail: pc.red, warning: pc.yellow, unknown: pc.dim, pass: String };
  for (const { language, check, result, reason } of told)
    out.say(`${colour[result](result.padEnd(7))} ${language.padEnd(4)} ${check.padEnd(8)} ${reason}`);
  const count = (result: CheckRow['result']): number => rows.filter(row => row.result === result).length;
  out.say(
    `\n${rows.length} checks: ${count('pass')} passed, ${count('warning')} warnings, ${count('unknown')} not judged, ${count('fail')} failed.`,
  );
  out.say(`Language identity accepts a language's close kin: ${CONFUSION_SETS.map(set => set.join(' ')).join(' · ')}.`);
  out.result(rows);
  if (count('fail') > 0) process.exitCode = 1;
}
