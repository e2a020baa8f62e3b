// Every notebook runs headless in a copy of the repository without any run of before, and shows its key numbers.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemsOf, readNotebook, shown } from './notebook.ts';

const root = join(import.meta.dirname, '../..');
/** Empty where Jupyter and tslab are here, else what is missing. */
const missing = start(root, ['--check']).stderr.trim();

/** What each must print, whatever the machine. */
const KEY_NUMBERS: Record<string, RegExp[]> = {
  '01-first-run': [/160 steps, 157,046 tokens/, /mean of 50 languages: 6\.\d\d nats per token \(chance is 8\.32\)/],
  '02-upcycle': [
    /step 0 against the dense model: largest relative deviation \d\.\de-[789]/,
    /renormalised gates: step 0 is 1\.000 ×/,
    /mixture minus dense, both trained on: -?0\.\d{3} nats/,
    /gap: +-?0\.\d{4}/,
  ],
  '03-routing-of-50-languages': [
    /Cannot tell whether routing spreads out by language in the end: only the end of the model routes/,
    /largest difference (0\.0e\+0|\d\.\de-1\d); the three parts add up to 1\.945910 = log 7/,
    /layer 5: \d+ % of tokens use their own family's expert \(chance 29 %\)/,
    /data:image\/svg\+xml/,
  ],
  '04-dispatch-kernel': [
    /our rows = planDispatch = filtered: true/,
    /All agree within 1e-6/,
    /shuffled in, shuffled out, to the bit: true/,
    /one-hot products take [\d.e+]+ times as long/,
  ],
  '05-spread-out-in-the-end': [
    /LATE SPREAD PLANTED\nLate spread: /,
    /U-SHAPE PLANTED\n(U-shape|Late spread on top of a U-shape): /,
    /NOTHING PLANTED\nNeither late spread nor a U-shape: /,
    /chance is 8\.3 % for the own expert/,
  ],
};

function start(where: string, words: string[]) {
  return spawnSync(process.execPath, [join(where, 'notebooks/run.mjs'), ...words], { encoding: 'utf8' });
}

describe.runIf(missing === '')('in a clean copy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'notebooks-'));
  const out = join(folder, 'executed');
  beforeAll(() => {
    for (const name of readdirSync(root)) {
      if (['node_modules', 'runs', 'dist', 'coverage', '.git'].includes(name)) continue;
      cpSync(join(root, name), join(folder, name), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(Object.entries(KEY_NUMBERS))('%s', (name, numbers) => {
    const { status, stderr } = start(folder, ['--execute', name, '--out', out]);
    expect(status, stderr).toBe(0);
    const notebook = readNotebook(join(out, `${name}.ipynb`));
    expect(problemsOf(notebook)).toEqual([]);
    for (const number of numbers) expect(shown(notebook)).toMatch(number);
  });
});

if (missing !== '') it('notebooks cannot be run here', () => expect(missing).toMatch(/install/));
