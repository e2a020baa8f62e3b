// Cleaning of raw strings: tags out, NFC, one kind of space; and the small measures of text that several files share.

/** `<b class=x>`, `</p>` and the numbered `<0>…</0>` of message files; not what stands between "<5" and ">2". */
const TAG = /<\/?(?:\p{L}[^<>]*|\d+\/?)>/gu;
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

/** NFC text without tags, entities or control characters. Lines are trimmed, runs of spaces become one, empty lines go. */
export function cleanText(raw: string): string {
  return raw
    .replace(TAG, ' ')
    .replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    })
    .replace(/\r\n?/g, '\n')
    .replace(/[\p{Cc}\uFEFF]/gu, c => (c === '\n' ? '\n' : ' '))
    .split('\n')
    .map(line => line.replace(/\s+/g, ' ').trim())
    .filter(line => line !== '')
    .join('\n')
    .normalize('NFC');
}

/** Number of Unicode letters. */
export const letterCount = (text: string): number => text.match(/\p{L}/gu)?.length ?? 0;

/** UTF-8 bytes. */
export const byteLength = (text: string): number => Buffer.byteLength(text, 'utf8');

/** False for what teaches no language: fewer than two letters, a bare address, or nothing but placeholders such as `{{name}}`. */
export function isText(text: string): boolean {
  if (/^\S*(?:https?:\/\/|www\.|@)\S*$/i.test(text)) return false;
  return letterCount(text.replace(/\{+[^{}]*\}+|%\w|\$\w+/g, ' ')) >= 2;
}
