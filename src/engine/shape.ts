// Checks of what an operation is given: C kernels trust the sizes that they are given, so a wrong size must stop before them.

import type { Integers } from './integers.ts';

/** @throws Error naming the operation and both shapes when they differ. */
export function checkShape(what: string, got: readonly number[], want: readonly number[]): void {
  if (got.length === want.length && got.every((size, i) => size === want[i])) return;
  throw new Error(`${what} has shape [${got.join(', ')}], wanted [${want.join(', ')}]`);
}

/** Integers on a GPU are not looked at: kernels leave out what is outside there.
 *  @throws RangeError naming the first integer that is neither in 0..count−1 nor the negative `none`, if one is given. */
export function checkIndex(what: string, index: Integers, count: number, none?: number): void {
  if (!(index instanceof Int32Array)) return;
  const bad = index.findIndex(value => value !== none && (value < 0 || value >= count));
  if (bad >= 0) throw new RangeError(`${what} ${index[bad]} at place ${bad} is outside 0..${count - 1}`);
}

/** Of offsets on a GPU only the number is known. @throws Error when the offsets do not rise from 0 to `rows` over so many segments. */
export function checkOffsets(what: string, offsets_E1: Integers, segments: number, rows: number): void {
  if (!(offsets_E1 instanceof Int32Array)) {
    checkShape(`${what}: offsets`, offsets_E1.shape, [segments + 1]);
    return;
  }
  const rising = offsets_E1.every((offset, e) => (e === 0 ? offset === 0 : offset >= offsets_E1[e - 1]));
  if (offsets_E1.length === segments + 1 && offsets_E1[segments] === rows && rising) return;
  throw new Error(`${what}: offsets [${offsets_E1}] do not fit ${segments} weights and ${rows} rows`);
}
