// JSON as Python's json.dumps(value, indent=2, sort_keys=True) writes it, so that a configuration has the bytes of one that
// the transformers library saved. Only Python tells 1000000.0 from 1000000: `floats` names the keys that hold floats.

/** @param value plain JSON, ASCII text. Ends in a line break, as the library's files do */
export function pythonJson(value: Record<string, unknown>, floats: ReadonlySet<string> = new Set()): string {
  const mark = (key: string, inner: unknown): unknown => {
    if (typeof inner === 'number' && floats.has(key)) return `\u0000${pythonFloat(inner)}`;
    const isMap = typeof inner === 'object' && inner !== null && !Array.isArray(inner);
    return isMap ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner;
  };
  return `${JSON.stringify(value, mark, 2).replace(/"\\u0000([^"]*)"/g, '$1')}\n`;
}

/** As repr: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16 on. */
export function pythonFloat(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [digits, exponent] = value.toExponential().split('e');
  const power = Number(exponent);
  if (power >= -4 && power < 16) return Number.isInteger(value) ? `${value}.0` : String(value);
  return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}
