// What a file that may be hostile holds, for a sentence of bounded length on one line.

/** As JSON, cut after 80 characters. */
export function show(value: unknown): string {
  try {
    const json = JSON.stringify(value) ?? 'nothing';
    return json.length > 80 ? `${json.slice(0, 80)}…` : json;
  } catch {
    return 'a value nested too deeply';
  }
}

/** What JSON's parser quotes from a file may hold line breaks. */
export const onOneLine = (text: string): string => text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, 200);
