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
    say: line => void people.write(`${line}\n`),
    result: value => void (json && process.stdout.write(`${JSON.stringify(value)}\n`)),
    json,
  };
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
