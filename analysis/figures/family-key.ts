// Key of the families, in lines of a given width: what hue (and glyph) stands for which.
import { type FamilyStyle, familyGlyph } from './family-style.ts';
import { SMALL } from './frame.ts';
import { textWidth } from './labels.ts';
import { type Mark, rect, tag, text } from './svg.ts';

const LINE = 16;

interface Place {
  style: FamilyStyle;
  x: number;
  line: number;
}

type Label = (style: FamilyStyle) => string;
const plain: Label = ({ family }) => family;

function places(styles: FamilyStyle[], width: number, label: Label): Place[] {
  let [x, row] = [0, 0];
  return styles.map(style => {
    const need = 14 + textWidth(label(style), SMALL) + 12;
    if (x > 0 && x + need > width) [x, row] = [0, row + 1];
    x += need;
    return { style, x: x - need, line: row };
  });
}

/** Height in px of the key. */
export const familyKeyHeight = (styles: FamilyStyle[], width: number, label = plain): number =>
  LINE * (1 + Math.max(0, ...places(styles, width, label).map(place => place.line)));

/** Draws the key with its first baseline at `y`. */
export function familyKey(
  root: Mark,
  { x, y, width }: { x: number; y: number; width: number },
  styles: FamilyStyle[],
  kind: 'glyph' | 'swatch',
  label = plain,
): void {
  for (const { style, x: dx, line } of places(styles, width, label)) {
    const base = y + line * LINE;
    const group = tag(root.append('g'), { family: style.family });
    if (kind === 'glyph') familyGlyph(group, x + dx + 5, base - 3.6, style, 4.4);
    else rect(group, x + dx, base - 8.5, 10, 10, style.hue);
    text(group, x + dx + 14, base, label(style), { size: SMALL });
  }
}
