// The checks on the real corpus, and on corpora spoilt on purpose in each way they should notice.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CheckName, type CheckRow, checkCorpus } from '../../src/data/check.ts';
import { loadCorpus } from '../../src/data/corpus.ts';
import { readUdhr } from '../../src/data/sources/udhr.ts';
import type { Document, Language } from '../../src/data/types.ts';
import { document, fiftyLanguages, language } from './languages.ts';

let rows: CheckRow[];
let languages: Language[];
beforeAll(async () => {
  languages = fiftyLanguages();
  rows = await checkCorpus(loadCorpus(languages).documents, languages);
}, 60_000);
const find = (list: CheckRow[], code: string, check: CheckName): CheckRow =>
  list.find(row => row.language === code && row.check === check)!;

/** The UDHR of one language under another one's name. */
const planted = (as: Language, from: Language): Document[] =>
  readUdhr(from).map(each => ({ ...each, language: as.code, id: `${each.item}/${as.code}` }));

describe('the real corpus', () => {
  it('fails no check', () => {
    expect(rows).toHaveLength(50 * 5);
    expect(rows.filter(({ result }) => result === 'fail')).toEqual([]);
  });

  it('cannot judge the identity of Dogri and Sorani, which have no running text', () => {
    expect(rows.filter(({ result }) => result === 'unknown').map(row => `${row.language} ${row.check}`)).toEqual([
      'doi identity',
      'ckb identity',
    ]);
  });

  it('warns of near kin: Croatian and Bosnian first, then Danish and Norwegian, Portuguese and Galician, Czech and Slovak', () => {
    expect(find(rows, 'hr', 'twin')).toMatchObject({ result: 'warning', reason: 'close to bs (likeness 0.97)' });
    expect(find(rows, 'da', 'twin').figure).toBeCloseTo(0.89, 2);
    expect(find(rows, 'gl', 'twin').figure).toBeCloseTo(0.82, 2);
    expect(find(rows, 'cs', 'twin').figure).toBeCloseTo(0.77, 2);
    expect(find(rows, 'ha', 'twin').result).toBe('pass');
  });

  it('is in the right script to 95 % and more; English to 100 %', () => {
    for (const row of rows.filter(({ check }) => check === 'script')) expect(row.figure).toBeGreaterThan(0.95);
    expect(find(rows, 'en', 'script').figure).toBeCloseTo(1, 4);
  });
});

describe('planted faults', () => {
  const english = language('en');
  const good = (each: Language) => readUdhr(each);

  it('Northern Kurdish under the name of Sorani: wrong script, and the same text when its owner is there', async () => {
    const sorani = language('ckb', 'Arab', 1);
    const kurmanji = language('ku', 'Latn', 2);
    const documents = [...good(english), ...planted(sorani, kurmanji), ...good(kurmanji)];
    const found = await checkCorpus(documents, [english, sorani, kurmanji]);
    expect(find(found, 'ckb', 'script')).toMatchObject({ result: 'fail', figure: 0 });
    expect(find(found, 'ckb', 'twin')).toMatchObject({ result: 'fail' });
    expect(find(found, 'ckb', 'twin').reason).toMatch(/same text as ku/);
    expect(find(found, 'en', 'twin').result).toBe('pass');
  });

  it('English left in French', async () => {
    const french = language('fr', 'Latn', 1);
    const documents = [...good(english), ...good(french)];
    const some = documents.map(each => (each.id === 'udhr/9/fr' ? { ...each, text: englishOf(documents, 9) } : each));
    const more = documents.map(each =>
      each.language === 'fr' && each.item !== 'udhr/0'
        ? { ...each, text: englishOf(documents, Number(each.item.slice(5))) }
        : each,
    );
    expect(find(await checkCorpus(documents, [english, french]), 'fr', 'english')).toMatchObject({
      result: 'pass',
      figure: 0,
    });
    expect(find(await checkCorpus(some, [english, french]), 'fr', 'english')).toMatchObject({ result: 'warning' });
    const found = await checkCorpus(more, [english, french]);
    expect(find(found, 'fr', 'english').result).toBe('fail');
    expect(find(found, 'fr', 'identity').result).toBe('fail');
  });

  it('a wrong script, a wrong language in the right script, text that is not composed, an unknown script', async () => {
    const bulgarian = language('bg', 'Latn', 1);
    const italian = language('it', 'Latn', 2);
    const odd = language('xx', 'Qqqq', 3);
    const documents = [...good(bulgarian), ...planted(italian, language('de')), document('xx', 'own/1', 'cafe\u0301')];
    const found = await checkCorpus(documents, [english, bulgarian, italian, odd]);
    expect(find(found, 'bg', 'script')).toMatchObject({ result: 'fail', figure: 0 });
    expect(find(found, 'it', 'script').result).toBe('pass');
    expect(find(found, 'it', 'identity').result).toBe('fail');
    expect(find(found, 'it', 'identity').reason).toMatch(
      /^0\.0 % of \d+ lines identified as one of co it; others as de\/deu/,
    );
    expect(find(found, 'xx', 'nfc')).toMatchObject({ result: 'fail', figure: 0 });
    expect(find(found, 'xx', 'script').result).toBe('unknown');
    expect(find(found, 'xx', 'identity').result).toBe('unknown');
    expect(found.some(row => row.language === 'en')).toBe(false);
  });
});

it('the identifiers let the process end', () => {
  const module = fileURLToPath(new URL('../../src/data/identify.ts', import.meta.url));
  const script = `import { openIdentifier } from ${JSON.stringify(module)};
    const i = await openIdentifier();
    console.log(i.accepts({ code: 'fr', script: 'Latn' }, 'Tous les êtres humains naissent libres et égaux.').pass);
    i.close();`;
  const out = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    timeout: 20_000,
  });
  expect(out.toString().trim()).toBe('true');
});

const englishOf = (documents: Document[], article: number): string =>
  documents.find(each => each.id === `udhr/${article}/en`)!.text;
