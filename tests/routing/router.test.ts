// The router on tensors: the paper's vectors, gates, and where gradients go.

import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { route } from '../../routing/router.ts';
import type { RouteOptions, TokenInfo } from '../../routing/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';

beforeAll(() => selectBackend('cpu'));

const hybrid: RouteOptions = { kind: 'hybrid-k', k: 2, mode: 'forced', normalise: false, hintBias: 0 };
const tokensOf = (languages: number[] | null, count = languages?.length ?? 0): TokenInfo => ({
  languageExpert_T: languages && Int32Array.from(languages),
  counted_T: new Uint8Array(count).fill(1),
  tokenId_T: Int32Array.from({ length: count }, (_, t) => t),
});
/** Routes on the host: numbers in, numbers out, nothing left behind. */
function routed(logits: number[][], tokens: TokenInfo, options: RouteOptions) {
  return tf.tidy(() => {
    const { expertId_TK, gate_TK, probabilities_TE, k } = route(tf.tensor2d(logits), tokens, options);
    return {
      ids: Array.from(hostIntegers(expertId_TK)),
      gates: Array.from(gate_TK.dataSync()),
      p: Array.from(probabilities_TE.dataSync()),
      k,
    };
  });
}
const close = (actual: number[], expected: number[], tolerance = 1e-6) => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]), `element ${i}`).toBeLessThanOrEqual(tolerance);
  });
};
/** Gradient of Σ weight · gate in the logits. */
function gateGradient(logits: number[][], weights: number[], tokens: TokenInfo, options: RouteOptions): number[] {
  return tf.tidy(() => {
    const loss = (z: Tensor2D) => {
      const { gate_TK } = route(z, tokens, options);
      return gate_TK.mul(tf.tensor2d(weights, gate_TK.shape)).sum().asScalar();
    };
    return Array.from(
      tf
        .grad(z => loss(z as Tensor2D))(tf.tensor2d(logits))
        .dataSync(),
    );
  });
}

describe('the vectors of the paper', () => {
  const four = [2, 1, 0, -1];
  const seven = [0.1, 0.2, 0, -0.1, 0.3, 0, 0.05];
  test.each([
    [four, 3, 'forced' as const, [0, 3], [0.643914, 0.032059]],
    [four, 1, 'forced' as const, [0, 1], [0.643914, 0.236883]],
    [four, 0, 'forced' as const, [0, 1], [0.643914, 0.236883]],
    [four, 3, 'free' as const, [0, 1], [0.643914, 0.236883]],
    [four, 2, 'free' as const, [0, 1], [0.643914, 0.236883]],
    [seven, 3, 'forced' as const, [4, 3], [0.176856, 0.11855]],
    [seven, 3, 'free' as const, [4, 1], [0.176856, 0.160026]],
  ])('logits %j, language expert %i, %s', (logits, language, mode, ids, gates) => {
    const answer = routed([logits], tokensOf([language]), { ...hybrid, mode });
    expect(answer.ids).toEqual(ids);
    close(answer.gates, gates, 5.1e-7);
  });

  test('probabilities are over all experts', () => {
    close(routed([four], tokensOf([0]), hybrid).p, [0.643914, 0.236883, 0.087144, 0.032059], 5.1e-7);
    const p = [0.144797, 0.160026, 0.131018, 0.11855, 0.176856, 0.131018, 0.137735];
    close(routed([seven], tokensOf([0]), hybrid).p, p, 5.1e-7);
  });

  test('normalised gates', () => {
    const { gates } = routed([four], tokensOf([3]), { ...hybrid, normalise: true });
    close(gates, [0.643914 / 0.675973, 0.032059 / 0.675973], 2e-6);
  });
});

test('ties go to the lower id', () => {
  expect(routed([[1, 3, 3, 1, 3]], tokensOf([-1]), hybrid).ids).toEqual([1, 2]);
  expect(routed([[0, 0, 0, 0, 0]], tokensOf([4]), hybrid).ids).toEqual([0, 4]);
});

test('forced: the language expert is always among the k; free ignores it', () => {
  const random = seedrandom('forced');
  const normal = () => 3 * (random() + random() - 1);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 6 }),
      fc.context(),
      (experts, tokens, context) => {
        const k = 1 + Math.floor(random() * experts);
        const logits = Array.from({ length: tokens }, () => Array.from({ length: experts }, normal));
        const languages = Array.from({ length: tokens }, () => Math.floor(random() * experts));
        context.log(JSON.stringify({ k, logits, languages }));
        const forced = routed(logits, tokensOf(languages), { ...hybrid, k });
        languages.forEach((language, t) => {
          const row = forced.ids.slice(t * k, (t + 1) * k);
          expect(row).toContain(language);
          row.forEach((e, j) => {
            expect(forced.gates[t * k + j]).toBe(forced.p[t * experts + e]);
          });
        });
        const free = { ...hybrid, k, mode: 'free' as const };
        expect(routed(logits, tokensOf(languages), free)).toEqual(routed(logits, tokensOf(null, tokens), free));
      },
    ),
    { numRuns: 100 },
  );
});

describe('hinted', () => {
  const hinted: RouteOptions = { ...hybrid, mode: 'hinted', hintBias: 2 };
  test('is top-k of logits with the bonus added, and the gates are of that softmax', () => {
    const answer = routed([[2, 1, 0, -1], [2, 1, 0, -1]], tokensOf([2, -1]), hinted); // biome-ignore format: a pair
    const moved = routed([[2, 1, 2, -1]], tokensOf([-1]), hybrid);
    expect(answer.ids).toEqual([0, 2, 0, 1]);
    close(answer.gates, [...moved.gates, 0.643914, 0.236883], 1e-6);
  });

  test('a bonus of 0 is free routing', () => {
    const logits = [[0.3, -0.2, 0.9]];
    const none = routed(logits, tokensOf([1]), { ...hinted, hintBias: 0 });
    expect(none).toEqual(routed(logits, tokensOf([1]), { ...hybrid, mode: 'free' }));
  });
});

test('a selection bias moves the choice and leaves the gates alone', () => {
  const selectionBias_E = Float32Array.of(-0.5, 0, 0.1, 0);
  const free: RouteOptions = { ...hybrid, mode: 'free', selectionBias_E };
  const { ids, gates } = routed([[2, 1, 0, -1]], tokensOf([0]), free);
  expect(ids).toEqual([1, 2]);
  close(gates, [0.236883, 0.087144], 5.1e-7);
});

describe('gradients of the gates', () => {
  const logits = [[2, 1, 0, -1], [0.3, -0.4, 0.8, 0.1], [-1, 0.5, 0.2, 1.5]]; // biome-ignore format: a matrix
  const weights = [0.7, -1.3, 0.4, 2.1, -0.6, 0.9];
  const tokens = tokensOf([3, 1, -1]);

  test.each([
    ['forced raw', hybrid],
    ['forced normalised', { ...hybrid, normalise: true }],
    ['free raw', { ...hybrid, mode: 'free' as const }],
    ['hinted normalised', { ...hybrid, mode: 'hinted' as const, hintBias: 0.5, normalise: true }],
  ])('%s: against the closed form in double precision, and finite differences of it', (_, options) => {
    const { ids } = routed(logits, tokens, options);
    const value = (z: number[][]) => z.reduce((sum, row, t) => sum + gateSum(row, t), 0);
    const gateSum = (row: number[], t: number) => {
      const language = tokens.languageExpert_T![t];
      const shifted = row.map((v, e) => v + (options.mode === 'hinted' && e === language ? options.hintBias : 0));
      const total = shifted.reduce((sum, v) => sum + Math.exp(v), 0);
      const chosen = [ids[t * 2], ids[t * 2 + 1]].map(e => Math.exp(shifted[e]) / total);
      const mass = options.normalise ? chosen[0] + chosen[1] : 1;
      return chosen.reduce((sum, p, j) => sum + (weights[t * 2 + j] * p) / mass, 0);
    };
    const step = 1e-6;
    const expected = logits.flatMap((row, t) =>
      row.map((_, e) => {
        const moved = (by: number) => logits.map((r, i) => r.map((v, j) => (i === t && j === e ? v + by : v)));
        return (value(moved(step)) - value(moved(-step))) / (2 * step);
      }),
    );
    close(gateGradient(logits, weights, tokens, options), expected, 1e-6);
  });

  test('the forced expert sends gradient to its own logit, however small its probability', () => {
    const gradient = gateGradient([[9, 8, 0, -5]], [0, 1], tokensOf([3]), hybrid);
    const p = routed([[9, 8, 0, -5]], tokensOf([3]), hybrid).p[3];
    expect(p).toBeLessThan(1e-6);
    expect(Math.abs(gradient[3] / (p * (1 - p)) - 1)).toBeLessThan(1e-5);
    expect(gradient[0]).toBeLessThan(0);
  });

  test('language-specific: exactly zero', () => {
    const options: RouteOptions = { ...hybrid, kind: 'language', k: 1 };
    const gradient = gateGradient(logits, [1, 2, 3], tokensOf([3, 1, 0]), options);
    expect(gradient.every(g => g === 0)).toBe(true);
  });
});

describe('language-specific', () => {
  const language: RouteOptions = { ...hybrid, kind: 'language', k: 1 };
  const logits = [[2, 1, 0, -1], [2, 1, 0, -1]]; // biome-ignore format: a pair
  test('training: gate 1 on the language expert', () => {
    const { ids, gates } = routed(logits, tokensOf([3, 1]), language);
    expect([ids, gates]).toEqual([[3, 1], [1, 1]]); // biome-ignore format: a pair
  });
  test('inference without ids: the first choice with its probability', () => {
    const { ids, gates } = routed(logits, tokensOf(null, 2), { ...language, mode: 'free' });
    expect(ids).toEqual([0, 0]);
    close(gates, [0.643914, 0.643914], 5.1e-7);
  });
});

describe('expert choice and hash', () => {
  test('expert choice: empty slots have gate 0, also when normalised', () => {
    const logits = [[3, 0], [1, 0], [1, 0]]; // biome-ignore format: a matrix
    const options: RouteOptions = { ...hybrid, kind: 'expert-choice', mode: 'free', k: 1 };
    const tokens = { ...tokensOf(null, 3), counted_T: Uint8Array.of(1, 1, 0) };
    const raw = routed(logits, tokens, options);
    expect([raw.k, raw.ids]).toEqual([1, [0, 1, -1]]);
    close(raw.gates, [1 / (1 + Math.exp(-3)), 1 / (1 + Math.exp(1)), 0]);
    expect(routed(logits, tokens, { ...options, normalise: true }).gates).toEqual([1, 1, 0]);
  });

  test('hash: same token, same experts, gates 1/k; probabilities when asked', () => {
    const logits = [[2, 1, 0, -1], [0, 0, 0, 5]]; // biome-ignore format: a pair
    const tokens = { ...tokensOf(null, 2), tokenId_T: Int32Array.of(42, 42) };
    const options: RouteOptions = { ...hybrid, kind: 'hash', mode: 'free' };
    const equal = routed(logits, tokens, options);
    expect(equal.ids.slice(0, 2)).toEqual(equal.ids.slice(2));
    expect(equal.gates).toEqual([0.5, 0.5, 0.5, 0.5]);
    const learned = routed(logits, tokens, { ...options, hash: { seed: 0, gate: 'probability' } });
    close(
      learned.gates,
      [0, 1, 2, 3].map(slot => learned.p[Math.floor(slot / 2) * 4 + learned.ids[slot]]),
      0,
    );
  });
});

test('gates without any mass are 0, not NaN', () => {
  const { gates } = routed([[200, 0, 0]], tokensOf([2]), { ...hybrid, k: 1, normalise: true });
  expect(gates).toEqual([0]);
  const gradient = gateGradient([[200, 0, 0]], [1], tokensOf([2]), { ...hybrid, k: 1, normalise: true });
  expect(gradient).toEqual([0, 0, 0]);
});

describe('what cannot be done is said', () => {
  const logits = [[1, 2, 3]];
  test.each([
    [{ ...hybrid, k: 4 }, tokensOf([0]), /k = 4 .* 3 experts: choose 1 to 3/],
    [{ ...hybrid, k: 0 }, tokensOf([0]), /k = 0/],
    [hybrid, tokensOf(null, 1), /mode forced needs the language/],
    [hybrid, tokensOf([3]), /Token 0 asks for language expert 3/],
    [{ ...hybrid, kind: 'top-k' as const }, tokensOf([0]), /top-k has no mode forced/],
    [{ ...hybrid, kind: 'language' as const }, tokensOf([0]), /k = 2: set k to 1/],
    [{ ...hybrid, kind: 'hash' as const }, tokensOf([0]), /hash has no mode forced/],
  ])('%#', (options, tokens, message) => {
    expect(() => routed(logits, tokens, options)).toThrow(UserError);
    expect(() => routed(logits, tokens, options)).toThrow(message);
  });
});
