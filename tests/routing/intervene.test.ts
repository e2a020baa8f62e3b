// Acts on router logits: the published rules on four logits by hand, what a router makes of them, and what must never happen:
// mass on an expert that was taken away, a changed bit where nothing was asked, a token without its k.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Act, actOn, checkActs, deviation, STEP } from '../../routing/intervene/acts.ts';
import type { RouterEdit } from '../../routing/intervene/edit.ts';
import { route } from '../../routing/router.ts';
import type { RouteOptions, RouterKind } from '../../routing/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const z = [2, 1, 0, -1];

/** Logits after the acts. */
function acted(z_E: number[], ...acts: Act[]): number[] {
  const out = new Float32Array(z_E.length);
  actOn(z_E, acts, out);
  return [...out];
}

interface Routed {
  ids: number[];
  gates: number[];
  /** [T][E] */
  p: number[][];
}

/** Routes tokens given by their logits. */
function routed(logits: number[][], edit?: RouterEdit, more: Partial<RouteOptions> = {}, experts?: number[]): Routed {
  let ids: number[] = [];
  const tensors = tf.tidy(() => {
    const routing = route(
      tf.tensor2d(logits),
      {
        languageExpert_T: experts ? Int32Array.from(experts) : null,
        counted_T: new Uint8Array(logits.length).fill(1),
        tokenId_T: new Int32Array(logits.length),
      },
      { kind: 'hybrid-k', k: 2, mode: 'free', normalise: false, hintBias: 1, edit, ...more },
    );
    ids = [...(routing.expertId_TK as Int32Array)];
    return [routing.gate_TK, routing.probabilities_TE] as Tensor2D[];
  });
  const [gate, p] = tensors.map(tensor => tensor.arraySync());
  tf.dispose(tensors);
  return { ids, gates: gate.flat(), p };
}

const everywhere = (...acts: Act[]): RouterEdit => ({ acts, acted_T: null });
const digits = (values: number[], printed: number[]): void => {
  expect(values).toHaveLength(printed.length);
  for (const [i, value] of printed.entries()) expect(values[i]).toBeCloseTo(value, 6);
};

describe('on four logits', () => {
  test('soft steering by half and by one deviation', () => {
    expect(deviation(z)).toBeCloseTo(1.118034, 6);
    digits(acted(z, { kind: 'soft', experts: [2], strength: 0.5 }), [2, 1, 0.559017, -1]);
    const half = routed([z], everywhere({ kind: 'soft', experts: [2], strength: 0.5 }));
    digits(half.p[0], [0.604463, 0.222369, 0.143073, 0.030094]);
    expect(half.ids).toEqual([0, 1]);
    const one = routed([z], everywhere({ kind: 'soft', experts: [2], strength: 1 }));
    digits(one.p[0], [0.54596, 0.200848, 0.22601, 0.027182]);
    expect(one.ids).toEqual([0, 2]);
  });

  test('a masked expert leaves its mass to the others', () => {
    const { p, ids } = routed([z], everywhere({ kind: 'mask', experts: [0] }));
    digits(p[0], [0, 0.665241, 0.244728, 0.090031]);
    expect(p[0][0]).toBe(0);
    expect(ids).toEqual([1, 2]);
  });

  test('hard steering: above all others, the lower id first; off: below all, the lower id first', () => {
    digits(acted(z, { kind: 'hard', experts: [3, 1] }), [2, 2 + 2 * STEP, 0, 2 + STEP]);
    expect(routed([z], everywhere({ kind: 'hard', experts: [3, 1] })).ids).toEqual([1, 3]);
    digits(acted(z, { kind: 'off', experts: [1, 0] }), [-1 - STEP, -1 - 2 * STEP, 0, -1]);
    expect(routed([z], everywhere({ kind: 'off', experts: [1, 0] })).ids).toEqual([2, 3]);
  });

  test('shares move a logit by its size: 0 cannot move', () => {
    const act: Act = { kind: 'share', share_E: [0.5, 0, 1, 0.25], strength: 0.4 };
    digits(acted(z, act), [2 + 0.4 * 0.5 * 2, 1, 0, -1 + 0.4 * 0.25]);
  });

  test('zero: the same choice and gates, but for the expert that is silenced', () => {
    const plain = routed([z]);
    const { ids, gates, p } = routed([z], everywhere({ kind: 'zero', experts: [1] }));
    expect([ids, p]).toEqual([plain.ids, plain.p]);
    expect(gates).toEqual([plain.gates[0], 0]);
    const halves = routed([z], everywhere({ kind: 'zero', experts: [1] }), { normalise: true });
    expect(halves.gates[0]).toBeCloseTo(plain.gates[0] / (plain.gates[0] + plain.gates[1]), 6); // shares of all k
  });

  test('acts read the router’s logits, not each other’s', () => {
    const soft: Act = { kind: 'soft', experts: [2], strength: 1 };
    const both = acted(z, { kind: 'mask', experts: [0] }, soft);
    expect(both).toEqual([Number.NEGATIVE_INFINITY, 1, acted(z, soft)[2], -1]);
  });
});

test('the tokens where acts hold, and how many of them changed their experts', () => {
  const logits = [z, z, [2, 1, 0.9, -1], z];
  const told: [number, number][] = [];
  const edit = {
    acts: [{ kind: 'soft', experts: [2], strength: 0.5 } as const],
    acted_T: Uint8Array.of(1, 0, 1, 0),
    told: (tokens: number, flipped: number) => void told.push([tokens, flipped]),
  };
  const { ids, p } = routed(logits, edit);
  const plain = routed(logits);
  expect(told).toEqual([[2, 1]]); // of the two only the third leaves expert 1 for expert 2; the first changes its gates alone
  expect(ids).toEqual([0, 1, 0, 1, 0, 2, 0, 1]);
  expect([p[1], p[3]]).toEqual([plain.p[1], plain.p[3]]);
  expect(p[0]).not.toEqual(plain.p[0]);
});

const logits = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 3, max: 9 })).chain(([T, E]) =>
  fc.array(
    fc.array(
      fc.integer({ min: -400, max: 400 }).map(x => x / 8),
      { minLength: E, maxLength: E },
    ),
    {
      minLength: T,
      maxLength: T,
    },
  ),
);

test('without strength every bit stays', () => {
  fc.assert(
    fc.property(logits, rows => {
      const E = rows[0].length;
      const idle: Act[] = [
        { kind: 'soft', experts: [0, E - 1], strength: 0 },
        { kind: 'share', share_E: rows[0].map((_, e) => e / E), strength: 0 },
        { kind: 'mask', experts: [] },
        { kind: 'hard', experts: [] },
      ];
      expect(routed(rows, everywhere(...idle))).toEqual(routed(rows));
    }),
    { numRuns: 40 },
  );
});

test('no mass leaks to masked experts, and the rest route as if these had never been', () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 0, max: 1000 }), (rows, pick) => {
      const E = rows[0].length;
      const masked = Array.from({ length: E }, (_, e) => e).filter(e => (pick >> e) % 2 === 1);
      fc.pre(masked.length > 0 && masked.length <= E - 2);
      const { ids, gates, p } = routed(rows, everywhere({ kind: 'mask', experts: masked }));
      const left = Array.from({ length: E }, (_, e) => e).filter(e => !masked.includes(e));
      const alone = routed(rows.map(row => left.map(e => row[e])));
      for (const row of p) for (const e of masked) expect(row[e]).toBe(0);
      expect(ids).toEqual(alone.ids.map(e => left[e]));
      expect(gates).toEqual(alone.gates);
      expect(p.map(row => left.map(e => row[e]))).toEqual(alone.p);
    }),
    { numRuns: 60 },
  );
});

test('a masked expert is not chosen even where all mass has gone below fp32', () => {
  // e^−200 is 0: experts 1 and 2 tie with the masked expert 0 at probability 0, and 0 has the lower id.
  expect(routed([[5, -200, -300, 0]], everywhere({ kind: 'mask', experts: [0] })).ids).toEqual([3, 1]);
});

test('a forced language expert that is masked is not forced', () => {
  const edit = everywhere({ kind: 'mask', experts: [3] });
  expect(routed([z, z], undefined, { mode: 'forced' }, [3, 2]).ids).toEqual([0, 3, 0, 2]);
  expect(routed([z, z], edit, { mode: 'forced' }, [3, 2]).ids).toEqual([0, 1, 0, 2]);
});

test('a hint is part of the logits that are changed', () => {
  const act: Act = { kind: 'off', experts: [0] };
  const hinted = routed([z], everywhere(act), { mode: 'hinted', hintBias: 10 }, [2]);
  const byHand = routed([[-1 - STEP, 1, 10, -1]]);
  expect(hinted.ids).toEqual(byHand.ids);
});

test('what cannot be done is refused in one sentence', () => {
  const refused = (...acts: Act[]) => {
    try {
      checkActs(acts, 4, 7, 2);
    } catch (error) {
      return (error as Error).message;
    }
    return null;
  };
  const start = 'Layer 4 has 7 experts of which 2 serve each token: ';
  const six = [0, 1, 2, 3, 4, 5];
  expect(refused({ kind: 'mask', experts: six.slice(0, 5) }, { kind: 'zero', experts: six })).toBeNull();
  expect(refused({ kind: 'mask', experts: six })).toBe(`${start}at most 5 can be masked, not 6.`);
  expect(refused({ kind: 'mask', experts: [0, 1, 2] }, { kind: 'mask', experts: [2, 3, 4, 5] })).toMatch(
    /masked, not 6/,
  );
  expect(refused({ kind: 'hard', experts: [1, 2, 3] })).toBe(`${start}at most 2 can be made to serve, not 3.`);
  expect(refused({ kind: 'off', experts: six })).toBe(`${start}at most 5 can be put last, not 6.`);
  expect(refused({ kind: 'soft', experts: [7], strength: 1 })).toBe(
    `${start}there is no expert 7; choose from 0 to 6.`,
  );
  expect(refused({ kind: 'soft', experts: [1, 1], strength: 1 })).toBe(`${start}1, 1 names an expert twice.`);
  expect(refused({ kind: 'share', share_E: [1], strength: 1 })).toBe(`${start}give a share for each, not 1.`);
  for (const kind of ['hash', 'expert-choice'] as RouterKind[])
    expect(() => routed([z], everywhere({ kind: 'mask', experts: [0] }), { kind })).toThrow(
      /there is nothing to change\.$/,
    );
});
