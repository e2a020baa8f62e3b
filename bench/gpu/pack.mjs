// Packs all that a machine with a GPU and no network needs for bench/gpu/run.sh into one file: this repository as it lies here,
// Node, the packages that tests and programs load (Linux on x86-64 alone), and the Vulkan loader.
//   node bench/gpu/pack.mjs moe-gpu.tar.xz          then there: tar -xf moe-gpu.tar.xz && bash moe/bench/gpu/run.sh OUT
// Debian's loader packages are downloaded by apt-get where it works; without them the machine must have its own libvulkan.so.1.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Packages that tests and programs start from, and those that nothing of a GPU run loads. */
const DEVELOPMENT = ['vitest', 'fast-check'];
const LEFT_OUT = ['@resvg/resvg-js', 'd3-node', '@tensorflow/tfjs-node-gpu', 'tfjs-node', 'jsdom', 'core-js', 'lodash'];
/** Files that Node never loads. */
const NOT_LOADED = /\.(map|md|markdown|flow|d\.ts|d\.mts|d\.cts)$|^(tests?|docs?|examples?)\/|_test\.js$/i;
/** Of tfjs's packages one file each is loaded. */
const TFJS_LOADED = /^(package\.json|dist\/tf[\w.-]*\.node\.js)$/;
/** The Vulkan loader and what NVIDIA's driver asks for. */
const DEBIAN = [
  'libvulkan1',
  'libegl1',
  'libglvnd0',
  'libopengl0',
  'libgl1',
  'libglx0',
  'libgles2',
  'libx11-6',
  'libxext6',
  'libxcb1',
  'libxau6',
  'libxdmcp6',
  'libbsd0',
  'libmd0',
];

const out = process.argv[2];
if (!out || out.startsWith('-')) {
  process.stderr.write('pack: give the file to make: node bench/gpu/pack.mjs moe-gpu.tar.xz\n');
  process.exit(2);
}
pack(resolve(out));

function pack(file) {
  const folder = mkdtempSync(join(tmpdir(), 'moe-pack-'));
  try {
    const to = join(folder, 'moe');
    packRepository(to);
    packPackages(join(to, 'node_modules'));
    packNode(join(to, 'carried'));
    packLoader(join(to, 'carried', 'lib'), folder);
    for (const [part, bytes] of sizes(to))
      process.stdout.write(`${(bytes / 2 ** 20).toFixed(1).padStart(8)} MiB  ${part}\n`);
    execFileSync('tar', ['-C', folder, '-cf', file, '--use-compress-program', 'xz -9 -T0', 'moe'], {
      stdio: 'inherit',
    });
    process.stdout.write(`${(statSync(file).size / 2 ** 20).toFixed(1).padStart(8)} MiB  ${file}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The files that git follows or would, as they lie here. */
function packRepository(to) {
  const list = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  for (const path of list.split('\0').filter(path => path && existsSync(join(ROOT, path))))
    copy(join(ROOT, path), join(to, path));
  mkdirSync(join(to, 'carried'), { recursive: true });
  writeFileSync(join(to, 'carried', 'commit'), execFileSync('git', ['describe', '--always', '--dirty'], { cwd: ROOT }));
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

function packPackages(to) {
  const { dependencies } = readJson(join(ROOT, 'package.json'));
  const wanted = new Map();
  const visit = (name, from) => {
    if (LEFT_OUT.includes(name)) return;
    const folder = resolvePackage(name, from);
    if (!folder || wanted.has(folder)) return;
    const own = readJson(join(folder, 'package.json'));
    wanted.set(folder, own);
    for (const below of Object.keys({ ...own.dependencies, ...own.optionalDependencies, ...requiredPeers(own) }))
      visit(below, folder);
  };
  for (const name of [...Object.keys(dependencies), 'webgpu', ...DEVELOPMENT]) visit(name, ROOT);
  for (const folder of wanted.keys()) packPackage(folder, join(to, relative(join(ROOT, 'node_modules'), folder)));
}

function requiredPeers({ peerDependencies = {}, peerDependenciesMeta = {} }) {
  return Object.fromEntries(Object.entries(peerDependencies).filter(([name]) => !peerDependenciesMeta[name]?.optional));
}

/** Where a package is for one that lies in `from`, as Node looks for it; null for what is not installed, such as other systems'. */
function resolvePackage(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (folder === ROOT.replace(/\/$/, '') || folder === dirname(folder)) return null;
  }
}

function packPackage(folder, to) {
  const tfjs = folder.includes('/@tensorflow/');
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const name = relative(folder, path);
    if (!entry.isFile() || name.startsWith('node_modules/')) continue;
    if (tfjs ? !TFJS_LOADED.test(name) : NOT_LOADED.test(name)) continue;
    if (/^dist\/(darwin|win32|linux-arm64)/.test(name)) continue; // webgpu brings the binaries of all systems
    if (path.endsWith('/node_modules/esbuild/bin/esbuild')) continue; // the same as in @esbuild
    copy(path, join(to, name));
  }
}

/** This Node, without its symbols. */
function packNode(to) {
  copy(process.execPath, join(to, 'node'));
  spawnSync('strip', [join(to, 'node')]);
}

function packLoader(to, scratch) {
  const folder = join(scratch, 'debian');
  mkdirSync(folder);
  mkdirSync(to, { recursive: true });
  const { status } = spawnSync('apt-get', ['download', ...DEBIAN], { cwd: folder, stdio: 'ignore' });
  const packages = readdirSync(folder).filter(name => name.endsWith('.deb'));
  for (const name of packages) execFileSync('dpkg', ['-x', name, 'unpacked'], { cwd: folder });
  const libraries = join(folder, 'unpacked', 'usr', 'lib', 'x86_64-linux-gnu');
  if (existsSync(libraries)) cpSync(libraries, to, { recursive: true, verbatimSymlinks: true });
  if (status !== 0 || packages.length === 0)
    process.stdout.write('apt-get gave no libvulkan1: the other machine needs a Vulkan loader of its own.\n');
}

function sizes(folder) {
  const sum = path =>
    statSync(path, { throwIfNoEntry: false })?.isDirectory()
      ? readdirSync(path).reduce((total, name) => total + sum(join(path, name)), 0)
      : (statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  const top = readdirSync(folder).map(name => [name, sum(join(folder, name))]);
  const rest = top
    .filter(([name]) => !['node_modules', 'carried'].includes(name))
    .reduce((total, [, bytes]) => total + bytes, 0);
  const packages = readdirSync(join(folder, 'node_modules')).map(name => [
    `node_modules/${name}`,
    sum(join(folder, 'node_modules', name)),
  ]);
  const large = packages.toSorted((a, b) => b[1] - a[1]).slice(0, 12);
  return [...top.filter(([name]) => ['node_modules', 'carried'].includes(name)), ['the repository', rest], ...large];
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
