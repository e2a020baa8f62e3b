// Routing on a GPU against routing/*.ts on the very probabilities that the kernel answered: the same integers, bit for bit.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, it } from 'vitest';
import { hybridK } from '../../routing/hybrid-k.ts';
import { expertLoad } from '../../routing/load.ts';
import { topK } from '../../routing/top-k.ts';
import { loadOnGpu, routeOnGpu, topKOnGpu } from '../../routing/webgpu.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';
import { use, webgpuHere } from '../engine/backends.ts';
import { expectClose } from '../engine/judge.ts';
import { poison } from '../engine/webgpu/poison.ts';

interface Case {
  tokens: number;
  experts: number;
  k: number;
  forced: boolean;
  hint: number;
  biased: boolean;
  known: boolean;
  coarse: boolean;
  seed: number;
}

/** Up to so many tokens; k up to `mostChosen`, mostly low. */
const drawCase = (mostTokens: number, experts: number, mostChosen: number): fc.Arbitrary<Case> =>
  fc
    .record({
      tokens: fc.nat(mostTokens),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      forced: fc.boolean(),
      hint: fc.constantFrom(0, 0, 1.5),
      biased: fc.boolean(),
      known: fc.boolean(),
      coarse: fc.boolean(),
      seed: fc.nat(),
    })
    .map(({ share, ...drawn }) => ({ ...drawn, experts, k: 1 + Math.round(share ** 2 * (mostChosen - 1)) }));

/** Logits, many of them equal when they are coarse; languages of which some are unknown; a bias of steps of ¼ or of noise. */
function inputsOf({ tokens, experts, coarse, known, biased, seed }: Case) {
  const random = seedrandom(String(seed));
  const logit = () => (coarse ? Math.floor(random() * 4) : (random() - 0.5) * 20);
  const logits = Float32Array.from({ length: tokens * experts }, logit);
  const language_T = Int32Array.from({ length: tokens }, () => Math.floor(random() * (experts + 1)) - 1);
  const bias_E = Float32Array.from({ length: experts }, () =>
    coarse ? Math.floor(random() * 3) / 4 : (random() - 0.5) / 4,
  );
  return { logits, languageExpert_T: known ? language_T : null, selectionBias_E: biased ? bias_E : null };
}

async function routed(drawn: Case, given = inputsOf(drawn)) {
  const { tokens, experts, k, forced, hint } = drawn;
  const { logits, languageExpert_T, selectionBias_E } = given;
  await poison([
    [tokens, experts],
    [tokens, k],
  ]);
  const logits_TE = tf.tensor2d(logits, [tokens, experts]);
  const options = { k, forced, hintBias: hint, languageExpert_T, selectionBias_E };
  const { probabilities_TE, expertId_TK } = routeOnGpu(logits_TE, options);
  const p_TE = (await probabilities_TE.data<'float32'>()).slice();
  const ids = (await expertId_TK.data<'int32'>()).slice();
  tf.dispose([logits_TE, probabilities_TE, expertId_TK]);
  return { p_TE, ids, ...given };
}

/** What routing/*.ts chooses from these probabilities. */
function wanted(
  { experts, k, forced }: Case,
  { p_TE, languageExpert_T, selectionBias_E }: Awaited<ReturnType<typeof routed>>,
) {
  const score_TE = selectionBias_E ? p_TE.map((p, i) => p + selectionBias_E[i % experts]) : p_TE;
  return forced && languageExpert_T ? hybridK(score_TE, experts, k, languageExpert_T) : topK(score_TE, experts, k);
}

function softmax64(
  logits: Float32Array,
  experts: number,
  hint: number,
  languageExpert_T: Int32Array | null,
): Float64Array {
  const p_TE = new Float64Array(logits.length);
  for (let t = 0; t * experts < logits.length; t++) {
    const row = Float64Array.from(logits.subarray(t * experts, (t + 1) * experts));
    if (languageExpert_T && languageExpert_T[t] >= 0) row[languageExpert_T[t]] += hint;
    const largest = Math.max(...row);
    const part = row.map(x => Math.exp(x - largest));
    const sum = part.reduce((a, b) => a + b, 0);
    part.forEach((x, e) => {
      p_TE[t * experts + e] = x / sum;
    });
  }
  return p_TE;
}

const check = async (drawn: Case) => {
  const got = await routed(drawn);
  expect(got.ids.join(' ')).toBe(wanted(drawn, got).join(' '));
  const want = softmax64(got.logits, drawn.experts, drawn.hint, got.languageExpert_T);
  expect(got.p_TE.length).toBe(want.length);
  want.forEach((p, i) => {
    if (!(Math.abs(got.p_TE[i] - p) <= 1e-6)) throw new Error(`probability ${i} is ${got.p_TE[i]}, wanted ${p}`);
  });
};

/** On both sides of the edge between the two kernels, at 32 experts and 16 choices, and of that between sizes of memory, at 8. */
const FEW = [1, 2, 7, 8, 31, 32];
const MANY = [33, 64, 65, 128, 300, 1024];

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => {
    await use('webgpu');
  });

  it('worked by hand: ties to the lower id, the language expert in the last place, the bias for the choice alone', async () => {
    const logits = Float32Array.of(1, 1, 0, 2, 0, 0, 0, 0, 3, 2, 1, 0);
    const drawn = { tokens: 3, experts: 4, k: 2, forced: true, hint: 0 } as Case;
    const languageExpert_T = Int32Array.of(2, -1, 1);
    const free = await routed(drawn, { logits, languageExpert_T: null, selectionBias_E: null });
    expect(free.ids).toEqual(Int32Array.of(3, 0, 0, 1, 0, 1));
    const forced = await routed(drawn, { logits, languageExpert_T, selectionBias_E: null });
    expect(forced.ids).toEqual(Int32Array.of(3, 2, 0, 1, 0, 1));
    expect(forced.p_TE).toEqual(free.p_TE);
    const biased = await routed(drawn, {
      logits,
      languageExpert_T: null,
      selectionBias_E: Float32Array.of(0, 0, 0, 9),
    });
    expect(biased.ids).toEqual(Int32Array.of(3, 0, 3, 0, 3, 0));
    expect(biased.p_TE).toEqual(free.p_TE);
  });

  it.each(FEW)('chooses among %d experts as the host does', experts =>
    fc.assert(fc.asyncProperty(drawCase(150, experts, Math.min(experts, 3)), check), { numRuns: 15, seed: experts }),
  );

  it.each([...MANY, 20])('chooses among %d experts as the host does, any k', experts =>
    fc.assert(fc.asyncProperty(drawCase(12, experts, experts), check), { numRuns: 10, seed: experts }),
  );

  it('gives rows without a softmax as not a number, and the lowest ids', async () => {
    const inf = Number.POSITIVE_INFINITY;
    const rows = [
      [0, Number.NaN, 1],
      [0, inf, 1],
      [-inf, -inf, -inf],
      [-inf, 1, 1],
      [3e38, -3e38, 0],
      [-1e38, -1e38, -2e38],
      [0, -95, 0],
    ];
    for (const [experts, k] of [
      [3, 2],
      [40, 2],
      [40, 17],
    ]) {
      const logits = Float32Array.from(rows.flatMap(row => [...row, ...new Array(experts - 3).fill(-inf)]));
      const languageExpert_T = Int32Array.from(rows, () => experts - 1);
      const drawn = { tokens: rows.length, experts, k, forced: true, hint: 0 } as Case;
      const got = await routed(drawn, { logits, languageExpert_T, selectionBias_E: null });
      const want = [[], [], [], [0, 0.5, 0.5], [1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]].flatMap(p =>
        Array.from({ length: experts }, (_, e) => (p.length === 0 ? Number.NaN : (p[e] ?? 0))),
      );
      expect(Array.from(got.p_TE)).toEqual(want);
      expect(got.ids).toEqual(wanted(drawn, got));
    }
  });

  it('a bias that is not a number holds its place and is passed by none, as on the host', async () => {
    for (const [experts, k] of [
      [7, 3],
      [40, 5],
      [40, 40],
    ]) {
      for (const places of [[0], [1, 2], [k - 1], [experts - 1], [k, 2]]) {
        const drawn = {
          tokens: 9,
          experts,
          k,
          forced: true,
          hint: 0,
          coarse: true,
          known: true,
          biased: true,
          seed: k,
        } as Case;
        const given = inputsOf(drawn);
        for (const e of places) given.selectionBias_E![e % experts] = Number.NaN;
        given.selectionBias_E![(places[0] + 3) % experts] = Number.POSITIVE_INFINITY;
        given.selectionBias_E![(places[0] + 4) % experts] = Number.NEGATIVE_INFINITY;
        const got = await routed(drawn, given);
        expect(got.ids).toEqual(wanted(drawn, got));
      }
    }
  });

  it('refuses more experts than a workgroup holds', () => {
    const scores = tf.zeros([1, 1025]) as Tensor2D;
    expect(() => topKOnGpu(scores, 1)).toThrow('webgpu routes to at most 1024 experts, not 1025.');
    scores.dispose();
    expect(() => loadOnGpu(Int32Array.of(0), Int32Array.of(1), 1025)).toThrow(
      'a tile counts 1024 ids at most, not 1025',
    );
  });

  it('takes languages that are on the GPU, and leaves out those that no expert has', async () => {
    const drawn = {
      tokens: 70,
      experts: 7,
      k: 2,
      forced: true,
      hint: 0.5,
      coarse: false,
      known: true,
      seed: 5,
    } as Case;
    const given = inputsOf(drawn);
    const onHost = await routed(drawn, given);
    const languages = tf.tensor1d(given.languageExpert_T!, 'int32');
    const onDevice = await routed(drawn, { ...given, languageExpert_T: languages as never });
    expect(onDevice.ids).toEqual(onHost.ids);
    expect(onDevice.p_TE).toEqual(onHost.p_TE);
    languages.dispose();
    const free = await routed(drawn, { ...given, languageExpert_T: null });
    const unknown = await routed(drawn, { ...given, languageExpert_T: new Int32Array(70).fill(7) });
    expect(unknown).toEqual({ ...free, languageExpert_T: unknown.languageExpert_T });
  });

  it('100 choices of the same logits are the same bits', async () => {
    const drawn = {
      tokens: 100,
      experts: 8,
      k: 2,
      forced: false,
      hint: 0,
      coarse: false,
      known: false,
      seed: 1,
    } as Case;
    const first = await routed(drawn);
    for (let i = 1; i < 100; i++) expect(await routed(drawn)).toEqual(first);
  });

  it('tops scores as they are', async () => {
    const random = seedrandom('scores');
    for (const [tokens, experts, k] of [
      [0, 7, 2],
      [130, 7, 2],
      [40, 65, 9],
      [20, 8, 8],
    ]) {
      const score = Float32Array.from(
        { length: tokens * experts },
        () => [3, 0, -0, 1e-40, -1e-40, -2][Math.floor(random() * 6)],
      );
      await poison([[tokens, k]]);
      const score_TE = tf.tensor2d(score, [tokens, experts]);
      const ids = topKOnGpu(score_TE, k);
      expect(await ids.data()).toEqual(topK(score, experts, k));
      tf.dispose([score_TE, ids]);
    }
  });

  it.each([
    [1, 1],
    [70, 7],
    [9, 64],
    [5, 130],
  ])('passes gradients of %d tokens and %d experts through the softmax, on a tape', async (tokens, experts) => {
    const random = seedrandom(String([tokens, experts]));
    const [logits, upstream] = [5, 2].map(size =>
      Float32Array.from({ length: tokens * experts }, () => random() * size),
    );
    const want = new Float64Array(tokens * experts);
    const p = softmax64(logits, experts, 0, null);
    for (let t = 0; t < tokens; t++) {
      let mean = 0;
      for (let i = t * experts; i < (t + 1) * experts; i++) mean += p[i] * upstream[i];
      for (let i = t * experts; i < (t + 1) * experts; i++) want[i] = p[i] * (upstream[i] - mean);
    }
    await poison([[tokens, experts]], 4);
    const [logits_TE, upstream_TE] = [logits, upstream].map(values => tf.tensor2d(values, [tokens, experts]));
    const options = { k: 1, languageExpert_T: null, forced: false, hintBias: 0, selectionBias_E: null };
    const loss = (z: Tensor) => {
      const { probabilities_TE, expertId_TK } = routeOnGpu(z as Tensor2D, options);
      // A load made of the choice stands in many losses; it is a constant.
      const load_E = loadOnGpu(expertId_TK, new Int32Array(tokens).fill(1), experts);
      return probabilities_TE.mul(upstream_TE).add(load_E.sub(load_E)).sum().asScalar();
    };
    const gradient = tf.grad(loss)(logits_TE);
    expectClose('dlogits', (await gradient.data<'float32'>()).slice(), want, 1e-5);
    tf.dispose([logits_TE, upstream_TE, gradient]);
  });

  it('counts loads as the host does', async () => {
    const random = seedrandom('loads');
    for (const [tokens, k, experts] of [
      [0, 2, 7],
      [1, 1, 1],
      [700, 3, 7],
      [1024, 1, 128],
      [3000, 2, 300],
    ]) {
      const ids = Int32Array.from({ length: tokens * k }, () => Math.floor(random() * (experts + 1)) - 1);
      const counted = Uint8Array.from({ length: tokens }, () => Number(random() < 0.7));
      await poison([[experts], [experts * Math.ceil((tokens * k) / 1024)]], 3);
      const load_E = loadOnGpu(ids, Int32Array.from(counted), experts);
      expect(Float64Array.from(await load_E.data())).toEqual(expertLoad(ids, k, experts, counted));
      load_E.dispose();
    }
  });
});
