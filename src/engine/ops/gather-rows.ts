// Row gather whose gradient is a fixed-order sum of gathers through the inverse table, never a scatter.
import '../fast/gather-rows.ts';
import { countOf, forKernels, hostIntegers, type Integers } from '../integers.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { gatherRowsReference } from '../reference/gather-rows.ts';
import { checkIndex, checkShape } from '../shape.ts';
import type { Tensor, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** y[j] = x[index[j]]; index −1 gives a zero row. Serves permute and un-permute.
 *  `inverse_NR` lists, for each source row n, the R places j that read it (−1 fills up), so that the gradient is
 *  dx[n] = Σ_r dy[inverse[n, r]], summed in that order.
 *  Permute (token t sits in k expert rows): index_M = the token of each expert row, inverse = its k rows per token.
 *  Un-permute (each expert row is read once): index_M = the row of each slot, inverse = the slot of each row, R = 1.
 *  Left out, the inverse is built from `index_M`, which must then be on the host, in rising order of j. */
export function gatherRows(x_ND: Tensor2D, index_M: Integers, inverse_NR?: Integers): Tensor2D {
  const rows = x_ND.shape[0];
  checkIndex('gatherRows: index', index_M, rows, -1);
  if (inverse_NR) {
    const listed = countOf(inverse_NR);
    checkShape('gatherRows: inverse', [listed], [rows * Math.floor(listed / Math.max(1, rows))]);
    checkIndex('gatherRows: inverse', inverse_NR, countOf(index_M), -1);
  }
  if (!hasKernel('MoeGatherSum')) return tf.tidy(() => gatherRowsReference(x_ND, hostIntegers(index_M)));
  const integers = [index_M, ...(inverse_NR ? [inverse_NR] : [])].map(forKernels);
  return withGradient(
    [x_ND],
    () => ({ value: gatherSum(x_ND, integers[0], 1), saved: [] }),
    (gradient, _, [index, given]) => {
      const inverse = given ?? invert(hostIntegers(index), rows);
      return [gatherSum(gradient, inverse, rows === 0 ? 1 : countOf(inverse) / rows)];
    },
    integers,
  );
}

const gatherSum = (x: Tensor, index_MR: Integers, width: number): Tensor2D =>
  runKernel('MoeGatherSum', { x }, { index_MR, width })[0] as Tensor2D;

/** For each of `rows` source rows the places of `index_M` that read it, padded with −1 to the longest list. */
function invert(index_M: Int32Array, rows: number): Int32Array {
  const count_N = new Int32Array(rows);
  for (const row of index_M) if (row >= 0) count_N[row]++;
  const width = Math.max(
    1,
    count_N.reduce((most, count) => Math.max(most, count), 0),
  );
  const inverse_NR = new Int32Array(rows * width).fill(-1);
  count_N.fill(0);
  index_M.forEach((row, j) => {
    if (row >= 0) inverse_NR[row * width + count_N[row]++] = j;
  });
  return inverse_NR;
}
