// Sparse upcycling: copies, noise, router starts, and the promise about step 0.
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { ffn } from '../../experts/ffn.ts';
import { type MoeOptions, moeLayer } from '../../experts/layer.ts';
import {
  expectedScale,
  type HostFfn,
  initRouter,
  type RouterInit,
  upcycleFfn,
  upcycleShared,
  upcyclingError,
} from '../../experts/upcycle.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';
import { createRng } from '../../src/train/rng.ts';
import { PAPER, randomMatrix, tidied, valuesOf } from './toy.ts';

const [WIDTH, EXPERT_WIDTH, EXPERTS, TOKENS] = [8, 12, 5, 30];
const sampler = (seed: string) => {
  const normal = normalDraws(seed);
  return (size: number, scale: number) => Float32Array.from({ length: size }, () => scale * normal());
};
const denseFfn = (seed = 'dense'): HostFfn => {
  const draw = sampler(seed);
  const size = WIDTH * EXPERT_WIDTH;
  return { gate_proj: draw(size, 0.5), up_proj: draw(size, 0.4), down_proj: draw(size, 0.3) };
};
const onDevice = ({ gate_proj, up_proj, down_proj }: HostFfn) => ({
  gate_proj: tf.tensor2d(gate_proj, [EXPERT_WIDTH, WIDTH]),
  up_proj: tf.tensor2d(up_proj, [EXPERT_WIDTH, WIDTH]),
  down_proj: tf.tensor2d(down_proj, [WIDTH, EXPERT_WIDTH]),
});
const spread = (values: Float32Array) => {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
};

test('normal numbers: mean, spread, third and fourth moment of 200,000 draws', () => {
  const draw = sampler('moments')(200_000, 1);
  const moment = (power: number) => draw.reduce((sum, v) => sum + v ** power, 0) / draw.length;
  [0, 1, 0, 3].forEach((expected, i) => {
    expect(Math.abs(moment(i + 1) - expected)).toBeLessThan(0.05);
  });
});

/** Draws from N(0, 1), the same for the same seed. */
const normalDraws = (seed: string) => createRng(seed).gaussian;

describe('experts', () => {
  test('without noise: E copies, equal to the bit, sharing no memory', () => {
    const dense = denseFfn();
    const experts = upcycleFfn(dense, EXPERTS, 0, normalDraws('unused'));
    expect(experts).toEqual(new Array(EXPERTS).fill(denseFfn()));
    experts[0].gate_proj[0] = 99;
    expect(dense).toEqual(denseFfn());
    expect(experts[1]).toEqual(denseFfn());
  });

  test('with noise: relative to each tensor, different in each expert, the same from the same seed', () => {
    const wide = { ...denseFfn(), gate_proj: sampler('wide')(40_000, 5) };
    const noisy = upcycleFfn(wide, 2, 0.1, normalDraws('noise'));
    for (const name of ['gate_proj', 'up_proj', 'down_proj'] as const) {
      const noise = noisy[0][name].map((v, i) => v - wide[name][i]);
      const tolerance = name === 'gate_proj' ? 0.02 : 0.25;
      expect(Math.abs(spread(noise) / (0.1 * spread(wide[name])) - 1)).toBeLessThan(tolerance);
      expect(noisy[0][name]).not.toEqual(noisy[1][name]);
    }
    expect(upcycleFfn(wide, 2, 0.1, normalDraws('noise'))).toEqual(noisy);
    expect(upcycleFfn(wide, 2, 0.1, normalDraws('other'))).not.toEqual(noisy);
  });
});

describe('router starts', () => {
  const rowsOf = (init: RouterInit, experts: number, width: number, seed = 'router') => {
    const router = initRouter(init, experts, width, normalDraws(seed));
    return Array.from({ length: experts }, (_, e) => router.slice(e * width, (e + 1) * width));
  };
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0);

  test('zero', () => {
    expect(initRouter({ kind: 'zero' }, 3, 4, normalDraws(''))).toEqual(new Float32Array(12));
  });

  test('normal: the spread asked for, from the seed alone', () => {
    const router = initRouter({ kind: 'normal', std: 0.02 }, 7, 2000, normalDraws('a'));
    expect(Math.abs(spread(router) / 0.02 - 1)).toBeLessThan(0.03);
    expect(initRouter({ kind: 'normal', std: 0.02 }, 7, 2000, normalDraws('a'))).toEqual(router);
  });

  test('orthogonal: rows at right angles, each as long as a normal row is on average; also E = D', () => {
    for (const [experts, width] of [
      [7, 32],
      [6, 6],
    ]) {
      // biome-ignore format: pairs
      const rows = rowsOf({ kind: 'orthogonal', std: 0.5 }, experts, width);
      rows.forEach((row, e) => {
        rows.forEach((other, f) => {
          expect(Math.abs(dot(row, other) - (e === f ? 0.25 * width : 0))).toBeLessThan(1e-5);
        });
      });
    }
    expect(() => rowsOf({ kind: 'orthogonal', std: 1 }, 5, 4)).toThrow(UserError);
  });

  test('centred: rows at right angles to the common mean, otherwise the normal rows', () => {
    const [experts, width] = [4, 16];
    const mean_ED = Float32Array.from({ length: experts * width }, (_, i) => Math.sin(i) + 3);
    const common = Float32Array.from({ length: width }, (_, d) => {
      let sum = 0;
      for (let e = 0; e < experts; e++) sum += mean_ED[e * width + d] / experts;
      return sum;
    });
    const normal = initRouter({ kind: 'normal', std: 0.1 }, experts, width, normalDraws('c'));
    const centred = initRouter({ kind: 'centred', std: 0.1, mean_ED }, experts, width, normalDraws('c'));
    for (let e = 0; e < experts; e++) {
      const [row, was] = [centred, normal].map(rows => rows.slice(e * width, (e + 1) * width));
      expect(Math.abs(dot(row, common))).toBeLessThan(1e-5);
      const lost = was.map((value, d) => value - row[d]); // all of it along the mean
      expect(dot(lost, common) ** 2).toBeCloseTo(dot(lost, lost) * dot(common, common), 5);
    }
    expect(() => initRouter({ kind: 'centred', std: 1, mean_ED }, 3, width, normalDraws('c'))).toThrow(UserError);
  });

  test('biased: the common mean gets a further logit of the asked spread, directions across it nothing', () => {
    const [experts, width] = [64, 16];
    const common = Float32Array.from({ length: width }, (_, d) => (d === 3 ? 0.5 : 0));
    const mean_ED = Float32Array.from({ length: experts * width }, (_, i) => common[i % width]);
    const normal = initRouter({ kind: 'normal', std: 0.02 }, experts, width, normalDraws('b'));
    const biased = initRouter({ kind: 'biased', std: 0.02, bias: 2, mean_ED }, experts, width, normalDraws('b'));
    const logits = Float32Array.from(
      { length: experts },
      (_, e) => (biased[e * width + 3] - normal[e * width + 3]) * 0.5,
    );
    expect(Math.abs(spread(logits) / 2 - 1)).toBeLessThan(5 / Math.sqrt(2 * experts));
    biased.forEach((value, i) => {
      if (i % width !== 3) expect(value).toBe(normal[i]);
    });
  });

  test('hidden-mean: each group scores highest on its own row, though all share a large common direction', () => {
    const draw = sampler('hidden');
    const [experts, width] = [4, 16];
    const common = draw(width, 10);
    const own = Array.from({ length: experts }, () => draw(width, 1));
    const mean_ED = Float32Array.from({ length: experts * width }, (_, i) => {
      return common[i % width] + own[Math.floor(i / width)][i % width];
    });
    const rows = rowsOf({ kind: 'hidden-mean', std: 0.1, mean_ED }, experts, width);
    for (let e = 0; e < experts; e++) {
      const hidden = mean_ED.slice(e * width, (e + 1) * width);
      const scores = rows.map(row => dot(row, hidden));
      expect(scores.indexOf(Math.max(...scores))).toBe(e);
      expect(Math.sqrt(dot(rows[e], rows[e]))).toBeCloseTo(0.4, 5);
    }
    expect(() => rowsOf({ kind: 'hidden-mean', std: 1, mean_ED }, 3, width)).toThrow(UserError);
  });
});

test('expected scale: the sum of gates, plus the shared gate', () => {
  expect(Array.from(expectedScale([0.5, 0.25, 0.125, 0], 2))).toEqual([0.75, 0.125]);
  expect(Array.from(expectedScale([0.5, 0.25, 0.125, 0], 2, [1, 0.5]))).toEqual([1.75, 0.625]);
});

test('upcycling error: relative to the largest dense output; NaN stays NaN wherever it sits', () => {
  expect(upcyclingError([1, 2, 1.5, 2], [2, 4, 3, 4], [0.5, 0.5])).toBe(0);
  expect(upcyclingError([1, 2.5, 1.5, 2], [2, 4, 3, 4], [0.5, 0.5])).toBe(0.125);
  expect(upcyclingError([Number.NaN, 0, 3, 4], [2, 4, 3, 4], [0.5, 0.5])).toBeNaN();
});

describe('step 0', () => {
  beforeAll(() => selectBackend('cpu'));

  /** An upcycled layer, its input, and the dense network's answer to it. */
  function upcycled(options: Partial<MoeOptions>, noise: number, shared: boolean) {
    return tidied(() => {
      const normal = normalDraws('step 0');
      const x_TD = randomMatrix(TOKENS, WIDTH, 1, seedrandom('step 0'));
      const router = initRouter({ kind: 'normal', std: 0.7 }, EXPERTS, WIDTH, normal);
      const host = upcycleShared(denseFfn(), WIDTH, 0.5, normal);
      const copy = { ffn: onDevice(host.ffn), sharedGate_1D: tf.tensor2d(host.sharedGate_1D, [1, WIDTH]) };
      const weights = {
        router_ED: tf.tensor2d(router, [EXPERTS, WIDTH]),
        experts: upcycleFfn(denseFfn(), EXPERTS, noise, normal).map(onDevice),
        ...(shared ? { shared: copy } : {}),
      };
      const tokens = {
        languageExpert_T: Int32Array.from({ length: TOKENS }, (_, t) => t % EXPERTS),
        counted_T: new Uint8Array(TOKENS).fill(1),
        tokenId_T: new Int32Array(TOKENS),
      };
      const { y_TD, routing } = moeLayer(x_TD, weights, tokens, { ...PAPER, ...options });
      const sharedGate_T = shared ? valuesOf(linear(x_TD, copy.sharedGate_1D).sigmoid()) : undefined;
      const scale_T = expectedScale(valuesOf(routing.gate_TK), routing.k, sharedGate_T);
      return { y: valuesOf(y_TD), dense: valuesOf(ffn(x_TD, onDevice(denseFfn()))), scale_T };
    });
  }

  test('normalised: exactly the dense network, whatever the routing', () => {
    for (const mode of ['forced', 'free'] as const) {
      const { y, dense, scale_T } = upcycled({ normalise: true, mode }, 0, false);
      for (const scale of scale_T) expect(Math.abs(scale - 1)).toBeLessThan(1e-6);
      expect(upcyclingError(y, dense, new Float64Array(TOKENS).fill(1))).toBeLessThan(1e-6);
    }
  });

  test('raw: the dense network times the chosen mass, which is below 1', () => {
    const { y, dense, scale_T } = upcycled({}, 0, false);
    expect(Math.max(...scale_T)).toBeLessThan(1);
    expect(upcyclingError(y, dense, scale_T)).toBeLessThan(1e-6);
    expect(upcyclingError(y, dense, new Float64Array(TOKENS).fill(1))).toBeGreaterThan(0.1);
  });

  test('a shared copy adds its gate to the scale', () => {
    const { y, dense, scale_T } = upcycled({ kind: 'language', k: 1 }, 0, true);
    expect(Math.min(...scale_T)).toBeGreaterThan(1);
    expect(upcyclingError(y, dense, scale_T)).toBeLessThan(1e-6);
  });

  test('noise breaks the equality, so the check can fail', () => {
    const { y, dense, scale_T } = upcycled({ normalise: true }, 0.1, false);
    expect(upcyclingError(y, dense, scale_T)).toBeGreaterThan(1e-3);
  });
});
