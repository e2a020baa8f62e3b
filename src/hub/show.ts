// A value from a file that may be hostile, for a sentence of bounded length.

/** As JSON, cut after 80 characters. */
export function show(value: unknown): string {
  try {
    const json = JSON.stringify(value) ?? 'nothing';
    return json.length > 80 ? `${json.slice(0, 80)}…` : json;
  } catch {
    return 'a value nested too deeply';
  }
}
