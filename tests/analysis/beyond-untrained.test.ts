// A profile held against routers drawn at random: the bound by hand, and verdicts that stay or fall.
import { describe, expect, it } from 'vitest';
import { heldAgainst } from '../../analysis/beyond-untrained.ts';
import type { Contrast } from '../../analysis/contrast.ts';
import type { LanguageRows } from '../../analysis/document-counts.ts';
import type { Spread } from '../../analysis/spread.ts';
import { spreadHeadline, spreadNumbers } from '../../analysis/spread-sentence.ts';

/** Two languages and two experts: language 0 takes expert 0 with probability p, language 1 with 1 − p; D = 1 − H(p) / ln 2. */
function rows(...p: number[]): LanguageRows {
  const q = Float64Array.from(p.flatMap(share => [share, 1 - share, 1 - share, share]));
  return { layers: p.length, languages: 2, experts: 2, q, present: Uint8Array.from([1, 1]) };
}
const D = (p: number) => 1 + (p * Math.log(p) + (1 - p) * Math.log(1 - p)) / Math.LN2;

const contrast = (plugIn: number): Contrast => {
  return { plugIn, estimate: plugIn, se: 0.01, low: plugIn - 0.02, high: plugIn + 0.02, bound: plugIn - 0.0164 };
};
/** A late spread by its texts: early .1, middle .2, late .5. */
function spread(lateEarly = 0.4, lateMiddle = 0.3, earlyMiddle = -0.1): Spread {
  const of = { early: 0.1, middle: 0.2, late: 0.5, index: lateMiddle, lateEarly, lateMiddle, earlyMiddle };
  const contrasts = Object.fromEntries(Object.entries(of).map(([name, value]) => [name, contrast(value)]));
  return {
    verdict: 'late spread',
    reason: null,
    bands: { early: [0], middle: [1], late: [2] },
    profile: [],
    contrasts,
    lastTwo: null,
    concentration: null,
    smallest: 0.02,
    languages: 2,
    units: { kind: 'items', number: 40 },
  } as unknown as Spread;
}

describe('heldAgainst', () => {
  it('takes off the mean of the routers and Student’s bound for one more', () => {
    const p = [
      [0.5, 0.6, 0.7],
      [0.6, 0.5, 0.65],
      [0.55, 0.6, 0.75],
    ];
    const { beyond, verdict } = heldAgainst(
      spread(),
      p.map(each => rows(...each)),
    );
    const values = p.map(([early, , late]) => D(late) - D(early));
    const mean = values.reduce((a, b) => a + b, 0) / 3;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 2;
    expect(beyond?.mean.lateEarly).toBeCloseTo(mean, 12);
    // t(.95, 2 degrees of freedom) = 2.91998558
    expect(beyond?.bound.lateEarly).toBeCloseTo(0.4 - mean - 2.91998558 * Math.sqrt((variance * 4) / 3 + 1e-4), 7);
    expect(beyond).toMatchObject({ routers: 3, byTexts: 'late spread' });
    expect(verdict).toBe('late spread');
  });

  it('a late spread that no random router has stays one', () => {
    const flat = [rows(0.6, 0.6, 0.6), rows(0.61, 0.6, 0.605), rows(0.6, 0.61, 0.6), rows(0.605, 0.6, 0.6)];
    const held = heldAgainst(spread(), flat);
    expect(held.verdict).toBe('late spread');
    expect(spreadHeadline(held)).toBe('Late spread: experts tell languages apart best in the last 1 of 3 MoE layers');
    expect(spreadNumbers(held)).toContain('over 4 routers drawn at random late minus early is ');
  });

  it('one that random routers show as well is none of the router’s own, and the headline says so', () => {
    const same = [rows(0.68, 0.75, 0.9), rows(0.67, 0.74, 0.89), rows(0.69, 0.76, 0.91), rows(0.68, 0.74, 0.9)];
    const held = heldAgainst(spread(), same);
    expect(held.verdict).toBe('neither');
    expect(spreadHeadline(held)).toMatch(
      /^Neither late spread nor a U-shape of the router's own: .*looks like late spread, but routers/,
    );
    expect(spreadNumbers(held)).not.toContain('8 times in 10');
  });

  it('two routers have no spread to speak of, and without bounds nothing changes', () => {
    const raw = spread();
    expect(heldAgainst(raw, [rows(0.5, 0.6, 0.9), rows(0.5, 0.6, 0.9)])).toBe(raw);
    const unknown = { ...raw, verdict: 'cannot tell' } as Spread;
    expect(heldAgainst(unknown, [rows(0.5, 0.6, 0.7), rows(0.5, 0.6, 0.7), rows(0.5, 0.6, 0.7)])).toBe(unknown);
  });
});
