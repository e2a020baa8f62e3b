// The notebooks as they are committed: whole, run in order, without errors, small. And what run.mjs says when it cannot run.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Notebook, problemsOf, readNotebook, shown } from './notebook.ts';

const folder = join(import.meta.dirname, '../../notebooks');
const NAMES = [
  '01-first-run',
  '02-upcycle',
  '03-routing-of-50-languages',
  '04-dispatch-kernel',
  '05-spread-out-in-the-end',
];
const MOST_BYTES = 150_000;

it('there are five', () => {
  expect(readdirSync(folder).filter(name => name.endsWith('.ipynb'))).toEqual(NAMES.map(name => `${name}.ipynb`));
});

describe.each(NAMES)('%s', name => {
  const path = join(folder, `${name}.ipynb`);
  it('ran from top to bottom, has outputs, and is small', () => {
    const notebook = readNotebook(path);
    expect(problemsOf(notebook)).toEqual([]);
    expect(shown(notebook).length).toBeGreaterThan(500);
    expect(statSync(path).size).toBeLessThan(MOST_BYTES);
  });
});

it('what is wrong with a notebook is found', () => {
  const good: Notebook = {
    nbformat: 4,
    metadata: { kernelspec: { name: 'tslab' } },
    cells: [
      { cell_type: 'markdown', source: 'One.' },
      {
        cell_type: 'code',
        source: ['a;\n', 'b;'],
        execution_count: 1,
        outputs: [{ output_type: 'stream', name: 'stdout' }],
      },
    ],
  };
  expect(problemsOf(good)).toEqual([]);
  const withOutput = (output: object): Notebook => {
    const bad = structuredClone(good);
    bad.cells[1].outputs = [output as never];
    return bad;
  };
  expect(problemsOf(withOutput({ output_type: 'error' }))).toEqual(['code cell 1 (a;\nb;): an error']);
  expect(problemsOf(withOutput({ output_type: 'stream', name: 'stderr', text: 'oh' }))).toHaveLength(1);
  expect(problemsOf(withOutput({ output_type: 'stream', name: 'stdout', text: ['in /root/x'] }))).toEqual([
    'a path of one machine: /root/x',
  ]);
  expect(problemsOf({ ...good, cells: [...good.cells].reverse() })).toEqual(['no words before: a;\nb;']);
  const unrun = { ...good.cells[1], execution_count: null, outputs: [] };
  expect(problemsOf({ ...good, cells: [good.cells[0], unrun] })).toHaveLength(2);
});

describe('node notebooks/run.mjs', () => {
  const run = (words: string[], PATH: string) =>
    spawnSync(process.execPath, [join(folder, 'run.mjs'), ...words], { encoding: 'utf8', env: { PATH } });
  it('says what to install where Jupyter is missing', () => {
    const opening = run([], '');
    expect(opening.status).toBe(1);
    expect(opening.stderr).toBe(
      'Neither JupyterLab nor Jupyter Notebook is installed: pip install jupyterlab, then run this again.\n',
    );
    expect(run(['--execute'], '').stderr).toBe(
      'Jupyter is not installed: on Debian, apt-get install jupyter-nbconvert jupyter-client python3-ipykernel.\n',
    );
  });
  it('says which notebooks there are when it is asked for another', () => {
    expect(run(['--execute', '09'], '').stderr).toMatch(/^There is no notebook 09: 01-first-run.ipynb, .*\.\n$/);
    expect(run(['03'], '').stderr).toBe('Say --execute to run 03 without a browser.\n');
  });
});
