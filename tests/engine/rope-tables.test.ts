// What is made for positions and frequencies is made again when one of them changes, also in place, and not before.
import { expect, test } from 'vitest';
import { keepLatest } from '../../src/engine/rope-tables.ts';

test('equal positions and frequencies are answered with what was made for them', () => {
  let made = 0;
  const tables = keepLatest(() => ++made);
  const [position_T, frequency_h] = [Int32Array.of(0, 1, 5), Float64Array.of(1, 0.5)];
  expect(tables(position_T, frequency_h)).toBe(1);
  expect(tables(position_T.slice(), frequency_h.slice())).toBe(1);
  position_T[1] = 2; // the caller's own array: what was kept must not change with it
  expect(tables(position_T, frequency_h)).toBe(2);
  frequency_h[0] = 2;
  expect(tables(position_T, frequency_h)).toBe(3);
  expect(tables(position_T.slice(1), frequency_h)).toBe(4);
  expect(tables(position_T.slice(1), frequency_h.slice(1))).toBe(5);
});
