// What the notebooks share: the program as a function, the repository's modules, files of a run, and pictures and tables on
// the page. tslab compiles this file and the cells with an older TypeScript to CommonJS, so nothing of the repository can be
// imported here; `library` loads it.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { display } from 'tslab';

// biome-ignore lint/suspicious/noExplicitAny: what a command or a module gives is known to the cell that asks
type Anything = any;

const ROOT = resolve(__dirname, '..');

/** Runs `moe …` at the root of the repository and returns the JSON value that it prints. Throws what it says when it fails. */
export function moe(...words: (string | number)[]): Promise<Anything> {
  const command = [join(ROOT, 'bin/moe.mjs'), ...words.map(String), '--json'];
  return new Promise((done, fail) =>
    execFile(process.execPath, command, { cwd: ROOT, maxBuffer: 2 ** 28 }, (error, stdout, stderr) =>
      error
        ? fail(new Error(stderr.trim().split('\n').slice(-8).join('\n') || error.message))
        : done(JSON.parse(stdout)),
    ),
  );
}

/** A folder of this notebook's runs, emptied: 'first-run' → 'runs/notebooks/first-run'. */
export function fresh(name: string): string {
  rmSync(join(ROOT, 'runs/notebooks', name), { recursive: true, force: true });
  return `runs/notebooks/${name}`;
}

/** The path, if there is such a file or folder. */
export const existing = (path: string): string | undefined => (existsSync(join(ROOT, path)) ? path : undefined);

/** A module of the repository by its path from the root, such as 'experts/dispatch/plan.ts'. */
export const library: (path: string) => Promise<Anything> = createRequire(__filename)('./modules.cjs');

/** Text of a file, by its path from the root. */
export const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** The rows of a CSV file: numbers as numbers, empty cells as null. */
export function csv(path: string): Record<string, Anything>[] {
  const [head, ...lines] = text(path).trim().split('\n');
  const names = head.split(',');
  return lines.map(line => {
    const cells = line.split(',').map(cell => (cell === '' ? null : Number.isNaN(Number(cell)) ? cell : Number(cell)));
    return Object.fromEntries(names.map((name, i) => [name, cells[i]]));
  });
}

/** Shows an SVG, given as text or as a path from the root, written short so that notebooks stay small. As an image, since
 *  pages made of notebooks take SVG marks out. */
export function picture(svg: string): void {
  const source = svg.startsWith('<') ? svg : text(svg);
  const decimal = (value: string) => value.replace(/(\d\.\d)\d+/g, '$1');
  const marks = source.replace(HOVER, '').replace(/="([^"']*)"/g, (_, value) => `='${decimal(value)}'`);
  const short = withClasses(marks.replace(/>\s+</g, '><').replace(UNSEEN, ''));
  const url = short.replace(/[%#&<>"]/g, character => `%${character.charCodeAt(0).toString(16)}`);
  display.html(`<img alt="${/<title>([^<"]*)/.exec(source)?.[1] ?? ''}" src="data:image/svg+xml,${url}"/>`);
}
const HOVER = / data-[a-z-]+="[^"]*"| pointer-events="none"|<desc>[^<]*<\/desc>/g;
/** White cells with their 0 (not the background, which starts at x 0), white outlines, black where text is dark anyway. */
const UNSEEN =
  /<rect x='[1-9][^>]*fill='#ffffff'\/>(<text [^>]*>0<\/text>)?|<rect [^>]*fill='none' stroke='#FFFFFF'[^>]*\/>| fill='#000000'/g;

/** Looks that many marks share, said once. */
function withClasses(svg: string): string {
  const looks: string[] = [];
  const marks = svg.replace(/( (fill|fill-opacity|text-anchor)='[^']*')+(?=[ />])/g, (look, ...rest) => {
    if (rest.at(-2) < svg.indexOf('>')) return look;
    if (!looks.includes(look)) looks.push(look);
    return ` class='c${looks.indexOf(look)}'`;
  });
  const rules = looks.map((look, i) => `.c${i}{${look.trim().replace(/='([^']*)' ?/g, ':$1;')}}`);
  return marks.replace('>', `><style>${rules.join('')}</style>`);
}

/** Shows rows as a table, numbers with so many decimals. Whole numbers stay whole. */
export function table(rows: Record<string, unknown>[], decimals = 3): void {
  const cell = (value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(decimals) : String(value ?? '–');
  const line = (cells: string[], tag: string) => `<tr>${cells.map(c => `<${tag}>${c}</${tag}>`).join('')}</tr>`;
  const names = Object.keys(rows[0]);
  const body = rows.map(row =>
    line(
      names.map(name => cell(row[name])),
      'td',
    ),
  );
  display.html(`<table>${line(names, 'th')}${body.join('')}</table>`);
}
