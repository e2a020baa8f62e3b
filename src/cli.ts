// `moe`: the verbs, and what the shell sees: 0 done, 1 failed, 2 wrong input (one sentence), 130 after Ctrl-C.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { Interrupted } from './commands/interrupt.ts';
import { VERBS } from './commands/verbs.ts';
import { UserError } from './errors.ts';

const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };

const program = new Command('moe')
  .description('Train, upcycle and explain mixture-of-language-family-experts language models.')
  .version(version, '-V, --version')
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(oneSentence(text)) })
  .addHelpText(
    'after',
    '\nStart here:\n  moe train --families configs/50lang.yaml --preset quick\n  moe analyze-routing',
  );
for (const verb of VERBS) adopt(program, verb());

// A reader that went away, as in `moe data stats | head`, ends the words and not the work.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

/** What the system refuses that the user can mend. */
const MENDS: Record<string, string> = {
  ENOSPC: 'the disk is full; free space, then run the command again, or go on with moe train --resume',
  EDQUOT: 'the disk quota is used up; free space, then run the command again, or go on with moe train --resume',
  EACCES: 'permission is denied; choose another folder or change its permissions',
  EPERM: 'the system does not permit it; choose another folder',
  EROFS: 'the disk is read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file, not a folder; choose another path',
  EISDIR: 'it is a folder, not a file; name a file',
  EEXIST: 'it exists already; choose another path',
  ENAMETOOLONG: 'the name is too long; choose a shorter one',
};

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
  const mend = MENDS[(error as NodeJS.ErrnoException | null)?.code ?? ''];
  if (mend) {
    const { code, path } = error as NodeJS.ErrnoException;
    process.stderr.write(`moe: ${path ? `cannot use ${path}` : 'cannot write'} (${code}): ${mend}.\n`);
    return 2;
  }
  process.stderr.write(
    `moe: this is a fault of the program, please report it.\n${(error as Error)?.stack ?? String(error)}\n`,
  );
  return 1;
}

/** Adds a verb; it and the verbs below it then answer wrong options as the program does. */
function adopt(parent: Command, verb: Command): void {
  if (!parent.commands.includes(verb)) parent.addCommand(verb);
  verb.copyInheritedSettings(parent);
  for (const below of verb.commands) adopt(verb, below);
}

/** Commander's "error: unknown option '--stpes'\n(Did you mean --steps?)" as one sentence of ours. */
function oneSentence(text: string): string {
  const [fault, guess] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const joined = fault.replace(/\.$/, '').replace(/\. (\w)/g, (_, letter) => `: ${letter.toLowerCase()}`);
  const mend = guess === undefined ? 'see moe --help.' : guess.replace(/^\(Did (.*)\)$/, 'did $1');
  return `moe: ${joined}; ${mend}\n`;
}

/** package.json stands beside src/ in a checkout and beside dist/ in a package. */
function packageFile(): URL {
  const fromSources = new URL('../package.json', import.meta.url);
  return import.meta.url.endsWith('.ts') ? fromSources : new URL('../../package.json', import.meta.url);
}
