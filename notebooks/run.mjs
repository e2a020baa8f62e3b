// Opens the notebooks for a person, or runs them headless:
//   node notebooks/run.mjs                                     Jupyter, in the browser
//   node notebooks/run.mjs --execute [name …] [--out DIR]      every cell in order; outputs into the notebook, or a copy in DIR
//   node notebooks/run.mjs --check                             says in one sentence what is missing, or nothing
// The TypeScript kernel, tslab, brings a compiler that would take the place of the repository's own, so it lives in a cache
// folder. Jupyter is the machine's (Debian: jupyter-nbconvert, jupyter-client, python3-ipykernel).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const VERSION = '1.0.22';
/** Of one cell, seconds. */
const PATIENCE = 1200;

/** Ends the program with one sentence. */
function stop(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

/** Path of a program, or undefined. Version managers put scripts that fail in the way, so it must answer. */
function program(name) {
  const found = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, name));
  return found.find(path => existsSync(path) && spawnSync(path, ['--version'], { stdio: 'ignore' }).status === 0);
}

/** Installs tslab where it is not there yet, and returns the environment in which Jupyter finds its kernel. */
function withKernel({ quiet = false } = {}) {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'language-family-moe');
  const folder = join(cache, `tslab-${VERSION}`);
  if (!existsSync(join(folder, 'node_modules/tslab/bin/tslab'))) install(cache, folder, quiet);
  const prefix = join(folder, 'jupyter');
  writeKernel(join(prefix, 'kernels/tslab'), join(folder, 'node_modules/tslab/bin/tslab'));
  const path = [prefix, process.env.JUPYTER_PATH].filter(Boolean).join(delimiter);
  return { ...process.env, JUPYTER_PATH: path };
}

/** Beside its place first, so that an interrupted installation is never taken for a whole one. */
function install(cache, folder, quiet) {
  const making = join(cache, `tslab-${process.pid}`);
  if (!quiet) process.stderr.write(`Installing tslab ${VERSION} into ${folder} …\n`);
  mkdirSync(making, { recursive: true });
  writeFileSync(join(making, 'package.json'), '{"private":true}\n');
  const words = ['install', '--prefix', making, '--no-audit', '--no-fund', '--loglevel', 'error', `tslab@${VERSION}`];
  const { status, stderr, error } = spawnSync('npm', words, { encoding: 'utf8', cwd: making });
  if (status !== 0) {
    rmSync(making, { recursive: true, force: true });
    const why = error?.message ?? stderr.trim().split('\n')[0];
    stop(`tslab ${VERSION}, the notebooks' kernel, could not be installed from the npm registry: ${why}`);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(making, folder);
}

/** Tells Jupyter how to start the kernel: with this Node, whatever another shell would find. */
function writeKernel(folder, tslab) {
  mkdirSync(folder, { recursive: true });
  const argv = [process.execPath, tslab, 'kernel', '--config-path', '{connection_file}'];
  writeFileSync(
    join(folder, 'kernel.json'),
    JSON.stringify({ argv, display_name: 'TypeScript', language: 'typescript' }),
  );
}

/** The notebooks meant by `names`: '04', '04-dispatch-kernel' or with .ipynb; all when there are none. */
function chosen(names) {
  const all = readdirSync(HERE).filter(file => file.endsWith('.ipynb'));
  return names.length === 0
    ? all
    : names.map(
        name => all.find(file => file.startsWith(name)) ?? stop(`There is no notebook ${name}: ${all.join(', ')}.`),
      );
}

const converter = () =>
  program('jupyter-nbconvert') ??
  stop('Jupyter is not installed: on Debian, apt-get install jupyter-nbconvert jupyter-client python3-ipykernel.');

function execute(names, out) {
  const notebooks = chosen(names);
  const nbconvert = converter();
  const env = withKernel();
  mkdirSync(out, { recursive: true });
  for (const notebook of notebooks) {
    const start = Date.now();
    const words = ['--to', 'notebook', '--execute', notebook, '--output', notebook, '--output-dir', out];
    const settings = [`--ExecutePreprocessor.timeout=${PATIENCE}`, '--ExecutePreprocessor.record_timing=False'];
    const all = [...words, ...settings, '--allow-errors']; // what a cell says of its error stands in the outputs
    const { status, stderr } = spawnSync(nbconvert, all, { cwd: HERE, env, encoding: 'utf8' });
    if (status !== 0) stop(`${notebook} could not be run:\n${stderr.trim().split('\n').slice(-30).join('\n')}`);
    tidy(join(out, notebook));
    process.stderr.write(`${notebook}: ${Math.round((Date.now() - start) / 1000)} s\n`);
  }
}

/** Leaves out what changes without meaning, such as the version of the kernel, and numbers the cells, all of which have run:
 *  tslab does not. */
function tidy(path) {
  const notebook = JSON.parse(readFileSync(path, 'utf8'));
  const complaint = notebook.cells.flatMap(cell => cell.outputs ?? []).find(({ name }) => name === 'stderr');
  if (complaint) stop(`${path} stopped with an error:\n${[complaint.text].flat().join('').trim()}`);
  notebook.cells
    .filter(cell => cell.cell_type === 'code')
    .forEach((cell, i) => {
      cell.execution_count = i + 1;
    });
  notebook.metadata = { kernelspec: notebook.metadata.kernelspec, language_info: { name: 'typescript' } };
  writeFileSync(path, `${JSON.stringify(notebook, null, 1)}\n`);
}

function open() {
  const jupyter = program('jupyter-lab') ?? program('jupyter-notebook');
  if (!jupyter)
    stop('Neither JupyterLab nor Jupyter Notebook is installed: pip install jupyterlab, then run this again.');
  const { status, error } = spawnSync(jupyter, [HERE], { env: withKernel(), stdio: 'inherit' });
  if (error) stop(`${jupyter} did not start: ${error.message}`);
  process.exit(status ?? 0);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    execute: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
if (values.check) {
  converter();
  withKernel({ quiet: true });
} else if (values.execute) execute(positionals, resolve(values.out ?? HERE));
else if (positionals.length > 0) stop(`Say --execute to run ${positionals.join(' and ')} without a browser.`);
else open();
