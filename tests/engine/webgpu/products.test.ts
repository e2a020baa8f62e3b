// Matrix products in WGSL against sums in double precision, in memory that holds other numbers before: all transposes, sizes
// around the tiles, numbers that do not come in fours, segments with and without rows, offsets on the host and on the GPU.
// The bound is that of a sum of k products in fp32, (k + 4) 2⁻²⁴ Σ|a b|.
// And their promise: the bits of a row depend on nothing but its numbers, so not on other rows, its place or the tile.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { linear } from '../../../src/engine/ops/linear.ts';
import { swiglu } from '../../../src/engine/ops/swiglu.ts';
import { swigluNetwork } from '../../../src/engine/ops/swiglu-network.ts';
import { type Tensor, type Tensor1D, type Tensor2D, type TensorInfo, tf } from '../../../src/engine/tf.ts';
import { type Gpu, gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import { groupedRows, groupedWeights, runRows, withSegments } from '../../../src/engine/webgpu/grouped-product.ts';
import { product, productProgram, sumColumns } from '../../../src/engine/webgpu/product.ts';
import { swigluGradient } from '../../../src/engine/webgpu/swiglu.ts';
import { gatedKernel, gateGradientKernel } from '../../../src/engine/webgpu/swiglu-network.ts';
import { TILES, type Tile } from '../../../src/engine/webgpu/tile-product.ts';
import { use, webgpuHere } from '../backends.ts';
import { groupedLinear64, swiglu64, type Values } from '../float64.ts';
import { expectClose, generator, judge } from '../judge.ts';
import { poison } from './poison.ts';

type Shape = [number, number];
const sizeOf = (shape: number[]): number => shape.reduce((size, length) => size * length, 1);
const draw = (next: () => number, shape: number[]): Float32Array => Float32Array.from({ length: sizeOf(shape) }, next);
const offsetsOf = (counts: number[]): Int32Array =>
  Int32Array.from([0, ...counts], (_, e) => counts.slice(0, e).reduce((sum, count) => sum + count, 0));

/** Uploads the matrices, runs `make` on them in poisoned memory, and answers what it made. */
async function compute(
  matrices: [Float32Array, number[]][],
  outputs: number[][],
  make: (gpu: Gpu, tensors: Tensor[]) => TensorInfo[],
): Promise<Float32Array[]> {
  const gpu = gpuOf(tf.backend());
  const before = tf.backend().numDataIds();
  const tensors = matrices.map(([values, shape]) => tf.tensor(values, shape));
  for (const { dataId } of tensors) gpu.backend.uploadToGPU(dataId);
  await poison(outputs);
  const made = make(gpu, tensors).map(info => tf.engine().makeTensorFromTensorInfo(info));
  expect(made.map(({ shape }) => shape)).toEqual(outputs);
  const values = await Promise.all(made.map(async tensor => ((await tensor.data()) as Float32Array).slice()));
  tf.dispose([...tensors, ...made]);
  expect(tf.backend().numDataIds(), 'left behind').toBe(before);
  return values;
}

/** Fails unless got[i, j] is Σ_p a(i, p) b(p, j) (+ added(j)), i < m, j < n, p < k, within the bound. */
function expectProduct(
  got: Float32Array,
  [m, n, k]: [number, number, number],
  a: (i: number, p: number) => number,
  b: (p: number, j: number) => number,
  added: (j: number) => number = () => 0,
): void {
  expect(got.length).toBe(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let [sum, size] = [added(j), Math.abs(added(j))];
      for (let p = 0; p < k; p++) {
        const term = a(i, p) * b(p, j);
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(got[i * n + j] - sum);
      if (!(error <= (k + 4) * 2 ** -24 * size)) expect.fail(`[${i}, ${j}] is ${got[i * n + j]}, wanted ${sum}`);
    }
  }
}

interface Case {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  withBias?: boolean;
  tile?: Tile;
}

async function check({ m, n, k, transposeA = false, transposeB = false, withBias = false, tile }: Case): Promise<void> {
  const next = generator(m + 7 * n + 49 * k);
  const shapes: Shape[] = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]];
  const [a, b, bias] = [draw(next, shapes[0]), draw(next, shapes[1]), draw(next, [n])];
  const given: [Float32Array, number[]][] = [
    [a, shapes[0]],
    [b, shapes[1]],
    [bias, [n]],
  ];
  const [c] = await compute(given, [[m, n]], (gpu, [ta, tb, offset]) => [
    product(gpu, ta, tb, { transposeA, transposeB }, withBias ? offset : undefined, { tile }),
  ]);
  expectProduct(
    c,
    [m, n, k],
    (i, p) => a[transposeA ? p * m + i : i * k + p],
    (p, j) => b[transposeB ? j * k + p : p * n + j],
    withBias ? j => bias[j] : undefined,
  );
}

const turns = [false, true].flatMap(transposeA => [false, true].map(transposeB => ({ transposeA, transposeB })));

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => void (await use('webgpu')));

  it('a product worked by hand', async () => {
    const given: [Float32Array, number[]][] = [
      [Float32Array.of(1, 2, 3, 4), [2, 2]],
      [Float32Array.of(5, 6), [2, 1]],
      [Float32Array.of(1), [1]],
    ];
    const turn = { transposeA: false, transposeB: false };
    const [c] = await compute(given, [[2, 1]], (gpu, [a, b, bias]) => [product(gpu, a, b, turn, bias)]);
    expect([...c]).toEqual([18, 40]); // 1·5 + 2·6 + 1, 3·5 + 4·6 + 1
  });

  it.each(turns)('sizes 0, 1, odd and around a tile, transposed $transposeA $transposeB', async turn => {
    const sizes = [
      [0, 3, 4],
      [3, 0, 4],
      [1, 1, 1],
      [32, 32, 16],
      [33, 31, 17],
      [31, 33, 15],
      [36, 68, 20],
      [5, 6, 7],
    ];
    for (const [m, n, k] of sizes) await check({ m, n, k, ...turn });
  });

  it.each([
    ['middle', [63, 65, 18], { transposeB: true }],
    ['middle', [64, 128, 36], { transposeA: true }],
    ['large', [127, 129, 17], { transposeA: true }],
    ['large', [132, 128, 20], { transposeB: true }],
  ] as const)('tiles that are %s, sizes %j', (name, [m, n, k], turn) => check({ m, n, k, ...turn, tile: TILES[name] }));

  it('without terms a product is zero or the bias', async () => {
    for (const withBias of [false, true]) await check({ m: 5, n: 4, k: 0, transposeB: true, withBias });
  });

  it('random sizes with a bias', () =>
    fc.assert(
      fc.asyncProperty(fc.nat(40), fc.nat(40), fc.nat(40), (m, n, k) =>
        check({ m, n, k, transposeB: true, withBias: true }),
      ),
      { numRuns: 12, seed: 3 },
    ));

  it('sums that are longer than a block, side by side and one after the other, have the same bits', async () => {
    for (const turn of turns) await check({ m: 9, n: 8, k: 1100, ...turn });
    await check({ m: 9, n: 8, k: 1100, transposeB: true, withBias: true });
    const next = generator(1);
    const [a, b] = [draw(next, [8, 1100]), draw(next, [8, 1100])];
    const given: [Float32Array, number[]][] = [
      [a, [8, 1100]],
      [b, [8, 1100]],
      [draw(next, [8]), [8]],
    ];
    const turn = { transposeA: false, transposeB: true };
    const shapes = Array.from({ length: 4 }, () => [8, 8]);
    const [apart, whole, apartAndBias, wholeAndBias] = await compute(given, shapes, (gpu, [x, w, bias]) => [
      product(gpu, x, w, turn, undefined, { split: true }),
      product(gpu, x, w, turn, undefined, { split: false }),
      product(gpu, x, w, turn, bias, { split: true }),
      product(gpu, x, w, turn, bias, { split: false }),
    ]);
    expect(apart).toEqual(whole);
    expect(apartAndBias).toEqual(wholeAndBias);
    expect(apart).not.toEqual(apartAndBias);
  });

  it('the form for f16 makes the same product, with f32 in its place', async () => {
    const [m, n, k] = [33, 36, 530];
    const next = generator(6);
    const [a, b] = [draw(next, [m, k]), draw(next, [n, k])];
    const form = { tile: TILES.small, bias: false, half: true, transposeA: false, transposeB: true };
    const { code, ...rest } = productProgram({ ...form, vectors: { a: false, b: false, c: true } });
    expect(code).toContain('vec4<f16>(numbers');
    const program = { ...rest, code: code.replace('enable f16;', '').replaceAll('f16', 'f32') };
    const given: [Float32Array, number[]][] = [
      [a, [m, k]],
      [b, [n, k]],
    ];
    const [c] = await compute(given, [[m, n]], (gpu, [ta, tb]) => {
      const made = gpu.allocate([m, n]);
      gpu.run(program, [ta, tb, made], { rows: m, columns: n, terms: k, span: k, by_rows: 0 }, [2, 2, 1]);
      return [made];
    });
    expectProduct(
      c,
      [m, n, k],
      (i, p) => a[i * k + p],
      (p, j) => b[j * k + p],
    );
  });

  it('sums of columns, in one, two and three levels', async () => {
    for (const shape of [
      [0, 3],
      [1, 4],
      [64, 5],
      [65, 4],
      [200, 3],
      [4200, 2],
    ] as Shape[]) {
      const x = draw(generator(shape[0]), shape);
      const [sum] = await compute([[x, shape]], [[shape[1]]], (gpu, [tensor]) => [sumColumns(gpu, tensor)]);
      expectProduct(
        sum,
        [1, shape[1], shape[0]],
        () => 1,
        (p, j) => x[p * shape[1] + j],
      );
    }
  });

  it('a row has the same bits alone, beside others, elsewhere, and in any tile', async () => {
    const [rows, n, k] = [70, 36, 520];
    const next = generator(5);
    const [x, w] = [draw(next, [rows, k]), draw(next, [n, k])];
    const turn = { transposeA: false, transposeB: true };
    const order = Int32Array.from({ length: rows }, (_, i) => (i * 33 + 5) % rows);
    const shuffled = Float32Array.from({ length: rows * k }, (_, at) => x[order[Math.floor(at / k)] * k + (at % k)]);
    const given: [Float32Array, number[]][] = [
      [x, [rows, k]],
      [shuffled, [rows, k]],
      [x.slice(0, k), [1, k]],
      [w, [n, k]],
    ];
    const shapes = [rows, rows, 1, rows, rows].map(m => [m, n]);
    const [all, moved, alone, middle, large] = await compute(given, shapes, (gpu, [a, b, first, weight]) => [
      product(gpu, a, weight, turn),
      product(gpu, b, weight, turn),
      product(gpu, first, weight, turn),
      product(gpu, a, weight, turn, undefined, { tile: TILES.middle }),
      product(gpu, a, weight, turn, undefined, { tile: TILES.large }),
    ]);
    expect(middle).toEqual(all);
    expect(large).toEqual(all);
    expect(alone).toEqual(all.subarray(0, n));
    order.forEach((from, to) => {
      expect(moved.subarray(to * n, (to + 1) * n), `row ${from} at ${to}`).toEqual(
        all.subarray(from * n, (from + 1) * n),
      );
    });
  });

  it('linear with a bias has the gradients that sums in double precision have', async () => {
    const next = generator(8);
    const [x, w, dy] = [draw(next, [37, 12]), draw(next, [20, 12]), draw(next, [37, 20])];
    const inputs = [tf.tensor(x, [37, 12]), tf.tensor(w, [20, 12]), tf.zeros([20])];
    const upstream = tf.tensor2d(dy, [37, 20]);
    const f = (...[a, b, bias]: Tensor[]) => linear(a as Tensor2D, b as Tensor2D, bias as Tensor1D);
    const { value, grads } = tf.valueAndGrads(f)(inputs, upstream);
    const [dx, dw, dbias] = (await Promise.all(grads.map(grad => grad.data()))) as Float32Array[];
    tf.dispose([...inputs, upstream, value, ...grads]);
    expectProduct(
      dx,
      [37, 12, 20],
      (i, p) => dy[i * 20 + p],
      (p, j) => w[p * 12 + j],
    );
    expectProduct(
      dw,
      [20, 12, 37],
      (i, p) => dy[p * 20 + i],
      (p, j) => x[p * 12 + j],
    );
    expectProduct(
      dbias,
      [1, 20, 37],
      () => 1,
      (p, j) => dy[p * 20 + j],
    );
  });

  const MANY_EXPERTS = Array.from({ length: 14 }, (_, e) => (e * 5) % 7);
  const segmentCases = [
    ['uneven, one empty', [3, 0, 70, 1], 0, 12, 20],
    ['one only', [40], 0, 8, 36],
    ['all rows with one', [0, 0, 65, 0], 0, 5, 7],
    ['none has rows', [0, 0], 3, 5, 7],
    ['no rows at all', [0, 0], 0, 4, 8],
    ['rows beyond all', [33, 2, 31], 40, 8, 9],
    ['more experts than are bound at once', MANY_EXPERTS, 0, 8, 36],
    ['more experts, and rows beyond', MANY_EXPERTS, 40, 9, 8],
    ['a sum of many rows', [3, 600], 2, 4, 5],
  ] as [string, number[], number, number, number][];

  it.each(segmentCases)('grouped products, %s', async (_name, counts, beyond, d, f) => {
    const offsets = offsetsOf(counts);
    const [E, used] = [counts.length, offsets[counts.length]];
    const rows = used + beyond;
    const next = generator(rows + d);
    const [x, dy, more] = [draw(next, [rows, d]), draw(next, [rows, f]), draw(next, [rows, f])];
    const [w, v] = [0, 1].map(() => counts.map(() => draw(next, [f, d])));
    const given: [Float32Array, number[]][] = [
      [x, [rows, d]],
      [dy, [rows, f]],
      [more, [rows, f]],
      ...[...w, ...v].map((values): [Float32Array, number[]] => [values, [f, d]]),
    ];
    const outputs = [[rows, f], [rows, d], [rows, d], ...[...w, ...v].map(() => [f, d])];
    const run = (onGpu: boolean) =>
      compute(given, outputs, (gpu, [tx, tdy, tmore, ...weights]) => {
        const integers = onGpu ? tf.tensor1d(offsets, 'int32') : offsets;
        const [tw, tv] = [weights.slice(0, E), weights.slice(E)];
        const made = withSegments(gpu, integers, segments => [
          groupedRows(gpu, [tx], [tw], segments, { transposed: true }),
          groupedRows(gpu, [tdy], [tw], segments, { transposed: false }),
          groupedRows(gpu, [tdy, tmore], [tw, tv], segments, { transposed: false }),
          ...groupedWeights(gpu, [tdy, tmore], tx, segments).flat(),
        ]);
        if (integers instanceof tf.Tensor) integers.dispose();
        return made;
      });
    const [y, dx, both, ...dw] = await run(false);
    expect(await run(true), 'offsets on the GPU').toEqual([y, dx, both, ...dw]);
    counts.forEach((m, e) => {
      const of = (matrix: Float32Array, width: number) => matrix.subarray(offsets[e] * width, offsets[e + 1] * width);
      const [ownX, ownDy, ownMore] = [of(x, d), of(dy, f), of(more, f)];
      const inOut = (values: Float32Array) => (i: number, p: number) => values[i * f + p];
      const turned = (values: Float32Array, width: number) => (i: number, p: number) => values[p * width + i];
      expectProduct(
        of(y, f),
        [m, f, d],
        (i, p) => ownX[i * d + p],
        (p, j) => w[e][j * d + p],
      );
      expectProduct(of(dx, d), [m, d, f], inOut(ownDy), (p, j) => w[e][p * d + j]);
      expectProduct(
        of(both, d),
        [m, d, 2 * f],
        (i, p) => (p < f ? ownDy[i * f + p] : ownMore[i * f + p - f]),
        (p, j) => (p < f ? w[e][p * d + j] : v[e][(p - f) * d + j]),
      );
      expectProduct(dw[e], [f, d, m], turned(ownDy, f), (p, j) => ownX[p * d + j]);
      expectProduct(dw[E + e], [f, d, m], turned(ownMore, f), (p, j) => ownX[p * d + j]);
    });
    const rest = [y.subarray(used * f), dx.subarray(used * d), both.subarray(used * d)];
    for (const values of rest) expect([...values]).toEqual(Array(values.length).fill(0));
  });

  it.each([
    [[3, 0, 2], 4, 8, 'GPU'],
    [[5], 3, 5, 'host'],
    [[0, 1, 0, 2, 1, 0, 3], 2, 4, 'GPU'],
    [[1, 1], 516, 2, 'host'],
  ])('SwiGLU networks of %j rows, %i wide, %i within, offsets on the %s', async (counts, d, f, where) => {
    const host = offsetsOf(counts);
    const E = counts.length;
    const shapes = ['g', 'u', 'd'].flatMap(letter => counts.map(() => (letter === 'd' ? [d, f] : [f, d])));
    const offsets = where === 'GPU' ? tf.tensor1d(host, 'int32') : host;
    const operation = (x: Tensor, ...w: Tensor[]): Tensor => {
      const [gate, up, down] = [0, 1, 2].map(i => w.slice(i * E, (i + 1) * E) as Tensor2D[]);
      return swigluNetwork(x as Tensor2D, gate, up, down, offsets);
    };
    const truth = (x: Values, ...w: Values[]): Values => {
      const [gate, up] = [0, 1].map(i => groupedLinear64(x, w.slice(i * E, (i + 1) * E), d, f, host));
      return groupedLinear64(swiglu64(gate, up), w.slice(2 * E), f, d, host);
    };
    await judge({ shapes: [[host[E], d], ...shapes], seed: 5, truth, operation });
    if (offsets instanceof tf.Tensor) offsets.dispose();
  });

  it.each(['wide', 'middle', 'large'] as const)('gate, up and their gradients in %s tiles', async name => {
    const tile = TILES[name];
    const [d, f, counts] = [20, 70, [130, 0, 3]];
    const [offsets, E, rows] = [offsetsOf(counts), counts.length, 140];
    const next = generator(9);
    const inputs: [Float32Array, number[]][] = [rows, rows].map(() => [draw(next, [rows, d]), [rows, d]]);
    const wide = Array.from({ length: 2 * E }, (): [Float32Array, number[]] => [draw(next, [f, d]), [f, d]]);
    const down = counts.map((): [Float32Array, number[]] => [draw(next, [d, f]), [d, f]]);
    const outputs = Array.from({ length: 11 }, () => [rows, f]);
    const made = await compute([...inputs, ...wide, ...down], outputs, (gpu, [x, dy, ...w]) => {
      const [g, u, own] = [0, 1, 2].map(i => w.slice(i * E, (i + 1) * E));
      const empty = () => [0, 1, 2].map(() => gpu.allocate([rows, f]));
      const [forward, backward] = [empty(), empty()];
      return withSegments(gpu, offsets, segments => {
        const [gate, up] = [g, u].map(each => groupedRows(gpu, [x], [each], segments, { transposed: true }));
        const dh = groupedRows(gpu, [dy], [own], segments, { transposed: false });
        const { dgate, dup, y } = swigluGradient(gpu, gate, up, dh);
        gpu.release(dh);
        const vectors = { a: true, b: true, c: false };
        const run = { a: [x], reads: [], c: forward, kinds: [g, u], bound: E };
        runRows(gpu, segments, run, bound => gatedKernel({ tile, bound, vectors, half: false }));
        const back = { a: [dy], reads: [gate, up], c: backward, kinds: [own], bound: E };
        const form = { tile, vectors: { ...vectors, b: false }, half: false };
        runRows(gpu, segments, back, bound => gateGradientKernel({ ...form, bound }));
        return [gate, up, y, dgate, dup, ...forward, ...backward];
      });
    });
    const [gate, up, hidden, dgate, dup, ...fused] = made;
    [gate, up, hidden, dgate, dup, hidden].forEach((want, i) => {
      expectClose(`output ${i}`, fused[i], want, 1e-6);
      expect([...fused[i].subarray(133 * f)], 'rows beyond').toEqual(Array(7 * f).fill(0));
    });
  });

  it('SwiGLU of large numbers is neither infinite nor lost', async () => {
    const [gate, up] = [tf.tensor2d([[100, -100, 0, -20]]), tf.tensor2d([[2, 2, 2, 2]])];
    const { value, grads } = tf.valueAndGrads((g, u) => swiglu(g as Tensor2D, u as Tensor2D))([gate, up]);
    const [y, dgate, dup] = (await Promise.all([value, ...grads].map(t => t.data()))) as Float32Array[];
    tf.dispose([gate, up, value, ...grads]);
    const silu = (g: number) => g / (1 + Math.exp(-g));
    expectClose('y', y, [200, 0, 0, 2 * silu(-20)], 1e-6);
    expectClose('dgate', dgate, [2, 0, 1, 0], 1e-6);
    expectClose('dup', dup, [100, 0, 0, silu(-20)], 1e-6);
  });
});
