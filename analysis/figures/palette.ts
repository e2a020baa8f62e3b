// Colours. Hue = family: Okabe–Ito, with Tol's dark red for its black, since grey means merged; told apart by the common
// colour-vision deficiencies. Amount = cividis, monotone in lightness, so it survives grey print; neutral grey = what is merged
// or absent. Every hue is doubled by a label.
import { scaleLinear } from 'd3-scale';

// By family size: the largest family, which fills most of a picture, gets blue; yellow, the weakest on paper, comes last.
const HUES = ['#0072B2', '#661100', '#E69F00', '#CC79A7', '#56B4E9', '#009E73', '#D55E00', '#F0E442'];
export const REST = '#BDBDBD';
export const EMPTY = '#F2F2F2';

/** Colour by rank of size, from 0; beyond eight the hues come again, lighter. */
export function rankColour(index: number): string {
  const hue = HUES[index % HUES.length];
  const round = Math.floor(index / HUES.length);
  return round === 0 ? hue : mix(hue, '#FFFFFF', Math.min(0.35 * round, 0.7));
}

/** Straight mixture of two colours in sRGB, `part` of the second. */
export function mix(a: string, b: string, part: number): string {
  const [x, y] = [channels(a), channels(b)];
  return `#${x
    .map((v, i) =>
      Math.round(v + part * (y[i] - v))
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`;
}

// Anchors of cividis (Nuñez, Anderton & Renslow 2018) at equal steps, from the light end; its yellow end is bleached to paper.
const CIVIDIS = [
  '#FFFFFF',
  '#FAF3CB',
  '#EEDF92',
  '#D5C36B',
  '#B0A571',
  '#8F8A78',
  '#707173',
  '#545B6E',
  '#36466C',
  '#123570',
];
const ramp = scaleLinear<string>(
  CIVIDIS.map((_, i) => i / (CIVIDIS.length - 1)),
  CIVIDIS,
);

/** Sequential scale, 0 light to 1 dark: on paper more ink means more. */
export const amount = (t: number): string => toHex(ramp(Math.min(Math.max(t, 0), 1)));

// PuOr (ColorBrewer, Harrower & Brewer 2003) without its last, nearly black steps.
const PUOR = [
  '#7F3B08',
  '#B35806',
  '#E08214',
  '#FDB863',
  '#FEE0B6',
  '#F7F7F7',
  '#D8DAEB',
  '#B2ABD2',
  '#8073AC',
  '#542788',
];
const fork = scaleLinear<string>([-1, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.7, 1], PUOR);

/** Diverging scale, −1 orange, 0 near white, 1 purple; equally dark at both ends. */
export const difference = (t: number): string => toHex(fork(Math.min(Math.max(t, -1), 1)));

/** Black or white, whichever reads better on the colour (WCAG relative luminance). */
export const inkOn = (colour: string): string => (luminance(colour) > 0.179 ? '#000000' : '#FFFFFF');

export function luminance(colour: string): number {
  const linear = (v: number) => (v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = channels(colour).map(linear);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const channels = (hex: string): number[] => [1, 3, 5].map(i => Number.parseInt(hex.slice(i, i + 2), 16));
function toHex(rgb: string): string {
  const values = rgb.match(/[\d.]+/g)!.map(Number);
  return `#${values.map(v => Math.round(v).toString(16).padStart(2, '0')).join('')}`;
}
