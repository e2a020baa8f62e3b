// `moe`: the verbs, and what the shell sees: 0 done, 1 failed, 2 wrong input (one sentence), 130 after Ctrl-C.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { Interrupted } from './commands/interrupt.ts';
import { addVerbs } from './commands/verbs.ts';
import { UserError } from './errors.ts';

const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };

const program = addVerbs(
  new Command('moe')
    .description('Train, upcycle and explain mixture-of-language-family-experts language models.')
    .version(version, '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      '\nStart here:\n  moe train --families configs/50lang.yaml --preset quick\n  moe analyze-routing',
    ),
);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    process.stderr.write(`moe: ${error.message}\n`);
    return 2;
  }
  if (error instanceof Interrupted) {
    process.stderr.write(`moe: ${error.message}\n`);
    return 130;
  }
  process.stderr.write(
    `moe: this is a fault of the program, please report it.\n${(error as Error)?.stack ?? String(error)}\n`,
  );
  return 1;
}

/** package.json stands beside src/ in a checkout and beside dist/ in a package. */
function packageFile(): URL {
  const fromSources = new URL('../package.json', import.meta.url);
  return import.meta.url.endsWith('.ts') ? fromSources : new URL('../../package.json', import.meta.url);
}
