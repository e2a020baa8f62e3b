// The Universal Declaration in the 48 languages that have it, and the pieces of text that trip tokenizers.
import { readUdhr } from '../../../src/data/sources/udhr.ts';
import { HEALTH_PROBE } from '../../../src/data/split.ts';
import type { Document } from '../../../src/data/types.ts';
import { fiftyLanguages } from '../languages.ts';

export const declaration = (): Document[] => fiftyLanguages().flatMap(readUdhr);

export const TRICKY: Record<string, string> = {
  empty: '',
  'one space': ' ',
  'white space': ' \t\n\r\n  \u00a0\u2003x  \n',
  'next line and byte order mark': 'a\u0085b\ufeffc \ufeff d',
  'those beside spaces and letters': ' \ufeffx \u0085y\ufeff \u0085 \ufeff\u0085\u0085 z',
  digits: '38.5 °C, 2026-11-21, ٣٨٫٥, ½, Ⅻ',
  contractions: "don't I'LL we've l'ministre d'État 'ſ ʼn",
  emoji: '👩🏽‍⚕️🩺 ❤️ 🇲🇹 👍',
  'decomposed Vietnamese': 'Ti\u00ea\u0301ng Vi\u00ea\u0323t',
  'stacked marks': 'Z̸̢a̵͎l͢g̷͠o e\u0301\u0323',
  Hindi: 'चिकित्सा देखभाल का अधिकार',
  Thai: 'ทุกคนมีสิทธิในมาตรฐานการครองชีพ',
  Lao: 'ທຸກຄົນມີສິດໄດ້ຮັບການປິ່ນປົວ',
  Arabic: 'لكلّ شخص حقٌّ في الرعاية الطبية‏!',
  Hebrew: 'לְכָל אָדָם הזכות לטיפול רפואי',
  'Sorani with a joiner': 'تەندروستی\u200cیەکەم',
  Chinese: '人人有权享受医疗和必要的社会服务。',
  Korean: '모든 사람은 의료를 받을 권리가 있다 \u1112\u1161\u11ab',
  code: 'const __proto__ = {"constructor": [1,\t2]};\r\n\r\n',
  'end of text inside': 'one<|endoftext|>two <|endoftext|>',
  'private and unassigned': '\ue000\u{10ffff}\u0378\0',
};

/** The two of the fifty languages that the declaration is not in: a sentence of our own. */
const OTHERS: Record<string, string> = {
  doi: 'हर इन्सानै गी अपनी सेह्‌त ते इलाज दा हक्क ऐ। डाक्टर ने दवाई 38.5 दिन दित्ती।',
  ckb: 'هەموو مرۆڤێک مافی تەندروستی و چارەسەری هەیە. پزیشک دەرمانی بۆ نەخۆش نووسی، ڕۆژی ٣ جار.',
};

/** Article 25 (health) by language code, all fifty. */
export function heldOutArticles(): Record<string, string> {
  const articles = declaration().filter(({ item }) => item === HEALTH_PROBE);
  return { ...Object.fromEntries(articles.map(({ language, text }) => [language, text])), ...OTHERS };
}

export const trainingArticles = (): string[] =>
  declaration()
    .filter(({ item }) => item !== HEALTH_PROBE)
    .map(({ text }) => text);
