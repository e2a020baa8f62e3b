// The command of the reproduction: trains what the plan says, measures every run, collects table and pictures. Each step can be
// run again; without a name all three are.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { UserError } from '../../src/errors.ts';
import { finishedFile, jobsOf, readPlan, selectJobs } from './plan.ts';
import { trainAll } from './train.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function refuse(words: string): void {
  process.stderr.write(`reproduce: ${words}\n`);
  process.exitCode = 2;
}

/** parseArgs, whose complaint is one line instead of a stack. */
const understood: typeof parseArgs = config => {
  try {
    return parseArgs(config);
  } catch (error) {
    refuse(`${(error as Error).message.split('. ')[0]}; give train, measure or collect, --only NAMES, --jobs N.`);
    return process.exit();
  }
};

export async function main(args: string[]): Promise<void> {
  const { values, positionals } = understood({
    args,
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      jobs: { type: 'string', default: '1' },
      threads: { type: 'string', default: '1' },
      traces: { type: 'boolean', default: false },
      out: { type: 'string', default: 'runs/reproduce' },
      plan: { type: 'string', default: here('plan.yaml') },
    },
  });
  const jobs = selectJobs(jobsOf(readPlan(values.plan)), values.only);
  if (jobs.length === 0) return refuse(`--only ${values.only} names no run of the plan; see ${values.plan}.`);
  const root = values.out;
  const steps = positionals.length > 0 ? positionals : ['train', 'measure', 'collect'];
  try {
    if (steps.includes('train'))
      await trainAll(jobs, {
        root,
        processes: Number(values.jobs),
        threads: Number(values.threads),
        program: here('../../bin/moe.mjs'),
        say,
      });
    // Each step brings what it needs only when it runs.
    if (steps.includes('measure')) {
      const { measure } = await import('./measure.ts');
      for (const { id } of jobs)
        if (existsSync(finishedFile(root, id))) await measure(join(root, id), { traces: values.traces, say });
    }
    if (steps.includes('collect')) (await import('./collect.ts')).collect(jobs, root, say);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    process.stderr.write(`reproduce: ${error.message}\n`);
    process.exitCode = 1;
  }
}
