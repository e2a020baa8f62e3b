// Depth in words: layers in bands that are fixed in advance. Early is the first quarter, late the last, middle the half
// between them; models with fewer than eight MoE layers are cut in thirds, fewer than three not at all.

export interface DepthBand {
  name: 'early' | 'midway' | 'late';
  /** Places in the list of layers. */
  places: number[];
}

/** The bands of `count` layers; empty where depth cannot be told. */
export function depthBands(count: number): DepthBand[] {
  if (count < 3) return [];
  const edge = Math.max(1, Math.round(count / (count < 8 ? 3 : 4)));
  const places = Array.from({ length: count }, (_, i) => i);
  return [
    { name: 'early', places: places.slice(0, edge) },
    { name: 'midway', places: places.slice(edge, count - edge) },
    { name: 'late', places: places.slice(count - edge) },
  ];
}

/** Mean over the values that are there; null where none is. */
export function meanOf(values: (number | null | undefined)[]): number | null {
  const known = values.filter((value): value is number => value != null && Number.isFinite(value));
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

/** “2 % of routing early, 1 % midway, 14 % late”, the first with `of`; under three layers “… in layer 22, … in layer 23”. */
export function byDepth(
  layers: number[],
  values: (number | null)[],
  words: (value: number) => string,
  of = '',
): string {
  const bands = depthBands(layers.length).map(({ name, places }) => ({
    where: name as string,
    value: meanOf(places.map(i => values[i])),
  }));
  const each = layers.map((layer, i) => ({ where: `in layer ${layer}`, value: values[i] }));
  const known = (bands.length > 0 ? bands : each).filter(({ value }) => value !== null);
  return known.map(({ where, value }, i) => `${words(value!)}${i === 0 ? of : ''} ${where}`).join(', ');
}
