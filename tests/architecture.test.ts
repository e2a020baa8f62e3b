// Imports go one way only (CONTRIBUTING.md), tfjs and d3-node have one door each, and the outside world (chance, clock,
// environment, working folder) enters through the command line alone. Read from the import statements themselves.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const files = ['src', 'routing', 'experts', 'analysis']
  .flatMap(folder => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(name => `${folder}/${name}`))
  .filter(name => name.endsWith('.ts'))
  .sort();
const text = new Map(files.map(file => [file, readFileSync(file, 'utf8')]));

interface Import {
  from: string;
  to: string;
  /** `import type` and `import()` do not run when the file is loaded. */
  kind: 'static' | 'type' | 'dynamic';
}

const statement = /(?:^(?:import|export)(?<type> type)? (?:[\w*{}\s,]+ from )?|(?<dynamic>\bimport\())'(?<to>[^']+)'/gm;
const imports: Import[] = files.flatMap(from =>
  [...text.get(from)!.matchAll(statement)].map(({ groups }) => {
    const to = groups!.to.startsWith('.') ? join(dirname(from), groups!.to) : groups!.to;
    return { from, to, kind: groups!.type ? 'type' : groups!.dynamic ? 'dynamic' : 'static' };
  }),
);

test('the statements were found', () => {
  expect(imports).toContainEqual({ from: 'src/cli.ts', to: 'src/errors.ts', kind: 'static' });
  expect(imports).toContainEqual({ from: 'src/commands/verbs.ts', to: 'src/commands/train.ts', kind: 'dynamic' });
  expect(imports).toContainEqual({ from: 'routing/types.ts', to: 'src/engine/tf.ts', kind: 'type' });
  const missing = imports.filter(({ to }) => /^(src|routing|experts|analysis)\//.test(to) && !text.has(to));
  expect(missing).toEqual([]);
});

/** Who may import what of ours, besides its own room and the leaves. */
const allowed: [importer: RegExp, imported: RegExp][] = [
  [/^src\/engine\//, /^$/],
  [/^routing\//, /^src\/engine\//],
  [/^experts\//, /^(routing|src\/engine)\//],
  [/^analysis\//, /^routing\/trace\.ts$/],
  [/^src\/(commands\/|cli\.ts)/, /./],
  [/^src\//, /^(src|routing|experts)\//],
];
const LEAVES = ['src/errors.ts', 'src/make-folder.ts'];
const room = (file: string): string => file.replace(/^(src\/\w+|\w+)\/.*/, '$1');

test('imports go one way: engine ← routing ← experts ← src; analysis reads the trace schema alone', () => {
  const wrong = imports.filter(({ from, to }) => {
    if (!text.has(to) || LEAVES.includes(to) || room(to) === room(from)) return false;
    const [, may] = allowed.find(([importer]) => importer.test(from))!;
    return !may.test(to) || (to.startsWith('src/commands/') && from !== 'src/cli.ts');
  });
  expect(wrong).toEqual([]);
});

test.each([
  ['tfjs', /^@tensorflow\//, ['src/engine/tf.ts', 'src/engine/webgpu/backend.ts']],
  ['Dawn', /^webgpu$/, ['src/engine/webgpu/device.ts']],
  ['d3-node', /^d3-node$/, ['analysis/figures/svg.ts']],
])('%s has one door', (_, name, doors) => {
  expect([...new Set(imports.filter(({ to }) => name.test(to)).map(({ from }) => from))]).toEqual(doors);
});

test('tfjs is loaded by src/engine/tf.ts; backends are added only when chosen', () => {
  const early = imports.filter(({ to, kind }) => to.startsWith('@tensorflow/') && kind === 'static');
  expect(early.map(({ from }) => from).filter(from => from !== 'src/engine/tf.ts')).toEqual([]);
});

/** Places that may, each with its reason. */
const exceptions = new Map([
  ['src/config/load.ts process.cwd', 'messages name a file as the person typed it'],
  ['src/data/sources/intl.ts new Date', 'a fixed date, to be written in every language'],
]);

test('chance, clock, environment and working folder enter through the command line alone', () => {
  const outside = /Math\.random|Date\.now|new Date|performance\.now|process\.env|process\.cwd/g;
  const found = files
    .filter(file => !/^src\/(commands\/|cli\.ts)/.test(file))
    .flatMap(file => [...text.get(file)!.matchAll(outside)].map(([word]) => `${file} ${word}`));
  expect([...new Set(found)]).toEqual([...exceptions.keys()]);
});

test('no file imports itself by way of others', () => {
  const next = new Map(
    files.map(file => [file, imports.filter(i => i.from === file && i.kind === 'static').map(i => i.to)]),
  );
  const done = new Set<string>();
  const walk = (file: string, path: string[]): string[] => {
    if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')];
    if (done.has(file)) return [];
    const cycles = (next.get(file) ?? []).flatMap(to => walk(to, [...path, file]));
    done.add(file);
    return cycles;
  };
  expect(files.flatMap(file => walk(file, []))).toEqual([]);
});

test('the leaves import nothing of ours but each other', () => {
  expect(imports.filter(({ from, to }) => LEAVES.includes(from) && text.has(to) && !LEAVES.includes(to))).toEqual([]);
});
