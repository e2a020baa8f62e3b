// How a family looks wherever it is drawn: hue, and the dash and glyph that double the hue for those who do not see it
// and for grey print. Families by number of languages, so the largest gets the plainest of each.
import type { TraceHeader } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { familyHues } from './caption.ts';
import { luminance } from './palette.ts';
import { drawGlyph, GLYPHS, type Glyph, type Point, polyline } from './shapes.ts';
import { INK, type Mark } from './svg.ts';

export const DASHES = ['', '7 3', '2 2.5', '9 3 2 3', '4 2', '12 3', '6 2 2 2 2 2', '1.5 4'];

export interface FamilyStyle {
  family: string;
  hue: string;
  dash: string;
  glyph: Glyph;
  /** Codes of its languages. */
  languages: string[];
}

/** Styles in the order of familiesOf. */
export function familyStyles(header: TraceHeader): FamilyStyle[] {
  const families = familiesOf(header);
  const hues = familyHues(header);
  const members = (family: string) => header.languages.filter(language => language.family === family);
  const ranked = [...families].sort((a, b) => members(b).length - members(a).length);
  return families.map((family, i) => {
    const rank = ranked.indexOf(family);
    const languages = members(family).map(language => language.code);
    const glyph = GLYPHS[rank % GLYPHS.length];
    return { family, hue: hues[i], dash: DASHES[rank % DASHES.length], glyph, languages };
  });
}

/** The style of each language by its code. */
export function languageStyles(header: TraceHeader): Map<string, FamilyStyle> {
  const styles = new Map(familyStyles(header).map(style => [style.family, style]));
  return new Map(header.languages.map(language => [language.code, styles.get(language.family)!]));
}

/** Line in the family's hue and dash; hues too light for paper get a dark casing. */
export function familyLine(into: Mark, points: Point[], style: FamilyStyle, width: number): Mark {
  if (isPale(style.hue)) polyline(into, points, INK, width + 1, style.dash);
  return polyline(into, points, style.hue, width, style.dash);
}

/** The family's glyph; hues too light for paper are outlined. */
export function familyGlyph(into: Mark, x: number, y: number, style: FamilyStyle, size: number): Mark {
  const mark = drawGlyph(into, x, y, style.glyph, size, style.hue);
  return isPale(style.hue) ? mark.attr('stroke', INK).attr('stroke-width', 0.8) : mark;
}

const isPale = (hue: string): boolean => luminance(hue) > 0.55;
