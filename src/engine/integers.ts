// Integers that say which row goes where (ids, positions, expert ids, plans): on the host where kernels run on it, as an int32
// tensor where they were made on a GPU, so that nothing waits for them. Operations take either.

import { type Tensor, tf } from './tf.ts';

/** Row-major integers. A tensor's dtype is int32. */
export type Integers = Int32Array | Tensor;

/** How many integers there are. */
export const countOf = (integers: Integers): number =>
  integers instanceof Int32Array ? integers.length : integers.size;

/** The integers on the host, read once everything before them has run. */
export const readIntegers = async (integers: Integers): Promise<Int32Array> =>
  integers instanceof Int32Array ? integers : (await integers.data<'int32'>()).slice();

/** The integers on the host, at once. @throws Error where the running backend cannot read a tensor without waiting. */
export const hostIntegers = (integers: Integers): Int32Array =>
  integers instanceof Int32Array ? integers : integers.dataSync<'int32'>();

/** Integers that stay when a tidy ends; the caller disposes them by `dropIntegers`. */
export const keepIntegers = (integers: Integers): Integers =>
  integers instanceof Int32Array ? integers : tf.keep(integers.clone());

/** The integers as the running backend's kernels take them: where they run on the host, from the host. */
export const forKernels = (integers: Integers): Integers =>
  tf.getBackend() === 'webgpu' ? integers : hostIntegers(integers);

export function dropIntegers(integers: Integers): void {
  if (!(integers instanceof Int32Array)) integers.dispose();
}
