// Where words go. With --json, stdout carries one JSON value and nothing else; people's text goes to stderr.

export interface Output {
  /** A line for people. */
  say(line: string): void;
  /** The result; printed only with --json. */
  result(value: unknown): void;
  json: boolean;
}

export function createOutput(json: boolean): Output {
  const people = json ? process.stderr : process.stdout;
  return {
    say: line => void people.write(`${people.isTTY ? wrapped(line, people.columns) : line}\n`),
    result: value => void (json && process.stdout.write(`${JSON.stringify(value)}\n`)),
    json,
  };
}

/** Sentences broken at spaces, the rest indented by two more; a line with gaps is part of a table and stays as it is. */
export function wrapped(text: string, columns: number): string {
  return text
    .split('\n')
    .map(line => {
      const indent = /^ */.exec(line)![0];
      if (line.length <= columns || /\S {2,}\S/.test(line)) return line;
      const lines = [''];
      for (const word of line.trim().split(' ')) {
        const last = lines.at(-1)!;
        if (last !== '' && indent.length + 2 + last.length + 1 + word.length > columns) lines.push(word);
        else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
      }
      return indent + lines.join(`\n${indent}  `);
    })
    .join('\n');
}

/** Rows as an aligned table: numbers to the right, words to the left. */
export function table(header: string[], rows: (string | number)[][], indent = '  '): string {
  const text = [header, ...rows.map(row => row.map(String))];
  const width = header.map((_, column) => Math.max(...text.map(row => [...(row[column] ?? '')].length)));
  const right = header.map((_, column) =>
    rows.some(row => typeof row[column] === 'number' || /^[-+]?[\d.,]+ ?%?$/.test(String(row[column]))),
  );
  const line = (row: string[]): string =>
    indent +
    row
      .map((cell, i) => (right[i] ? cell.padStart(width[i]) : cell.padEnd(width[i])))
      .join('  ')
      .trimEnd();
  return [line(text[0]), indent + width.map(w => '─'.repeat(w)).join('  '), ...text.slice(1).map(line)].join('\n');
}

export const thousands = (n: number): string => Math.round(n).toLocaleString('en-US');
