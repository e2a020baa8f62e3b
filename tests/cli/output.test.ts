import { describe, expect, test } from 'vitest';
import { table, wrapped } from '../../src/commands/output.ts';

describe('words for a terminal', () => {
  test('sentences break at spaces and hang by two; short lines, tables and line feeds stay', () => {
    expect(wrapped('  one two three four five', 16)).toBe('  one two\n    three four\n    five');
    expect(wrapped('one two three', 13)).toBe('one two three');
    expect(wrapped('a  1000  2000', 8)).toBe('a  1000  2000');
    expect(wrapped('x\n\none two three', 9)).toBe('x\n\none two\n  three');
    expect(wrapped('runs/a-name-longer-than-the-line yes', 10)).toBe('runs/a-name-longer-than-the-line\n  yes');
  });
  test('numbers stand to the right, words to the left, letters beyond ASCII count as one', () => {
    expect(
      table(
        ['name', 'loss'],
        [
          ['é', 1],
          ['długi', '12.5'],
        ],
        ' ',
      ),
    ).toBe([' name   loss', ' ─────  ────', ' é         1', ' długi  12.5'].join('\n'));
  });
});
