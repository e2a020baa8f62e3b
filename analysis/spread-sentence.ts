// The outcome of the test of late spread in words for a reader who has seen nothing else, every claim with its numbers.
import type { Contrast } from './contrast.ts';
import type { Spread } from './spread.ts';
import { type SpreadControl, UNTRAINED } from './spread-controls.ts';

const percent = (share: number) => `${(100 * Math.max(share, 0)).toFixed(1)} %`;
const points = (share: number) => signed(100 * share, 1);
function signed(value: number, digits: number): string {
  const size = Math.abs(value).toFixed(digits);
  return `${Number(size) === 0 ? '±' : value < 0 ? '−' : '+'}${size}`;
}
const within = ({ estimate, low, high }: Contrast) =>
  low === null || high === null
    ? `${points(estimate)} points`
    : `${points(estimate)} points, 95 % interval ${points(low)} to ${points(high)}`;

/** The verdict and what it means, without a number: for a headline. No full stop. */
export function spreadHeadline({ verdict, reason, bands, contrasts, profile, beyond }: Spread): string {
  if (!bands || !contrasts) return `Cannot tell whether routing spreads out by language in the end: ${reason}`;
  const L = bands.early.length + bands.middle.length + bands.late.length;
  const end = `the last ${bands.late.length} of ${L} MoE layers`;
  const first = bands.early.length;
  const nowhere = profile.every(({ pFamily }) => (pFamily ?? 0) > 0.05)
    ? `in none of the ${L} MoE layers do experts tell languages apart beyond chance`
    : null;
  if (beyond && verdict === 'neither' && beyond.byTexts !== 'neither') {
    const looks = beyond.byTexts === 'U-shape' ? 'a U-shape' : 'late spread';
    return `Neither late spread nor a U-shape of the router's own: its profile over ${L} MoE layers looks like ${looks}, but routers drawn at random show as much`;
  }
  return {
    'late spread': `Late spread: experts tell languages apart best in ${end}`,
    'U-shape': `U-shape: experts tell languages apart in the first ${first} and ${end}, less in between, and the end is not above the beginning`,
    both: `Late spread on top of a U-shape: experts tell languages apart best in ${end}, but also more in the first ${first} than in between`,
    neither: `Neither late spread nor a U-shape: ${nowhere ?? `experts do not tell languages apart better in ${end} than before`}`,
    'cannot tell': `Cannot tell whether routing spreads out by language in the end: ${reason}`,
  }[verdict];
}

/** The numbers behind the headline and what they rest on; empty without depth. No full stop. */
export function spreadNumbers({ verdict, bands, contrasts, languages, units, smallest, beyond }: Spread): string {
  if (!bands || !contrasts) return '';
  const [first, between, last] = [bands.early, bands.middle, bands.late].map(band => band.length);
  const numbers =
    `the expert of a token gives away ${percent(contrasts.late.estimate)} of its language's identity in the last ${last}, ` +
    `${percent(contrasts.early.estimate)} in the first ${first} and ${percent(contrasts.middle.estimate)} in the ${between} between`;
  const texts = `${units.number} ${units.kind === 'items' ? 'parallel texts' : 'documents'} in each of ${languages} languages`;
  const power =
    verdict === 'neither' && (beyond?.byTexts ?? verdict) === 'neither' && smallest
      ? `; ${points(smallest)} would be found 8 times in 10`
      : '';
  const random = beyond
    ? `; over ${beyond.routers} routers drawn at random late minus early is ${points(beyond.mean.lateEarly)} and late minus middle ${points(beyond.mean.lateMiddle)}`
    : '';
  const basis = `late minus the larger of both ${within(contrasts.index)}${power}${random}; ${texts}, one trained model`;
  return `${numbers} (${basis})`;
}

/** One sentence: the verdict, what it means, the numbers, and what they rest on. */
export function spreadSentence(spread: Spread): string {
  const numbers = spreadNumbers(spread);
  if (numbers === '') return `${spreadHeadline(spread)}.`;
  return `${spreadHeadline(spread)}${spread.verdict === 'cannot tell' ? '; as far as can be seen, ' : ': '}${numbers}.`;
}

/** Part (a): whether early layers send everybody through a few shared experts. Empty where depth cannot be judged. */
export function concentrationSentence({ concentration }: Spread, balance?: number): string {
  if (!concentration) return '';
  const { effective, nodes, overlap, verdict } = concentration;
  const word = { yes: 'yes', partly: 'in part', no: 'no', 'cannot tell': 'cannot tell' }[verdict];
  const range = ({ estimate, low, high }: Contrast, digits: number) => {
    const change = signed(estimate, digits);
    return low === null || high === null ? change : `${change} [${signed(low, digits)}, ${signed(high, digits)}]`;
  };
  const balanced = balance ? ` Load was balanced in training (coefficient ${balance}), which works against it.` : '';
  return (
    `Do early layers send all languages through a few shared experts: ${word}. From early to late, effective experts change by ` +
    `${range(effective, 2)}, experts that carry half of the traffic by ${range(nodes, 1)}, ` +
    `routing shared by two languages by ${range(overlap, 3)}.${balanced}`
  );
}

/** Whether distances to the pivot say the same as information. Empty where they were not resampled. */
export function distanceSentence({ verdict, distance }: Spread, pivot: string): string {
  if (!distance) return '';
  const agrees = distance.verdict === verdict ? 'says the same' : `says otherwise (${distance.verdict})`;
  const { estimate, low, high } = distance.contrasts.index;
  const interval = low === null || high === null ? '' : ` [${signed(low, 3)}, ${signed(high, 3)}]`;
  return `Measured by distance from ${pivot} (0 to 1), the profile ${agrees}: late minus the larger of early and middle ${signed(estimate, 3)}${interval}.`;
}

/** What the controls leave of a late excess, one sentence each. */
export function controlSentences(controls: SpreadControl[]): string[] {
  return controls.map(({ kind, label, contrasts, verdict }) => {
    const what = {
      untrained:
        label === 'untrained router'
          ? 'An untrained router in the same model'
          : 'The trained router minus the untrained one',
      'same-script': `Among the ${label} alone`,
      lexical: 'Given the token itself',
    }[kind];
    const judged = verdict === 'cannot tell' ? 'without interval' : `by itself: ${verdict}`;
    return `${what}: late minus the larger of early and middle ${within(contrasts.index)} (${judged}).`;
  });
}

/**
 * Whether a late spread may be called one of language: it must stay beside every control that was made. Empty for other verdicts and
 * without controls.
 */
export function attributionSentence({ verdict }: Pick<Spread, 'verdict'>, controls: SpreadControl[]): string {
  const tests = controls.filter(({ label }) => label !== UNTRAINED);
  if ((verdict !== 'late spread' && verdict !== 'both') || tests.length === 0) return '';
  const against = {
    untrained: 'against an untrained router',
    'same-script': 'within one script',
    lexical: 'given the token',
  };
  const named = (list: SpreadControl[]) => list.map(({ kind }) => against[kind]).join(', ');
  const [left, lost] = [tests.filter(stays), tests.filter(control => !stays(control))];
  const missing = (Object.keys(against) as SpreadControl['kind'][]).filter(kind =>
    tests.every(test => test.kind !== kind),
  );
  const open = missing.length > 0 ? ` Not tried: ${missing.map(kind => against[kind]).join(', ')}.` : '';
  if (lost.length === 0) return `The late spread stays ${named(left)}${open ? '.' : ': it is one of language.'}${open}`;
  const also = left.length > 0 ? `, though it stays ${named(left)}` : '';
  return `The late spread does not stay ${named(lost)}${also}: it cannot be called one of language.${open}`;
}

/** By its bounds, or by its estimates where there are none. */
function stays({ verdict, contrasts }: SpreadControl): boolean {
  if (verdict !== 'cannot tell') return verdict === 'late spread' || verdict === 'both';
  return contrasts.lateEarly.estimate > 0 && contrasts.lateMiddle.estimate > 0;
}
