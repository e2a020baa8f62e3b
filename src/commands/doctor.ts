// `moe doctor`: which backend runs here, why the better ones do not, and what text is installed.
import { availableParallelism, totalmem } from 'node:os';
import pc from 'picocolors';
import { SOURCE_NAMES, sourceVersion } from '../data/corpus.ts';
import { useBackend } from './backend.ts';
import { createOutput } from './output.ts';

export async function doctor(options: { json?: boolean }): Promise<void> {
  const out = createOutput(options.json ?? false);
  const { name, why, candidates } = await useBackend('auto', { tryAll: true });
  out.say(
    `Node ${process.version}, ${availableParallelism()} processors, ${(totalmem() / 2 ** 30).toFixed(0)} GiB of memory.`,
  );
  out.say(`\nBackend: ${pc.bold(name)}. ${why}`);
  for (const candidate of candidates)
    out.say(
      `  ${candidate.works ? pc.green('works   ') : pc.dim('does not')} ${candidate.name.padEnd(11)} ${candidate.why}`,
    );
  const text = SOURCE_NAMES.map(source => ({ source, version: sourceVersion(source) }));
  out.say(`\nText: ${text.map(({ source, version }) => `${source} ${version}`).join(', ')}`);
  out.result({ node: process.version, backend: name, why, candidates, text });
}
