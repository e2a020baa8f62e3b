// SVG to PNG through resvg, with the machine's own fonts: for README pictures and for looking at a figure.
import { Resvg } from '@resvg/resvg-js';

/** PNG bytes at the given width in px. */
export function toPng(svg: string, width: number): Uint8Array {
  const options = { fitTo: { mode: 'width' as const, value: width }, font: { loadSystemFonts: true } };
  return new Resvg(svg, options).render().asPng();
}
