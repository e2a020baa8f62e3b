// Numbers picked from each row, as a router's gates are from its probabilities. The gradient adds each back to its column.
import '../fast/pick-columns.ts';
import { countOf, forKernels, hostIntegers, type Integers } from '../integers.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { pickColumnsReference } from '../reference/pick-columns.ts';
import { checkIndex, checkShape } from '../shape.ts';
import { type Tensor2D, tf } from '../tf.ts';

/** y[t, j] = x[t, index[t, j]], [T, picks] from x_TE [T, E]; an index of −1 gives 0 and passes no gradient. */
export function pickColumns(x_TE: Tensor2D, index_TK: Integers, picks: number): Tensor2D {
  const [rows, width] = x_TE.shape;
  checkShape('pickColumns: index', [countOf(index_TK)], [rows * picks]);
  checkIndex('pickColumns: index', index_TK, width, -1);
  if (!hasKernel('MoePickColumns')) return tf.tidy(() => pickColumnsReference(x_TE, hostIntegers(index_TK), picks));
  const integers = [forKernels(index_TK)];
  return withGradient(
    [x_TE],
    () => ({ value: runKernel('MoePickColumns', { x: x_TE }, { index_TK: integers[0] })[0] as Tensor2D, saved: [] }),
    (gradient, _, [index]) => runKernel('MoePickColumnsGrad', { gradient }, { index_TK: index, width }),
    integers,
  );
}
