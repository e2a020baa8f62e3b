// Checks of what an operation is given: C kernels trust the sizes that they are given, so a wrong size must stop before them.

/** @throws Error naming the operation and both shapes when they differ. */
export function checkShape(what: string, got: readonly number[], want: readonly number[]): void {
  if (got.length === want.length && got.every((size, i) => size === want[i])) return;
  throw new Error(`${what} has shape [${got.join(', ')}], wanted [${want.join(', ')}]`);
}

/** @throws RangeError naming the first integer that is neither in 0..count−1 nor the negative `none`, if one is given. */
export function checkIndex(what: string, index: Int32Array, count: number, none?: number): void {
  const bad = index.findIndex(value => value !== none && (value < 0 || value >= count));
  if (bad >= 0) throw new RangeError(`${what} ${index[bad]} at place ${bad} is outside 0..${count - 1}`);
}

/** @throws Error when the offsets do not rise from 0 to `rows` over so many segments. */
export function checkOffsets(what: string, offsets_E1: Int32Array, segments: number, rows: number): void {
  const rising = offsets_E1.every((offset, e) => (e === 0 ? offset === 0 : offset >= offsets_E1[e - 1]));
  if (offsets_E1.length === segments + 1 && offsets_E1[segments] === rows && rising) return;
  throw new Error(`${what}: offsets [${offsets_E1}] do not fit ${segments} weights and ${rows} rows`);
}
