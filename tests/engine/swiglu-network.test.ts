// SwiGLU networks over segments of rows: values and gradients against double precision on every backend, and against
// their three products and the gate one by one, also where the experts take several runs and none may be forgotten.

import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { swiglu } from '../../src/engine/ops/swiglu.ts';
import { swigluNetwork } from '../../src/engine/ops/swiglu-network.ts';
import { swigluNetworkReference } from '../../src/engine/reference/swiglu-network.ts';
import type { Tensor, Tensor2D } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { backends, kernelBackends, use } from './backends.ts';
import { groupedLinear64, swiglu64, type Values } from './float64.ts';
import { expectClose, judge } from './judge.ts';

const offsetsOf = (counts: number[]): Int32Array =>
  Int32Array.from([0, ...counts], (_, e) => counts.slice(0, e).reduce((sum, count) => sum + count, 0));

/** The operation with its 3 E weights as one list: gates, ups, downs. */
type Network = (x: Tensor2D, gate: Tensor2D[], up: Tensor2D[], down: Tensor2D[], offsets: Int32Array) => Tensor2D;

const onList =
  (network: Network, offsets: Int32Array) =>
  (x: Tensor, ...w: Tensor[]): Tensor => {
    const experts = offsets.length - 1;
    const [gate, up, down] = [0, 1, 2].map(i => w.slice(i * experts, (i + 1) * experts) as Tensor2D[]);
    return network(x as Tensor2D, gate, up, down, offsets);
  };

function network64(x: Values, w: Values[], d: number, f: number, offsets: Int32Array): Values {
  const experts = offsets.length - 1;
  const [gate, up] = [0, 1].map(i => groupedLinear64(x, w.slice(i * experts, (i + 1) * experts), d, f, offsets));
  return groupedLinear64(swiglu64(gate, up), w.slice(2 * experts), f, d, offsets);
}

describe.each(backends)('on %s', backend => {
  beforeAll(async () => void (await use(backend)));

  it('values and gradients, with empty segments', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(),
        (drawn, d, f, seed) => {
          const offsets = offsetsOf([drawn[0] + 1, ...drawn.slice(1)]);
          const each = (shape: number[]): number[][] => drawn.map(() => shape);
          return judge({
            shapes: [[offsets.at(-1)!, d], ...each([f, d]), ...each([f, d]), ...each([d, f])],
            seed,
            operation: onList(swigluNetwork, offsets),
            reference: onList(swigluNetworkReference, offsets),
            truth: (x, ...w) => network64(x, w, d, f, offsets),
          });
        },
      ),
      { numRuns: 12, seed: 7 },
    ));

  it('refuses offsets and weights that do not fit', () => {
    tf.tidy(() => {
      const [x, w, v] = [tf.zeros([4, 2]), tf.zeros([3, 2]), tf.zeros([2, 3])] as Tensor2D[];
      const rows = Int32Array.of(0, 4);
      expect(() => swigluNetwork(x, [w], [w], [v], Int32Array.of(0, 3))).toThrow('do not fit 1 weights and 4 rows');
      expect(() => swigluNetwork(x, [w], [w, w], [v], rows)).toThrow('has shape [2, 1], wanted [1, 1]');
      expect(() => swigluNetwork(x, [w], [v], [v], rows)).toThrow('gate or up weight has shape [2, 3], wanted [3, 2]');
      expect(() => swigluNetwork(x, [w], [w], [w], rows)).toThrow('down weight has shape [3, 2], wanted [2, 3]');
    });
  });
});

describe.each(kernelBackends)('on %s', backend => {
  beforeAll(async () => void (await use(backend)));

  // 2,048 wide: a run of experts is full at 512 rows
  it.each([
    ['one expert', [700]],
    ['several runs of several experts', [200, 0, 400, 513, 1, 0, 30, 512, 7]],
    ['no rows at all', [0, 0]],
  ])('equals its parts one by one: %s', (_, counts) => {
    const offsets = offsetsOf(counts);
    const [rows, d, f] = [offsets.at(-1)!, 3, 2048];
    const draw = (shape: [number, number], seed: number) => tf.randomUniform(shape, -1, 1, 'float32', seed) as Tensor2D;
    const make = (shape: [number, number], first: number) => counts.map((_, e) => draw(shape, first + e));
    const parts = (x: Tensor2D, gate: Tensor2D[], up: Tensor2D[], down: Tensor2D[], o: Int32Array): Tensor2D =>
      groupedLinear(swiglu(groupedLinear(x, gate, o), groupedLinear(x, up, o)), down, o);
    tf.tidy(() => {
      const inputs = [draw([rows, d], 1), ...make([f, d], 10), ...make([f, d], 30), ...make([d, f], 50)];
      const dy = draw([rows, d], 2);
      const [got, want] = [swigluNetwork, parts].map(network => {
        const { value, grads } = tf.valueAndGrads(onList(network, offsets))(inputs, dy);
        return {
          y: value.dataSync(),
          dx: grads[0].dataSync(),
          dw: grads.slice(1).map(gradient => gradient.dataSync()),
        };
      });
      expect(got.y).toEqual(want.y);
      expect(got.dw).toEqual(want.dw);
      expectClose('dx', got.dx, want.dx, 1e-5); // two sums in one
    });
  });
});
