// The user's own text in each format, and the sentence that each kind of wrong input gets.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenizeDocuments } from '../../src/data/tokenize.ts';
import type { Tokenizer } from '../../src/data/types.ts';
import { readUserText } from '../../src/data/user.ts';
import { UserError } from '../../src/errors.ts';
import { language } from './languages.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-user-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const languages = [language('en'), language('fr', 'Latn', 1), language('ne', 'Cyrl', 2)];
const put = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const read = (name: string, content: string | Uint8Array) => readUserText(put(name, content), languages);
const lines = (...rows: unknown[]): string => rows.map(row => JSON.stringify(row)).join('\n');

describe('JSONL', () => {
  it('takes language or lang, and fills in what is not said', async () => {
    const rows = lines(
      { language: 'en', text: ' BP <90 or >140\r\n\r\nCafe\u0301 ' },
      { lang: 'mn', text: 'Сайн уу', id: 7 },
    );
    const [first, second] = await read('a.jsonl', `\uFEFF${rows.replace('\n', '\r\n\r\n')}\n`);
    expect(first).toMatchObject({
      id: 'a.jsonl/1/en',
      language: 'en',
      source: 'a.jsonl',
      domain: 'general',
      text: 'BP <90 or >140\n\nCaf\u00e9',
    });
    expect(second).toMatchObject({ id: 'a.jsonl/7/ne', language: 'ne', item: 'a.jsonl/7' });
  });

  it('keeps what is said, and splits parallel rows alike', async () => {
    const row = { language: 'en', text: 'A fever', domain: 'medical', split: 'test', id: 'x' };
    expect((await read('b.jsonl', lines(row)))[0]).toMatchObject({
      domain: 'medical',
      split: 'test',
      item: 'b.jsonl/x',
    });
    const rows = Array.from({ length: 60 }, (_, id) => [
      { language: 'en', text: 'one', id },
      { language: 'fr', text: 'un', id },
    ]);
    const documents = await read('c.jsonl', lines(...rows.flat()));
    for (let i = 0; i < 120; i += 2) expect(documents[i].split).toBe(documents[i + 1].split);
    expect(new Set(documents.map(({ split }) => split)).size).toBeGreaterThan(1);
  });

  it.each([
    ['{"language": "en", "text"', /d\.jsonl:2: not JSON \(.*\); write one JSON object per line/],
    ['[1, 2]', /d\.jsonl:2: \[1,2\] is not an object/],
    ['{"text": "x"}', /d\.jsonl:2: no "language" \(or "lang"\); add/],
    [
      '{"language": "xx", "text": "x"}',
      /d\.jsonl:2: language "xx" is not in the families file; add it there or use one of en fr ne/,
    ],
    ['{"language": 5, "text": "x"}', /d\.jsonl:2: language 5 is not/],
    ['{"language": "en"}', /d\.jsonl:2: "text" is missing; give/],
    ['{"language": "en", "text": "  "}', /d\.jsonl:2: "text" is " {2}"; give/],
    [
      '{"language": "en", "text": "x", "split": "dev"}',
      /d\.jsonl:2: "split" is "dev"; use one of train, validation, test/,
    ],
    ['{"language": "en", "text": "x", "domain": "law"}', /d\.jsonl:2: "domain" is "law"; use one of medical, general/],
    ['{"language": "en", "text": "x", "id": {}}', /d\.jsonl:2: "id" is \{\}; give a text or a number/],
  ])('says what is wrong with %s', async (row, message) => {
    const reading = read('d.jsonl', `{"language":"en","text":"fine"}\n${row}\n`);
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toThrow(UserError);
  });
});

describe('Parquet', () => {
  const columnData = [
    { name: 'lang', data: ['en', 'fr'], type: 'STRING' as const },
    { name: 'text', data: ['Hello', 'Bonjour à tous'], type: 'STRING' as const },
    { name: 'id', data: [1n, 1n], type: 'INT64' as const },
  ];

  it('reads uncompressed, snappy and gzip columns', async () => {
    const want = [
      { id: 'p.parquet/1/en', text: 'Hello' },
      { id: 'p.parquet/1/fr', text: 'Bonjour à tous' },
    ];
    for (const codec of ['UNCOMPRESSED', 'SNAPPY', 'GZIP'] as const) {
      const file = parquetWriteBuffer({ columnData, codec, compressors: { GZIP: bytes => gzipSync(bytes) } });
      expect(await read('p.parquet', new Uint8Array(file)), codec).toMatchObject(want);
    }
  });

  it('names row, codec or damage', async () => {
    const wrong = [columnData[0], { ...columnData[1], data: ['Hello', ''] }];
    await expect(read('p.parquet', new Uint8Array(parquetWriteBuffer({ columnData: wrong })))).rejects.toThrow(
      /p\.parquet: row 2: "text" is ""/,
    );
    const lz4 = parquetWriteBuffer({ columnData, codec: 'LZ4_RAW', compressors: { LZ4_RAW: bytes => bytes } });
    await expect(read('p.parquet', new Uint8Array(lz4))).rejects.toThrow(/compressed with LZ4_RAW, .* snappy or gzip/);
    await expect(read('p.parquet', 'PAR1 no more')).rejects.toThrow(/p\.parquet: not a whole Parquet file/);
  });
});

describe('ApolloMoE JSON', () => {
  it('tells conversations, and marks only answers to be learnt', async () => {
    const groups = { medicalBook_en_qa: [['Why?', 'Because.', 'Sure?', 'Yes.']], general_fr: [['Ça va ?', 'Oui.']] };
    const [first, second] = await read('q.json', JSON.stringify(groups));
    expect(first).toMatchObject({
      source: 'medicalBook_en_qa',
      domain: 'medical',
      id: 'q.json/medicalBook_en_qa/1/en',
    });
    expect(first.text).toBe('User:Why?\nAssistant:Because.\nUser:Sure?\nAssistant:Yes.');
    expect(second).toMatchObject({ source: 'general_fr', language: 'fr', domain: 'general' });
    const invented = [language('x2-Latn')];
    const [third] = await readUserText(put('i.json', '{"medicalExam_x2-Latn": [["a", "b"]]}'), invented);
    expect(third).toMatchObject({ language: 'x2-Latn', domain: 'medical' });

    const bytes: Tokenizer = {
      ...{ kind: 'bytes', vocabSize: 257, eosId: 256, toJson: () => '{}' },
      encode: text => Int32Array.from(Buffer.from(text)),
      encodePrompt: text => Int32Array.from(Buffer.from(text)),
      decode: ids => Buffer.from(Array.from(ids)).toString(),
    };
    const [tokens] = tokenizeDocuments([first], languages, bytes);
    expect(bytes.decode(tokens.ids.filter((id, i) => id < 256 && tokens.learn![i] === 1))).toBe('Because.Yes.');
    expect([tokens.ids.at(-1), tokens.learn!.at(-1), tokens.ids.length]).toEqual([256, 1, first.text.length + 1]);
  });

  it.each([
    ['{"general_en": [\n["a", "b"],,]}', /q\.json(:2)?: not JSON/],
    ['{"general_en": [\n["a"], none\n]}', /^[^\n]*q\.json[^\n]*: not JSON \([^\n]*\); mend it there$/],
    ['[1]', /q\.json: not an object of/],
    ['{"general": []}', /the key "general" is not <type>_<language>/],
    ['{"general_xx_qa": []}', /q\.json: key "general_xx_qa": language "xx" is not in the families file/],
    ['{"general_en": 3}', /"general_en" is 3; give a list/],
    [
      '{"general_en": [["a", "b"], ["a"]]}',
      /"general_en" conversation 2 is \["a"\]; give questions and answers in turn/,
    ],
    ['{"general_en": [["a", ""]]}', /conversation 1 is \["a",""\]/],
  ])('says what is wrong with %s', async (content, message) => {
    await expect(read('q.json', content)).rejects.toThrow(message);
    await expect(read('q.json', content)).rejects.toThrow(UserError);
  });
});

describe('paths', () => {
  it('a folder is read file by file, by name', async () => {
    const own = mkdtempSync(join(folder, 'many-'));
    writeFileSync(join(own, 'b.jsonl'), lines({ language: 'en', text: 'second' }));
    writeFileSync(join(own, 'a.json'), '{"general_en": [["q", "a"]]}');
    writeFileSync(join(own, 'notes.txt'), 'not read');
    expect((await readUserText(own, languages)).map(({ source }) => source)).toEqual(['general_en', 'b.jsonl']);
  });

  it('a JSON file that no string can hold is refused before it is read', async () => {
    const path = put('huge.json', '');
    truncateSync(path, 600e6);
    await expect(readUserText(path, languages)).rejects.toThrow(/huge\.json has 600 MB, .* \.jsonl or \.parquet/);
  });

  it('what cannot be read is named', async () => {
    await expect(readUserText(join(folder, 'none.jsonl'), languages)).rejects.toThrow(/none\.jsonl does not exist/);
    await expect(read('x.txt', 'x')).rejects.toThrow(
      /x\.txt is of no known kind; .* \.jsonl, \.ndjson, \.parquet, \.json/,
    );
    await expect(readUserText(mkdtempSync(join(folder, 'empty-')), languages)).rejects.toThrow(
      /holds no file ending in/,
    );
  });
});
