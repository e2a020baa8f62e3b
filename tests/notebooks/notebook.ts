// A notebook file as the tests read it, and what may be wrong with one that was executed.
import { readFileSync } from 'node:fs';

export interface Output {
  output_type: string;
  /** Of a stream. */
  name?: string;
  text?: string | string[];
  data?: Record<string, string | string[]>;
}
export interface Cell {
  cell_type: 'markdown' | 'code';
  source: string | string[];
  execution_count?: number | null;
  outputs?: Output[];
}
export interface Notebook {
  nbformat: number;
  metadata: { kernelspec: { name: string } };
  cells: Cell[];
}

export const readNotebook = (path: string): Notebook => JSON.parse(readFileSync(path, 'utf8'));

const joined = (text: string | string[] = ''): string => (typeof text === 'string' ? text : text.join(''));

/** All that the cells printed or showed, as text. */
export function shown({ cells }: Notebook): string {
  const outputs = cells.flatMap(cell => cell.outputs ?? []);
  return outputs.flatMap(({ text, data }) => [joined(text), ...Object.values(data ?? {}).map(joined)]).join('\n');
}

/** Places of this machine that a reader elsewhere has no use for. */
const PLACES = /\/(root|home|work|tmp|Users)\/\w+/;

/** One sentence for each thing that is wrong; none when every cell ran, in order, without a word of complaint. */
export function problemsOf({ nbformat, metadata, cells }: Notebook): string[] {
  const problems: string[] = [];
  if (nbformat !== 4) problems.push(`format ${nbformat}`);
  if (metadata.kernelspec.name !== 'tslab') problems.push(`kernel ${metadata.kernelspec.name}`);
  const code = cells.filter(cell => cell.cell_type === 'code');
  code.forEach(({ execution_count, outputs = [], source }, i) => {
    const where = `code cell ${i + 1} (${joined(source).slice(0, 40)})`;
    if (execution_count !== i + 1) problems.push(`${where}: run as number ${execution_count}`);
    if (outputs.some(({ output_type }) => output_type === 'error')) problems.push(`${where}: an error`);
    if (outputs.some(({ name }) => name === 'stderr')) problems.push(`${where}: complained`);
  });
  if (!code.at(-1)?.outputs?.length) problems.push('the last cell shows nothing');
  cells.forEach(({ cell_type, source }, i) => {
    const explained = cell_type === 'markdown' || cells[i - 1]?.cell_type === 'markdown';
    if (!explained) problems.push(`no words before: ${joined(source).slice(0, 40)}`);
  });
  const place = PLACES.exec(shown({ nbformat, metadata, cells }));
  if (place) problems.push(`a path of one machine: ${place[0]}`);
  return problems;
}
