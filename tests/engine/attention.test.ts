// Attention on the C kernels: sizes around their blocks, holes, padding, caches and large scores against double
// precision, no trace of hidden keys, and the same bits on any number of threads.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { attention } from '../../src/engine/ops/attention.ts';
import { attentionReference } from '../../src/engine/reference/attention.ts';
import { type Tensor, type Tensor4D, tf } from '../../src/engine/tf.ts';
import {
  type Answer,
  bits,
  documents,
  holes,
  layouts,
  NAMES,
  oneDocument,
  type Problem,
  paddedLate,
  paddedMiddle,
  problem,
  sizesOf,
  thirds,
  truth,
} from './attention-problems.ts';
import { kernelBackends, use } from './backends.ts';
import { attention64, type Values } from './float64.ts';
import { expectClose } from './judge.ts';

/** The output and all gradients of the operation or, if asked, of its reference. */
function solve(p: Problem, operation = attention): Answer {
  const { batch, queries, keys, heads, groups, d } = p;
  return tf.tidy(() => {
    const inputs = [
      tf.tensor(p.q, [batch, queries, heads, d]),
      tf.tensor(p.k, [batch, keys, groups, d]),
      tf.tensor(p.v, [batch, keys, groups, d]),
    ];
    const f = (...[q, k, v]: Tensor[]) =>
      operation(q as Tensor4D, k as Tensor4D, v as Tensor4D, p.querySegment, p.keySegment, p.window);
    const { value, grads } = tf.valueAndGrads(f)(inputs, tf.tensor(p.upstream, [batch, queries, heads, d]));
    const [out, dq, dk, dv] = [value, ...grads].map(tensor => (tensor.dataSync() as Float32Array).slice());
    return { out, dq, dk, dv };
  });
}

function expectTruth(p: Problem, answer = solve(p)): void {
  const want = truth(p);
  for (const name of NAMES) expectClose(name, answer[name], want[name], name === 'out' ? 1e-5 : 5e-5);
}

it('the double-precision gradients of these tests are the slopes of the double-precision output', () => {
  const p = problem(sizesOf(2, 4, 6, 4, 2, 3), holes);
  const inputs = [p.q, p.k, p.v].map(values => Float64Array.from(values)) as [Values, Values, Values];
  const output = () => attention64(...inputs, p, p.querySegment, p.keySegment);
  const loss = () => output().reduce((sum, y, i) => sum + y * p.upstream[i], 0);
  const { out, dq, dk, dv } = truth(p);
  expectClose('out', out, output(), 1e-12);
  [dq, dk, dv].forEach((gradient, n) => {
    const slopes = inputs[n].map((value, i) => {
      inputs[n][i] = value + 1e-5;
      const above = loss();
      inputs[n][i] = value - 1e-5;
      const below = loss();
      inputs[n][i] = value;
      return (above - below) / 2e-5;
    });
    expectClose(`gradient ${n}`, gradient, slopes, 1e-7);
  });
});

describe.each(kernelBackends)('on %s', backend => {
  beforeAll(async () => {
    await use(backend);
  });

  it('two keys, by hand', () => {
    const p: Problem = {
      ...sizesOf(1, 1, 2, 1, 1, 1),
      q: Float32Array.of(Math.log(3)), // scores 0 and ln 3: weights 1/4 and 3/4
      k: Float32Array.of(0, 1),
      v: Float32Array.of(4, 8),
      upstream: Float32Array.of(1), // dp = 4, 8 with mean 7: ds = −3/4, 3/4
      querySegment: Int32Array.of(0),
      keySegment: Int32Array.of(0, 0),
    };
    const { out, dq, dk, dv } = solve(p);
    expectClose('out', out, [7], 1e-6);
    expectClose('dq', dq, [0.75], 1e-6);
    expectClose('dk', dk, [-0.75 * Math.log(3), 0.75 * Math.log(3)], 1e-6);
    expectClose('dv', dv, [0.25, 0.75], 1e-6);
  });

  it('random sizes, ratios and segments', () => {
    const edge = (...sizes: number[]) => fc.constantFrom(...sizes);
    fc.assert(
      fc.property(
        edge(0, 1, 2, 7, 8, 15, 17, 31, 32, 33, 64, 65, 70),
        edge(0, 0, 1, 30, 63, 64, 65),
        edge(1, 2),
        edge(1, 2, 3, 7),
        edge(1, 2),
        edge(1, 2, 3, 4, 5, 8, 12, 16, 17, 31, 33),
        fc.constantFrom(...Object.values(layouts)),
        fc.nat(1000),
        (queries, past, batch, ratio, groups, d, layout, seed) => {
          expectTruth(problem(sizesOf(batch, queries, queries + past, ratio * groups, groups, d), layout, seed));
        },
      ),
      { numRuns: 40, seed: 11 },
    );
  });

  it.each([
    ['keys shared out over tasks', sizesOf(1, 3, 1100, 2, 1, 5), oneDocument],
    ['the same with holes', sizesOf(1, 2, 1100, 3, 1, 16), holes],
    ['few rows of one document', sizesOf(1, 2, 70, 2, 2, 16), oneDocument],
    ['few rows, some padded', sizesOf(3, 2, 60, 2, 2, 16), thirds],
    ['few rows with holes', sizesOf(2, 2, 300, 3, 3, 16), holes],
    ['a row of each of two heads', sizesOf(2, 1, 150, 4, 2, 32), documents],
    ['few rows, keys shared out', sizesOf(1, 1, 1100, 2, 1, 16), holes],
    ['gradients of the keys added up over tasks', sizesOf(1, 300, 300, 2, 1, 7), oneDocument],
    ['the same, documents and several heads', sizesOf(2, 280, 290, 4, 2, 3), documents],
    ['wide heads', sizesOf(1, 40, 70, 2, 1, 128), paddedMiddle],
    ['padded queries beside others that see a whole block of keys', sizesOf(1, 40, 120, 2, 1, 4), paddedLate],
    ['queries before the first key', sizesOf(1, 40, 9, 2, 1, 4), oneDocument],
  ])('%s', (_, sizes, layout) => {
    expectTruth(problem(sizes, layout));
  });

  it('reads nothing that an earlier call left behind', () => {
    const broken = problem(sizesOf(2, 75, 75, 6, 2, 40), documents);
    for (const values of [broken.q, broken.k, broken.v, broken.upstream]) values.fill(Number.NaN);
    for (const sizes of [sizesOf(1, 2, 2, 1, 1, 31), sizesOf(2, 1, 150, 4, 2, 32), sizesOf(1, 9, 9, 1, 1, 40)]) {
      solve(broken);
      expectTruth(problem(sizes, oneDocument));
    }
  });

  it('agrees with the reference', () => {
    const p = problem(sizesOf(2, 75, 75, 6, 2, 20), documents);
    const [ours, reference] = [solve(p), solve(p, attentionReference)];
    for (const name of NAMES) expectClose(name, ours[name], reference[name], 2e-5);
  });

  it('no sequences, no queries, no keys', () => {
    for (const [batch, queries, keys] of [
      [0, 3, 3],
      [2, 0, 3],
      [2, 3, 0],
    ]) {
      const answer = solve(problem(sizesOf(batch, queries, keys, 4, 2, 5), oneDocument));
      for (const name of NAMES) expect(answer[name].every(value => value === 0)).toBe(true);
    }
  });

  it('one token with a cache gives the last row of the whole', () => {
    const whole = problem(sizesOf(1, 130, 130, 6, 2, 24), oneDocument);
    const row = 6 * 24;
    const last = { ...whole, ...sizesOf(1, 1, 130, 6, 2, 24), querySegment: Int32Array.of(0) };
    last.q = whole.q.slice(129 * row);
    last.upstream = whole.upstream.slice(129 * row);
    expectClose('last row', solve(last).out, solve(whole).out.slice(129 * row), 1e-6);
  });

  it('scores of ± 10,000 give the values of the largest, and finite gradients', () => {
    for (const layout of Object.values(layouts)) {
      const p = problem(sizesOf(1, 70, 70, 2, 1, 4), layout);
      p.q = p.q.map(value => value * 100);
      p.k = p.k.map(value => value * 100);
      const answer = solve(p);
      expectClose('out', answer.out, truth(p).out, 2e-3); // a score of 10⁴ is known to 10⁻³
      for (const name of NAMES) expect(answer[name].every(Number.isFinite), name).toBe(true);
    }
  });

  it('padding: output 0, gradients 0, and what it holds changes no bit', () => {
    const p = problem(sizesOf(1, 100, 100, 4, 2, 12), paddedMiddle);
    const clean = solve(p);
    const dirty = { ...p, q: p.q.slice(), k: p.k.slice(), v: p.v.slice() };
    for (const [values, width] of [
      [dirty.q, 48],
      [dirty.k, 24],
      [dirty.v, 24],
    ] as const) {
      values.fill(-1e6, 20 * width, 61 * width);
    }
    const answer = solve(dirty);
    for (const name of NAMES) {
      const width = name === 'out' || name === 'dq' ? 48 : 24;
      expect(bits(answer[name]), name).toEqual(bits(clean[name]));
      expect(answer[name].slice(20 * width, 61 * width).every(value => value === 0)).toBe(true);
    }
  });

  it('later keys and those of other segments change no bit of a row', () => {
    const [d, row] = [9, 40];
    for (const layout of [oneDocument, documents, holes]) {
      const p = problem(sizesOf(1, 80, 80, 2, 2, d), layout);
      p.upstream.fill(0, 0, row * 2 * d);
      p.upstream.fill(0, (row + 1) * 2 * d);
      const before = solve(p);
      const changed = { ...p, k: p.k.slice(), v: p.v.slice() };
      for (let j = 0; j < 80; j++) {
        if (j <= row && p.keySegment[j] === p.querySegment[row]) continue;
        changed.k.fill(1e4, j * 2 * d, (j + 1) * 2 * d);
        changed.v.fill(-1e4, j * 2 * d, (j + 1) * 2 * d);
      }
      const after = solve(changed);
      for (const name of ['out', 'dq'] as const) {
        expect(bits(after[name], row * 2 * d, (row + 1) * 2 * d)).toEqual(
          bits(before[name], row * 2 * d, (row + 1) * 2 * d),
        );
      }
      for (const name of ['dk', 'dv'] as const) expect(bits(after[name])).toEqual(bits(before[name]));
    }
  });

  it('the same bits on 1, 2 and 3 threads', async () => {
    const problems = [
      problem(sizesOf(3, 70, 70, 4, 2, 16), documents),
      problem(sizesOf(1, 300, 300, 2, 1, 8), oneDocument),
      problem(sizesOf(1, 2, 1100, 2, 1, 8), holes),
      problem(sizesOf(1, 1, 1100, 2, 1, 16), holes),
    ];
    const answers: Answer[][] = [];
    for (const threads of [1, 2, 3]) {
      await use(backend, { threads });
      answers.push(problems.map(p => solve(p)));
    }
    await use(backend);
    for (const other of answers.slice(1)) {
      other.forEach((answer, n) => {
        for (const name of NAMES) expect(bits(answer[name]), name).toEqual(bits(answers[0][n][name]));
      });
    }
  });
});
