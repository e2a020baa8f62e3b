// Everything that wants a real GPU, in one command and without a network: what is here, the tests of the WGSL kernels, dispatch
// beside PyTorch and Triton on the same card in turn, and 20 training steps beside the C kernels. Leaves JSON and a table in OUT.
//   bash bench/gpu/run.sh OUT                    all of it
//   bash bench/gpu/run.sh OUT --only dispatch    a part; results of other parts in OUT stay and go into the table
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, findPython, Refusal, vulkanEnvironment } from './machine.mjs';
import { read, runDispatch, runTests, runTraining, say, write } from './parts.mjs';
import { tableOf } from './table.mjs';

const PARTS = ['tests', 'dispatch', 'training'];

const DEFAULTS = {
  only: PARTS.join(','),
  rounds: '3',
  tokens: '8192,32768',
  experts: '8',
  choices: '2',
  width: '896,2048',
  load: 'balanced,zipf',
  repeats: '10',
  memory: '32',
  steps: '20',
};
const SMALL = { rounds: '1', tokens: '64', width: '16', load: 'zipf', repeats: '2', steps: '3' };
const STRING = { type: 'string' };
const OPTIONS = {
  ...Object.fromEntries(Object.keys(DEFAULTS).map(name => [name, STRING])),
  python: STRING,
  small: { type: 'boolean' },
  help: { type: 'boolean' },
};

const HELP = `bash bench/gpu/run.sh OUT [options]
  OUT               folder of the results; made if it is not there
  --only LIST       parts: ${PARTS.join(', ')} (default: all)
  --rounds N        of dispatch, ours and PyTorch's in turn (default 3)
  --tokens, --experts, --choices, --width, --load, --repeats
                    as of moe bench dispatch (default 8192,32768; 8; 2; 896,2048; balanced,zipf; 10)
  --memory GIB      that tensors may take (default 32)
  --steps N         of training (default 20)
  --python PATH     a Python that has torch (default: the first of python3, python that has it)
  --small           sizes for a try without a GPU
Environment: NODE, a Node to run with; VULKAN_FOLDER, a folder that holds libvulkan.so.1 somewhere below it (a Debian package
libvulkan1 unpacked by dpkg -x), where the machine has none; VK_DRIVER_FILES, the driver's own JSON, where it is not found.`;

try {
  main();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`run: ${error.message}\n`);
  process.exitCode = 2;
}

function main() {
  const { values, out } = readOptions();
  if (values.help) return void console.log(HELP);
  const wanted = values.only.split(',');
  for (const part of wanted)
    if (!PARTS.includes(part)) throw new Refusal(`--only ${part} is not known; use ${PARTS.join(', ')}.`);
  mkdirSync(out, { recursive: true });
  const environment = vulkanEnvironment(out);
  const python = findPython(values.python);
  const machine = describeMachine(environment, python);
  write(out, 'machine', machine);
  say(machine.sentences.join('\n'));
  if (!machine.webgpu.works) throw new Refusal(`WebGPU does not run here: ${machine.webgpu.why}`);
  const context = { out, values, environment, python: machine.torch ? python : null };
  if (wanted.includes('tests')) runTests(context);
  if (wanted.includes('dispatch')) runDispatch(context);
  if (wanted.includes('training')) runTraining(context);
  const parts = Object.fromEntries(['machine', ...PARTS].map(name => [name, read(out, name)]));
  const table = tableOf(parts);
  writeFileSync(join(out, 'table.md'), table);
  say(`\n${table}`);
}

function readOptions() {
  let parsed;
  try {
    parsed = parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Refusal(`${error.message.replace(/\.$/, '')}; see --help.`);
  }
  const { values, positionals } = parsed;
  if (!values.help && positionals.length !== 1) throw new Refusal('give one folder for the results; see --help.');
  const defaults = { ...DEFAULTS, ...(values.small ? SMALL : {}) };
  return { values: { ...defaults, ...values }, out: resolve(positionals[0] ?? '.') };
}
