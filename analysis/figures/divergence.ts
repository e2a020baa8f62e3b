// F5, divergence from the pivot over depth (M4): every language a thin grey line, family means bold in hue and dash
// with their names at the end, chosen languages thin in their family's hue, dotted how far a language stands from
// itself. Above, sqrt(JSD / log 2), which is a metric; below, family means of JSD over what the entropies leave room
// for (h_js), the form in which U-shapes have been published.
import type { ColumnTable } from 'arquero';
import { layerAxis, leftAxis, linear, linePlace, type Plot, type Scale } from './axes.ts';
import { type Provenance, zeroTextNote } from './caption.ts';
import { byDepth, lateOf } from './depth.ts';
import { type FamilyStyle, familyGlyph, familyLine, familyStyles, languageStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET } from './frame.ts';
import { decimal, type End, endLabels } from './labels.ts';
import { layersIn, meanProfile, nameOf, type Profile, profilesOf } from './profiles.ts';
import { band, type Point, polyline } from './shapes.ts';
import { type Figure, finish, INK, type Mark, tag, text } from './svg.ts';

export interface DivergenceOptions extends FigureOptions {
  /** Code of the language that the others are compared with. */
  pivot: string;
  /** Codes drawn in colour with their names; by default the furthest and the nearest in the late layers. */
  highlight?: string[];
}
interface FamilyMean {
  style: FamilyStyle;
  profile: Profile;
}

const MAIN = 300;
const SECOND = 130;
const LEFT = 58;
const RIGHT = 548;
const THIN = '#B4B4B4';
const DOTS = '1.5 3';

/** Draws a divergence table (groups = language codes). */
export function divergence(table: ColumnTable, source: Provenance, options: DivergenceOptions): Figure {
  const { header } = source;
  const layers = layersIn(table);
  const profiles = profilesOf(table, 'distance', layers);
  profiles.delete(options.pivot);
  for (const [code, profile] of profiles) if (profile.every(v => v === null)) profiles.delete(code);
  const means = familyMeans(source, profiles, layers.length);
  const bounds = { low: profilesOf(table, 'low', layers), high: profilesOf(table, 'high', layers) };
  const words = wordsOf(source, options, layers, means, bounds);
  const figure = { name: 'divergence', title: words.title, csv: table.toCSV() };
  if (profiles.size === 0) {
    const pivot = nameOf(header, options.pivot);
    const why = `No language could be compared with ${pivot}: at least two languages with counted tokens are needed.`;
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const scaled = familyMeans(
    source,
    withoutPivot(profilesOf(table, 'normalised', layers), options.pivot),
    layers.length,
  );
  const second = scaled.length > 0;
  const sheet = frame(SHEET, MAIN + 50 + (second ? SECOND + 66 : 0), words);
  const plot = { left: LEFT, right: RIGHT, top: sheet.top + 12, bottom: sheet.top + 12 + MAIN };
  const baseline = meanProfile([...profilesOf(table, 'baseline', layers).values()], layers.length);
  drawMain(sheet.root, source, { layers, profiles, means, baseline, bounds }, options, plot);
  if (second) {
    const top = plot.bottom + 66;
    drawScaled(sheet.root, scaled, layers, { left: LEFT, right: RIGHT, top, bottom: top + SECOND });
  }
  return { ...figure, svg: finish(sheet.root) };
}

function withoutPivot(profiles: Map<string, Profile>, pivot: string): Map<string, Profile> {
  return new Map([...profiles].filter(([code, profile]) => code !== pivot && profile.some(v => v !== null)));
}

function familyMeans({ header }: Provenance, profiles: Map<string, Profile>, count: number): FamilyMean[] {
  return familyStyles(header).flatMap(style => {
    const members = style.languages.flatMap(code => (profiles.has(code) ? [profiles.get(code)!] : []));
    return members.length === 0 ? [] : [{ style, profile: meanProfile(members, count) }];
  });
}

function wordsOf(
  source: Provenance,
  options: DivergenceOptions,
  layers: number[],
  means: FamilyMean[],
  { low }: Bounds,
) {
  const { header } = source;
  const pivot = nameOf(header, options.pivot);
  const late = means.flatMap(({ style, profile }) => {
    const value = lateOf(header, layers, profile);
    return value === null ? [] : [{ family: style.family, value }];
  });
  const sorted = late.sort((a, b) => b.value - a.value);
  const [far, near] = [sorted[0], sorted.at(-1)];
  const hasInterval = [...low.values()].some(profile => profile.some(v => v !== null));
  const scale = `Jensen–Shannon distance, 0 to 1${hasInterval ? '; bands: intervals of named languages' : ''}.`;
  const alone = means.every(({ style }) => style.languages.length === 1);
  const told = ({ family, value }: { family: string; value: number }) => `${family} (${decimal(value)})`;
  const title =
    sorted.length < 2
      ? `Distance of routing from ${pivot}`
      : `Furthest from ${pivot} late: ${told(far)}; nearest: ${told(near!)}`;
  return {
    title,
    reading:
      `Distance between each language’s choice of experts and ${pivot}’s. ` +
      `${alone ? '' : 'Grey: languages; bold: means of families; '}` +
      `${alone ? 'D' : 'd'}otted: a language’s distance from itself, two halves of its texts.`,
    caption: captionOf(source, options, hasInterval, `${scale} ${zeroTextNote(header)}`.trim()),
  };
}

interface Lines {
  layers: number[];
  profiles: Map<string, Profile>;
  means: FamilyMean[];
  baseline: Profile;
  bounds: Bounds;
}
interface Bounds {
  low: Map<string, Profile>;
  high: Map<string, Profile>;
}

function drawMain(root: Mark, source: Provenance, lines: Lines, options: DivergenceOptions, plot: Plot): void {
  const { header } = source;
  const { layers, profiles, means, baseline, bounds } = lines;
  const styles = languageStyles(header);
  const values = [...profiles.values(), baseline].flat().map(v => v ?? 0);
  const y = linear([0, Math.max(...values, 1e-6)], [plot.bottom, plot.top]).nice(5);
  leftAxis(root, plot, y, { title: 'Jensen–Shannon distance', format: decimal, count: 5 });
  layerAxis(root, plot, layers, 'MoE layer', linePlace(plot, layers.length));
  const places = placer(plot, layers.length, y);
  const told = (profile: Profile) => byDepth(header, layers, profile, decimal);
  for (const [code, profile] of profiles) {
    const meaning = {
      language: code,
      family: styles.get(code)?.family,
      tip: `${nameOf(header, code)}: ${told(profile)}`,
    };
    tag(polyline(root, places(profile), THIN, 0.9), meaning);
  }
  const named = chosen(header, layers, profiles, options);
  for (const code of named) {
    const [low, high] = [bounds.low.get(code), bounds.high.get(code)];
    if (low && high) band(root, places(high), places(low), styles.get(code)!.hue, 0.2);
  }
  const ends: End[] = [];
  polyline(root, places(baseline), INK, 1.4, DOTS);
  addEnd(ends, baseline, 'same language', INK, y);
  for (const { style, profile } of means) {
    tag(familyLine(root, places(profile), style, 2.6), {
      family: style.family,
      tip: `${style.family}: ${told(profile)}`,
    });
    if (layers.length === 1) familyGlyph(root, places(profile)[0][0], places(profile)[0][1]!, style, 4);
    const many = style.languages.length > 1 ? ` (${style.languages.filter(code => profiles.has(code)).length})` : '';
    addEnd(ends, profile, `${style.family}${many}`, style.hue, y, 'bold');
  }
  for (const code of named) {
    const style = styles.get(code)!;
    if (style.languages.length === 1) continue; // its family's line already is this language
    const tip = `${nameOf(header, code)}: ${told(profiles.get(code)!)}`;
    tag(polyline(root, places(profiles.get(code)!), style.hue, 1.3), { language: code, family: style.family, tip });
    addEnd(ends, profiles.get(code)!, nameOf(header, code), style.hue, y);
  }
  endLabels(root, plot.right, ends, plot.top, plot.bottom, 14.5);
}

function chosen(
  header: Provenance['header'],
  layers: number[],
  profiles: Map<string, Profile>,
  { highlight }: DivergenceOptions,
): string[] {
  if (highlight) return highlight.filter(code => profiles.has(code));
  const late = [...profiles].map(([code, profile]) => ({ code, value: lateOf(header, layers, profile) ?? 0 }));
  const sorted = late.sort((a, b) => b.value - a.value);
  return [...new Set([sorted[0].code, sorted[sorted.length - 1].code])];
}

function placer(plot: Plot, count: number, y: Scale): (profile: Profile) => Point[] {
  const x = linePlace(plot, count);
  return profile => profile.map((v, i): Point => [x(i), v === null ? null : y(v)]);
}

function addEnd(ends: End[], profile: Profile, name: string, colour: string, y: Scale, weight?: 'bold'): void {
  const last = profile.at(-1);
  if (last != null) ends.push({ label: `${decimal(last)} ${name}`, y: y(last), colour, weight });
}

function drawScaled(root: Mark, means: FamilyMean[], layers: number[], plot: Plot): void {
  const values = means.flatMap(({ profile }) => profile.map(v => v ?? 0));
  const y = linear([0, Math.max(...values, 1e-6)], [plot.bottom, plot.top]).nice(3);
  text(
    root,
    plot.left,
    plot.top - 12,
    'The same as a share of the divergence that the entropies leave room for (h_js)',
    {
      weight: 'bold',
      size: 12,
    },
  );
  leftAxis(root, plot, y, { title: 'h_js', format: decimal, count: 3 });
  layerAxis(root, plot, layers, 'MoE layer', linePlace(plot, layers.length));
  const places = placer(plot, layers.length, y);
  const ends: End[] = [];
  for (const { style, profile } of means) {
    tag(familyLine(root, places(profile), style, 2), { family: style.family, tip: `${style.family}, h_js` });
    addEnd(ends, profile, style.family, style.hue, y);
  }
  endLabels(root, plot.right, ends, plot.top, plot.bottom, 13);
}
