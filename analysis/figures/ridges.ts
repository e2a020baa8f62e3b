// F10, entropy ridges (M2): a ridge per language family, height h = H / log E over depth, its languages as thin lines
// in it, the pivot's line dashed behind each. A ridge that falls away from the dashed line at the right is a family
// whose routing collapses on few experts in the last layers; the gap is filled dark. All ridges have one scale, cut
// below.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import { GRID, layerAxis, linear, linePlace, type Plot, type Scale } from './axes.ts';
import { type Provenance, zeroTextNote } from './caption.ts';
import { lateOf } from './depth.ts';
import { type FamilyStyle, familyGlyph, familyStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { decimal, signed } from './labels.ts';
import { mix } from './palette.ts';
import { layersIn, meanProfile, nameOf, type Profile, profilesOf } from './profiles.ts';
import { band, type Point, polyline } from './shapes.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, tag, text } from './svg.ts';

export interface RidgesOptions extends FigureOptions {
  /** Code of the language whose entropy is drawn behind every ridge. */
  pivot: string;
}
interface Ridge {
  style: FamilyStyle;
  mean: Profile;
  members: [code: string, profile: Profile][];
}

const LEFT = 186;
const RIGHT = 588;
const GAP = 10;
/** Height of a ridge: lower where there are many. */
const heightOf = (rows: unknown[]): number => (rows.length > 8 ? 46 : 60);

/** Draws an entropy table (groups = language codes; others are left out). */
export function ridges(table: ColumnTable, source: Provenance, options: RidgesOptions): Figure {
  const layers = layersIn(table);
  const profiles = profilesOf(table, 'normalised', layers);
  const rows = ridgesOf(source, profiles, layers.length);
  const pivot = profiles.get(options.pivot) ?? layers.map(() => null);
  const span = spanOf(rows, pivot);
  const words = wordsOf(source, options, layers, rows, pivot, span);
  const figure = { name: 'ridges', title: words.title, csv: table.toCSV() };
  if (rows.length === 0) {
    const why = 'No language has counted tokens, so there is no entropy to draw.';
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const height = heightOf(rows);
  const sheet = frame(SHEET, rows.length * (height + GAP) + 42, words);
  const x = linePlace({ left: LEFT, right: RIGHT, top: 0, bottom: 0 }, layers.length);
  for (const [r, ridge] of rows.entries()) {
    const top = sheet.top + 6 + r * (height + GAP);
    const plot = { left: LEFT, right: RIGHT, top, bottom: top + height };
    drawRidge(sheet.root, source, ridge, pivot, { plot, x, y: linear(span, [plot.bottom, plot.top]), layers });
  }
  const bottom = sheet.top + 6 + rows.length * (height + GAP) - GAP;
  layerAxis(sheet.root, { left: LEFT, right: RIGHT, top: sheet.top, bottom }, layers, 'MoE layer', x);
  return { ...figure, svg: finish(sheet.root) };
}

/** Families from the fullest to the emptiest in the last layer, so that the ridges fall from top to bottom. */
function ridgesOf({ header }: Provenance, profiles: Map<string, Profile>, count: number): Ridge[] {
  const rows = familyStyles(header).flatMap(style => {
    const members = style.languages.flatMap((code): Ridge['members'] => {
      const profile = profiles.get(code);
      return profile?.some(v => v !== null) ? [[code, profile]] : [];
    });
    const mean = meanProfile(
      members.map(([, profile]) => profile),
      count,
    );
    return members.length === 0 ? [] : [{ style, members, mean }];
  });
  return rows.sort((a, b) => (b.mean.at(-1) ?? 0) - (a.mean.at(-1) ?? 0));
}

/** Tenths below and above every value. */
function spanOf(rows: Ridge[], pivot: Profile): [number, number] {
  const all = [pivot, ...rows.flatMap(row => row.members.map(([, profile]) => profile))].flat();
  const values = all.filter(v => v !== null);
  if (values.length === 0) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [Math.max(0, Math.floor(low * 10 - 1e-9) / 10), Math.min(1, Math.ceil(high * 10 + 1e-9) / 10)];
}

function wordsOf(
  source: Provenance,
  options: RidgesOptions,
  layers: number[],
  rows: Ridge[],
  pivot: Profile,
  [low, high]: [number, number],
) {
  const { header } = source;
  const base = lateOf(header, layers, pivot);
  const gaps = rows.flatMap(({ members }) =>
    members.map(([code, profile]) => ({ code, late: lateOf(header, layers, profile) ?? Number.POSITIVE_INFINITY })),
  );
  const least = gaps.sort((a, b) => a.late - b.late)[0];
  const name = nameOf(header, options.pivot);
  const known = base !== null && least !== undefined && least.code !== options.pivot;
  const found = known ? `${nameOf(header, least.code)} (h ${decimal(least.late)}); ${name}: ${decimal(base)}` : '';
  const scale = `Every ridge spans ${decimal(low, 1)} to ${decimal(high, 1)}; intervals are in the table.`;
  return {
    title: known ? `Least even use of experts late: ${found}` : 'How evenly languages use the experts',
    reading:
      'Height: entropy h of a family’s choice of experts, 1 = all experts alike. Thin lines: its languages. ' +
      `Dashed: ${name}; dark where the family is below it. Right: the last layer, and how far from ${name}.`,
    caption: captionOf(source, options, null, `${scale} ${zeroTextNote(header)}`.trim()),
  };
}

interface Place {
  plot: Plot;
  x: (i: number) => number;
  y: Scale;
  layers: number[];
}

function drawRidge(root: Mark, { header }: Provenance, ridge: Ridge, pivot: Profile, place: Place): void {
  const { style, mean, members } = ridge;
  const { plot, x, y, layers } = place;
  const at = (profile: Profile) => profile.map((v, i): Point => [x(i), v === null ? null : y(v)]);
  const ground = mean.map((_, i): Point => [x(i), plot.bottom]);
  band(root, at(mean), ground, mix(style.hue, '#FFFFFF', 0.75));
  const below = mean.map((v, i) => (v === null || pivot[i] === null ? null : Math.max(v, pivot[i]!)));
  band(root, at(below), at(mean), mix(style.hue, '#000000', 0.25), 0.8);
  line(root, plot.left, plot.bottom, plot.right, plot.bottom, GRID, 0.8);
  for (const [code, profile] of members) {
    const late = lateOf(header, layers, profile);
    const tip = `${nameOf(header, code)}: h ${late === null ? 'unknown' : decimal(late)} late`;
    tag(polyline(root, at(profile), style.hue, 0.8), { language: code, family: style.family, tip });
  }
  polyline(root, at(pivot), INK, 1.1, '4 3');
  const last = mean.at(-1);
  const tip = `${style.family}: h ${last == null ? 'unknown' : decimal(last)} in layer ${layers.at(-1)}`;
  tag(polyline(root, at(mean), mix(style.hue, '#000000', 0.25), 2.2), { family: style.family, tip });
  drawNames(root, header, ridge, pivot, place);
}

function drawNames(
  root: Mark,
  header: TraceHeader,
  { style, mean, members }: Ridge,
  pivot: Profile,
  { plot, y }: Place,
): void {
  const middle = (plot.top + plot.bottom) / 2;
  const words = members.length === 1 ? '' : `${members.length} languages`;
  const base = middle + (words === '' ? 4 : -2);
  familyGlyph(root, LEFT - 40, base - 4, style, 4);
  text(root, LEFT - 50, base, style.family, { anchor: 'end', weight: 'bold', size: 12 });
  text(root, LEFT - 50, base + 14, words, { anchor: 'end', size: SMALL, fill: FAINT });
  for (const h of y.domain()) {
    text(root, LEFT - 6, y(h) + (h === y.domain()[0] ? 1 : 7), decimal(h, 1), {
      anchor: 'end',
      size: SMALL,
      fill: FAINT,
    });
  }
  const last = mean.at(-1);
  if (last == null) return;
  const reference = pivot.at(-1);
  const gap = reference == null ? '' : ` (${signed(last - reference)})`;
  text(root, plot.right + 6, y(last) + 4, `${decimal(last)}${gap}`, { weight: 'bold' });
  const [code, lowest] = members
    .map(([code, profile]) => [code, profile.at(-1) ?? 1] as const)
    .sort((a, b) => a[1] - b[1])[0];
  if (y(lowest) - y(last) > 11) text(root, plot.right + 6, y(lowest) + 4, `${decimal(lowest)} ${nameOf(header, code)}`);
}
