// What is on this machine for the runs on a GPU, and in one sentence each what is missing and what to carry.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PROGRAM = join(ROOT, 'bin', 'moe.mjs');
const CARRIED = join(ROOT, 'carried');

/** What the person must mend; one sentence. */
export class Refusal extends Error {}
const DRIVER_FOLDERS = [
  '/etc/vulkan/icd.d',
  '/usr/share/vulkan/icd.d',
  '/usr/local/share/vulkan/icd.d',
  '/usr/local/nvidia/share/vulkan/icd.d',
];

/** The environment in which Dawn finds the Vulkan loader and the driver, and what is said about it. */
export function vulkanEnvironment(out) {
  const environment = { ...process.env, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? out };
  const folders = [process.env.VULKAN_FOLDER, CARRIED].filter(folder => folder && existsSync(folder));
  if (!libraryHere('libvulkan.so.1')) {
    const holders = folders.map(folder => holderOf(folder, 'libvulkan.so.1')).filter(Boolean);
    if (holders.length > 0)
      environment.LD_LIBRARY_PATH = [holders[0], process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
  }
  if (!environment.VK_DRIVER_FILES && !environment.VK_ICD_FILENAMES) {
    const usual = DRIVER_FOLDERS.slice(0, 3).some(folder => jsonIn(folder).length > 0);
    const files = DRIVER_FOLDERS.flatMap(jsonIn);
    if (!usual && files.length > 0) environment.VK_DRIVER_FILES = files.join(delimiter);
    if (files.length === 0 && libraryHere('libGLX_nvidia.so.0')) environment.VK_DRIVER_FILES = nvidiaDriverFile(out);
  }
  return environment;
}

const jsonIn = folder =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter(name => name.endsWith('.json'))
        .map(name => join(folder, name))
    : [];

/** NVIDIA's driver without the file that says where it is: containers often leave it out. */
function nvidiaDriverFile(out) {
  const file = join(out, 'nvidia_icd.json');
  const driver = { library_path: 'libGLX_nvidia.so.0', api_version: '1.3.0' };
  writeFileSync(file, JSON.stringify({ file_format_version: '1.0.0', ICD: driver }));
  return file;
}

function libraryHere(name) {
  const { stdout } = spawnSync('ldconfig', ['-p'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` },
  });
  return (
    (stdout ?? '').includes(name) ||
    (process.env.LD_LIBRARY_PATH ?? '').split(':').some(folder => folder && existsSync(join(folder, name)))
  );
}

/** The folder below `folder` that holds a file of this name. */
function holderOf(folder, name) {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(
    path => path.endsWith(`/${name}`) || path === name,
  );
  return found ? dirname(join(folder, found)) : null;
}

export function findPython(asked) {
  const named = asked ? [asked] : ['python3', 'python'];
  return named.find(python => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) ?? null;
}

export function describeMachine(environment, python) {
  const card = nvidiaCard();
  const doctor = spawnSync(process.execPath, [PROGRAM, 'doctor', '--json'], { encoding: 'utf8', env: environment });
  const candidates = doctor.status === 0 ? JSON.parse(doctor.stdout).candidates : [];
  const webgpu = candidates.find(({ name }) => name === 'webgpu') ?? {
    works: false,
    why: doctor.stderr.trim() || 'moe doctor says nothing of it.',
  };
  const native = candidates.find(({ name }) => name === 'native') ?? { works: false, why: 'not known' };
  const torch = python ? torchOf(python) : null;
  const sentences = [
    nodeSentence(),
    card ? `NVIDIA's driver answers: ${card}.` : 'nvidia-smi does not answer here: no NVIDIA driver, or another card.',
    existsSync(join(ROOT, 'node_modules', 'webgpu'))
      ? 'The package webgpu is installed.'
      : 'The package webgpu is missing: carry node_modules/webgpu (dist/linux-x64 is enough, 21 MB), or a pack of bench/gpu/pack.mjs.',
    libraryHere('libvulkan.so.1') || environment.LD_LIBRARY_PATH
      ? 'A Vulkan loader is there.'
      : 'There is no Vulkan loader: carry the Debian package libvulkan1, unpack it (dpkg -x FILE FOLDER), and name the folder as VULKAN_FOLDER.',
    environment.VK_DRIVER_FILES
      ? `Vulkan drivers are read from ${environment.VK_DRIVER_FILES}.`
      : `Vulkan drivers are where the loader looks: ${DRIVER_FOLDERS.flatMap(jsonIn).join(', ') || 'nowhere; name the JSON file of the driver as VK_DRIVER_FILES'}.`,
    webgpu.works ? `WebGPU runs: ${webgpu.why}` : `WebGPU does not run: ${webgpu.why}`,
    native.works
      ? `The C kernels run: ${native.why}`
      : `The C kernels do not run, so training is compared with WebAssembly: ${native.why}`,
    torch
      ? `PyTorch ${torch.torch}, CUDA ${torch.cuda ?? 'absent'}, Triton ${torch.triton ?? 'absent'}.`
      : 'No Python with torch was found, so nothing is compared with PyTorch: name one with --python.',
  ];
  const processor = `${cpus().length} × ${cpus()[0]?.model.trim()}`;
  return {
    card,
    webgpu,
    native,
    torch,
    processor,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    commit: commit(),
    sentences,
  };
}

function nodeSentence() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    throw new Refusal(`this is Node ${process.version}; carry 20.19 or newer, and name it as NODE=PATH.`);
  return `Node ${process.version}.`;
}

function nvidiaCard() {
  const query = ['--query-gpu=name,driver_version,memory.total,clocks.max.mem', '--format=csv,noheader'];
  const { status, stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
  return status === 0 ? stdout.trim().split('\n')[0] : null;
}

function torchOf(python) {
  const program = `import json, torch
try:
  import triton; version = triton.__version__
except ImportError: version = None
print(json.dumps(dict(torch=torch.__version__, cuda=torch.version.cuda if torch.cuda.is_available() else None, triton=version)))`;
  const { status, stdout } = spawnSync(python, ['-c', program], { encoding: 'utf8' });
  return status === 0 ? JSON.parse(stdout) : null;
}

function commit() {
  const carried = join(CARRIED, 'commit');
  if (existsSync(carried)) return readFileSync(carried, 'utf8').trim();
  return spawnSync('git', ['rev-parse', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).stdout?.trim() || 'not known';
}
