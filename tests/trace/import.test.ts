// Traces out of other programs' files, each fixture laid out as that program writes it; and one sentence for what does not fit.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadTrace } from '../../analysis/load.ts';
import type { Trace } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import type { ImportOptions } from '../../src/trace/import/build.ts';
import { importTrace } from '../../src/trace/import/import.ts';
import { parseNpy } from '../../src/trace/import/numbers.ts';
import { toTrace } from '../../src/trace/recorded.ts';
import { writeTrace } from '../../src/trace/write.ts';

const root = mkdtempSync(join(tmpdir(), 'moe-import-'));
afterAll(() => rmSync(root, { recursive: true }));
let number = 0;
const fresh = (name: string): string => join(root, `${number++}-${name}`);

function saved(name: string, content: string | Uint8Array): string {
  const path = fresh(name);
  writeFileSync(path, content);
  return path;
}
const lines = (rows: unknown[]): string => `${rows.map(row => JSON.stringify(row)).join('\n')}\n`;

/** As numpy.save writes int32, or another type. */
function npy(shape: number[], values: number[], descr = '<i4'): Buffer {
  const size = Number(descr.at(-1));
  const data = Buffer.alloc(values.length * size);
  values.forEach((value, i) => {
    if (descr.startsWith('>')) data.writeIntBE(value, i * size, size);
    else data.writeIntLE(value, i * size, Math.min(size, 6));
  });
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const header = `${text.padEnd(128 - 10 - 1)}\n`;
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(header, 'latin1'), data]);
}

const trace = async (format: string, path: string, rows: unknown[], options: Partial<ImportOptions> = {}) =>
  toTrace(await importTrace(format, path, { documents: saved('documents.jsonl', lines(rows)), ...options }));

const refused = (format: string, path: string, rows: unknown[], options: Partial<ImportOptions> = {}) =>
  trace(format, path, rows, options).then(
    () => expect.fail('was not refused'),
    (error: Error) => {
      expect(error).toBeInstanceOf(UserError);
      expect(error.message).toMatch(/^[^\n]*[^.\n][.?]?$/);
      return error.message;
    },
  );

/** [document, position, token, layer, experts…] of every token and layer. */
function tokensOf({ columns }: Trace): number[][] {
  const out: number[][] = [];
  for (let i = 0; i < columns.slot.length; i++) {
    const { document, position, token, layer, slot, expert } = columns;
    if (slot[i] === 0) out.push([document[i], position[i], token[i], layer[i]]);
    out.at(-1)!.push(expert[i]);
  }
  return out;
}

/** Three tokens, two layers, two of four experts. */
const ROUTES = [
  [
    [0, 1],
    [3, 2],
  ],
  [
    [2, 0],
    [1, 3],
  ],
  [
    [1, 2],
    [0, 1],
  ],
];
const FLAT = ROUTES.flat(2);
const EXPECTED = (layers: [number, number], ids: number[]) =>
  ROUTES.flatMap((token, i) => token.map((experts, l) => [0, i, ids[i], layers[l], ...experts]));

describe('vLLM', () => {
  const answer = { index: 0, token_ids: [12, 13], routed_experts: npy([3, 2, 2], FLAT).toString('base64') };

  test('a completion: base64 of a .npy array in the choice, every token but the last', async () => {
    const response = { id: 'cmpl-1', prompt_token_ids: [10, 11], choices: [answer] };
    const path = saved('out.jsonl', lines([response]));
    const found = await trace('vllm', path, [{ language: 'de', item: 'a' }], { experts: 4 });
    expect(tokensOf(found)).toEqual(EXPECTED([0, 1], [10, 11, 12]));
    expect(found.header).toMatchObject({ numExperts: 4, expertsPerToken: 2, numLayers: 2, moeLayers: [0, 1] });
    expect(found.header).toMatchObject({ gates: 'absent', routing: 'free', normalised: true });
    expect(found.header.documents).toEqual([
      { id: 'a/de', item: 'a', language: 'de', source: 'imported', domain: 'general' },
    ]);
    expect([...new Set(found.columns.gate)]).toEqual([0.5]);
    const folder = fresh('trace');
    writeTrace(folder, found);
    expect((await loadTrace(folder)).columns).toEqual(found.columns);
  });

  test('LLM.generate written as JSON, uint8, requests in another order, layers by number', async () => {
    const other = ROUTES.map(token => token.map(experts => experts.map(e => 3 - e)));
    const outputs = [ROUTES, other].map((routes, i) => ({
      request_id: `r${i}`,
      prompt_token_ids: [10 + i],
      outputs: [{ token_ids: [11, 12], routed_experts: npy([3, 2, 2], routes.flat(2), '|u1').toString('base64') }],
    }));
    const rows = [
      { language: 'en', item: 'x', request: 'r1', name: 'English', family: 'Germanic', script: 'Latn' },
      { language: 'fr', item: 'x', request: 'r0' },
    ];
    const found = await trace('vllm', saved('all.json', JSON.stringify(outputs)), rows, { experts: 4, layers: [5, 3] });
    expect(tokensOf(found).slice(6)).toEqual(EXPECTED([3, 5], [10, 11, 12]).map(row => [1, ...row.slice(1)]));
    expect(found.header.numLayers).toBe(6);
    expect(found.header.languages).toEqual([
      { code: 'en', name: 'English', script: 'Latn', family: 'Germanic', expert: -1, trainingBytes: 1 },
      { code: 'fr', name: 'fr', script: '', family: 'unknown', expert: -1, trainingBytes: 1 },
    ]);
  });

  test('lists, the prompt apart, as version 0.21 answers; of three layers the first is dense', async () => {
    const withDense = ROUTES.map(token => [[0, 0], ...token]);
    const response = {
      prompt_token_ids: [10, 11],
      prompt_routed_experts: withDense.slice(0, 2),
      choices: [{ token_ids: [12], routed_experts: withDense.slice(2) }],
    };
    const path = saved('old.json', JSON.stringify(response));
    const row = [{ language: 'de' }];
    const found = await trace('vllm', path, row, { experts: 4, layers: [1, 2] });
    expect(tokensOf(found)).toEqual(EXPECTED([1, 2], [10, 11, 12]));
    expect(await refused('vllm', path, row, { experts: 4 })).toMatch(/layer 0, has expert 0 twice; .* out of --layers/);
    expect(await refused('vllm', path, row, { experts: 4, layers: [7] })).toMatch(/has 3 layers, but not layer 7/);
  });

  test('plain arrays, one for each text, in a folder; ids from the side file', async () => {
    const folder = fresh('arrays');
    mkdirSync(folder);
    writeFileSync(join(folder, 'b.npy'), npy([3, 2, 2], FLAT, '>i2'));
    writeFileSync(join(folder, 'a.json'), JSON.stringify(ROUTES.slice(0, 2)));
    const rows = [
      { language: 'de', ids: [5, 6] },
      { language: 'de', ids: [7, 8, 9, 10] },
    ];
    const found = await trace('vllm', folder, rows, { experts: 4 });
    expect(tokensOf(found)).toHaveLength(2 * (2 + 3));
    expect(tokensOf(found).slice(4)).toEqual(EXPECTED([0, 1], [7, 8, 9]).map(row => [1, ...row.slice(1)]));
  });

  test('what does not fit gets one sentence', async () => {
    const path = saved('out.jsonl', lines([{ prompt_token_ids: [10, 11], choices: [answer] }]));
    const row = [{ language: 'de' }];
    const refuse = (options: Partial<ImportOptions>, rows: unknown[] = row, at = path) =>
      refused('vllm', at, rows, options);
    const response = (value: unknown) => saved('bad.jsonl', lines([value]));
    expect(await refuse({})).toMatch(/does not say how many experts there are; give --experts N/);
    expect(await refuse({ experts: 3 })).toMatch(/token 0 of 1\/de, layer 1, has expert 3, outside 0…2/);
    expect(await refuse({ experts: 4, choices: 3 })).toMatch(/has 2 experts per token, the model 3/);
    expect(await refuse({ experts: 4 }, [...row, ...row])).toMatch(/has 1 texts, the documents file 2 rows/);
    expect(await refuse({ experts: 4 }, [{ language: 'de', request: 'nobody' }])).toMatch(/no request "nobody"/);
    expect(await refuse({ experts: 4 }, [{ language: 'de', ids: [1] }])).toMatch(/has 3 rows for 1 tokens/);
    expect(await refuse({ experts: 4 }, [{ item: 'a' }])).toMatch(/documents.jsonl:1: "language" is undefined/);
    expect(await refuse({ experts: 4 }, row, response({ choices: [{}] }))).toMatch(/--enable-return-routed-experts/);
    expect(await refuse({ experts: 4 }, row, response({ choices: [answer, answer] }))).toMatch(/has 2 answers/);
    const cut = { ...answer, routed_experts: answer.routed_experts.slice(0, 200) };
    expect(await refuse({ experts: 4 }, row, response({ choices: [cut] }))).toMatch(/is cut short/);
    expect(await refuse({ experts: 4 }, row, response({ choices: [{ routed_experts: '???' }] }))).toMatch(/no base64/);
    expect(await refuse({ experts: 4 }, row, response({ choices: [answer] }))).toMatch(/has token ids; add "ids"/);
    expect(await refuse({ experts: 4, families: 'configs/12lang.yaml' }, [{ language: 'xx', ids: [1, 2, 3] }])).toMatch(
      /language "xx" is not in configs\/12lang.yaml/,
    );
    expect(await refuse({ experts: 4 }, row, join(root, 'nowhere'))).toMatch(/nowhere does not exist/);
  });
});

describe('SGLang', () => {
  const int32 = (values: number[], type = Int32Array): string =>
    Buffer.from(type.from(values).buffer).toString('base64');
  const meta = { id: 'q', prompt_tokens: 2, completion_tokens: 2, routed_experts: int32(FLAT) };

  test('/generate: flat int32 in meta_info; ids asked for and written', async () => {
    const response = { text: 'x', input_ids: [10, 11], output_ids: [12, 13], meta_info: meta };
    const path = saved('generate.jsonl', lines([response]));
    const found = await trace('sglang', path, [{ language: 'de' }], { experts: 4, choices: 2 });
    expect(tokensOf(found)).toEqual(EXPECTED([0, 1], [10, 11, 12]));
    expect(await refused('sglang', path, [{ language: 'de' }], { experts: 4 })).toMatch(/give --choices K/);
    expect(await refused('sglang', path, [{ language: 'de' }], { experts: 4, choices: 5 })).toMatch(
      /has 12 routed experts for 4 tokens/,
    );
    const one = saved('one.jsonl', lines([{ ...response, input_ids: [], output_ids: [1] }]));
    expect(await refused('sglang', one, [{ language: 'de' }], { experts: 4, choices: 2 })).toMatch(/for 1 tokens/);
  });

  test('a completion: sgl_ext in the choice; a later turn begins where the last one ended', async () => {
    const response = { choices: [{ sgl_ext: { routed_experts: int32(FLAT) } }] };
    const row = { language: 'de', ids: [7, 8, 10, 11, 12, 13], from: 2 };
    const found = await trace('sglang', saved('chat.json', JSON.stringify(response)), [row], {
      experts: 4,
      choices: 2,
    });
    expect(tokensOf(found).map(row => row.slice(1, 3))).toEqual([
      [2, 10],
      [2, 10],
      [3, 11],
      [3, 11],
      [4, 12],
      [4, 12],
    ]);
    expect(found.documents!.every(({ first }) => first === 0)).toBe(true); // its first token was not recorded
  });
});

test('OLMoE: exp_ids are [tokens, k, layers], best first; pickles are refused', async () => {
  const byChoice = ROUTES.map(token => [0, 1].map(slot => token.map(experts => experts[slot])));
  const line = { input_ids: [10, 11, 12], predicted_token_ids: [0, 0, 0], exp_ids: byChoice };
  const path = saved('c4_results.jsonl', lines([line, line]));
  const rows = [{ language: 'en' }, { language: 'en' }];
  const found = await trace('olmoe', path, rows, { experts: 4 });
  expect(tokensOf(found).slice(0, 6)).toEqual(EXPECTED([0, 1], [10, 11, 12]));
  expect(await refused('olmoe', path, rows.slice(1), { experts: 4 })).toMatch(
    /:2 is text 2, the documents file has 1 rows/,
  );
  expect(await refused('olmoe', path, [...rows, ...rows], { experts: 4 })).toMatch(/has 2 texts/);
  expect(await refused('olmoe', 'counts/arxiv.pkl', rows)).toMatch(/a pickle of counts .* without documents/);
  const short = saved('short.jsonl', lines([{ ...line, input_ids: [10] }]));
  expect(await refused('olmoe', short, rows.slice(1))).toMatch(/"exp_ids" has shape \(3, 2, 2\) for 1 ids/);
});

describe('Megatron-Core', () => {
  const record = (step: number, layer: number, indices: number[][], more = {}) => ({
    ...{ step, stage: 'pre_dispatch', block: 'decoder', layer, rank: 0 },
    ...{ num_tokens: indices.length, topk: indices[0].length, top_indices: indices },
    ...more,
  });
  const layer = (l: number) => ROUTES.map(token => token[l]);
  function traced(records: ({ rank: number } & Record<string, unknown>)[], logits?: Uint8Array): string {
    const folder = fresh('megatron');
    mkdirSync(folder);
    for (const rank of new Set(records.map(each => each.rank)))
      writeFileSync(join(folder, `router_trace_rank${rank}.jsonl`), lines(records.filter(each => each.rank === rank)));
    if (logits) writeFileSync(join(folder, 'logits_rank0.bin'), logits);
    return folder;
  }
  const ids = [10, 11, 12];

  test('two texts one after another in a step, then interleaved; heads that predict further are left out', async () => {
    const folder = traced([
      record(0, 3, [...layer(0), ...layer(0)]),
      record(0, 4, [...layer(1), ...layer(1)]),
      record(
        0,
        3,
        [
          [0, 0],
          [0, 0],
        ],
        { block: 'mtp', mtp_idx: 0 },
      ),
      record(
        1,
        3,
        layer(0).flatMap(experts => [[3, 2], experts]),
      ),
      record(
        1,
        4,
        layer(1).flatMap(experts => [[3, 2], experts]),
      ),
    ]);
    const rows = [
      { language: 'de', ids },
      { language: 'en', ids },
      { language: 'fr', ids, step: 1, first: 1, stride: 2 },
    ];
    const found = await trace('megatron', folder, rows, { experts: 4 });
    const expected = [0, 1, 2].flatMap(d => EXPECTED([3, 4], ids).map(row => [d, ...row.slice(1)]));
    expect(tokensOf(found)).toEqual(expected);
    expect(found.header).toMatchObject({ moeLayers: [3, 4], numLayers: 5, gates: 'absent' });
    const over = [{ language: 'de', ids: [...ids, ...ids, 1] }];
    expect(await refused('megatron', folder, over, { experts: 4 })).toMatch(
      /would end at token 6 of step 0, which has 6/,
    );
    expect(await refused('megatron', folder, [{ language: 'de' }], { experts: 4 })).toMatch(
      /has no token ids; add "ids"/,
    );
    expect(await refused('megatron', folder, [{ language: 'de', ids, step: 9 }])).toMatch(/no step 9 of rank 0/);
  });

  test('logits beside: gates, the order of the choices and the mean softmax come from them', async () => {
    // bf16 of ln 1, ln 2, ln 4 and ln 8 is not exact; of 0, 1, 2, 4 it is.
    const row = [4, 0, 2, 1];
    const bytes = Buffer.alloc(3 * 4 * 2);
    for (let t = 0; t < 3; t++)
      row.forEach((logit, e) => {
        const float = Buffer.alloc(4);
        float.writeFloatBE(logit);
        bytes.writeUInt16LE(float.readUInt16BE(0), 2 * (t * 4 + e));
      });
    const indices = [
      [0, 2],
      [0, 2],
      [0, 2],
    ]; // ascending, as a mask of chosen experts comes out
    const sidecar = { logit_offset: 0, logit_bytes: bytes.length, logit_shape: [3, 4] };
    const folder = traced(
      [
        record(
          0,
          0,
          indices.map(pair => [pair[1], pair[0]]),
          sidecar,
        ),
      ],
      bytes,
    );
    const found = await trace('megatron', folder, [{ language: 'de', ids }]);
    const z = row.map(Math.exp);
    const p = z.map(value => value / z.reduce((a, b) => a + b));
    expect(found.header).toMatchObject({ numExperts: 4, normalised: false });
    expect(found.header.gates).toBeUndefined();
    expect([...found.columns.expert]).toEqual([0, 2, 0, 2, 0, 2]);
    found.columns.gate.forEach((gate, i) => {
      expect(gate).toBeCloseTo(p[i % 2 === 0 ? 0 : 2], 6);
    });
    expect(found.softmax).toHaveLength(4);
    found.softmax!.forEach(({ probability, expert }) => {
      expect(probability).toBeCloseTo(p[expert], 6);
    });
    writeFileSync(join(folder, 'logits_rank0.bin'), bytes.subarray(0, 10));
    expect(await refused('megatron', folder, [{ language: 'de', ids }])).toMatch(/logits_rank0.bin is cut short/);
  });

  test('layers of several ranks belong together where the row says so', async () => {
    const folder = traced([record(0, 0, layer(0)), record(0, 1, layer(1), { rank: 1 })]);
    const found = await trace('megatron', folder, [{ language: 'de', ids, rank: [0, 1] }], { experts: 4 });
    expect(tokensOf(found)).toEqual(EXPECTED([0, 1], ids));
    const twice = traced([record(0, 0, layer(0)), record(0, 0, layer(0), { rank: 1 })]);
    const both = [{ language: 'de', ids, rank: [0, 1] }];
    expect(await refused('megatron', twice, both, { experts: 4 })).toMatch(
      /layer 0 was traced on two of the ranks 0, 1/,
    );
  });

  test('what is no router trace gets one sentence', async () => {
    const rows = [{ language: 'de', ids }];
    expect(await refused('megatron', root, rows)).toMatch(/holds no router_trace_rank0.jsonl/);
    const other = traced([{ ...record(0, 0, layer(0)), stage: 'post_combine' }]);
    expect(await refused('megatron', other, rows)).toMatch(/at stage post_combine/);
    const twice = traced([record(0, 0, layer(0)), record(0, 0, layer(0))]);
    expect(await refused('megatron', twice, rows)).toMatch(/layer 0 occurs twice in step 0/);
    const wrong = traced([record(0, 0, layer(0), { num_tokens: 4 })]);
    expect(await refused('megatron', wrong, rows)).toMatch(/has shape \(3, 2\), the record says 4 tokens of 2/);
  });
});

test('a model folder says the shape: experts, choices and which layers have them', async () => {
  const model = join(import.meta.dirname, '..', 'golden', 'hf', 'qwen3_moe');
  const k = 2;
  const layers = 4;
  const values = Array.from({ length: 2 * layers * k }, (_, i) => i % k);
  const path = saved('two.npy', npy([2, layers, k], values));
  const found = await trace('vllm', path, [{ language: 'de', ids: [1, 2] }], { model });
  expect(found.header).toMatchObject({ model: 'qwen3_moe', numExperts: 8, expertsPerToken: k });
  expect(found.header).toMatchObject({ moeLayers: [1, 2], numLayers: 3 }); // of four in the file; layer 0 is dense
});

test('.npy: version 2 of the format, and what it is refused for', () => {
  const one = npy([2, 1], [5, -1]);
  const two = Buffer.concat([one.subarray(0, 6), Buffer.from([2, 0, 118, 0, 0, 0]), one.subarray(10)]);
  expect(parseNpy(two, 'two')).toEqual({ shape: [2, 1], values: Int32Array.of(5, -1) });
  const float = Buffer.from(one.toString('latin1').replace('<i4', '<f4'), 'latin1');
  expect(() => parseNpy(float, 'floats')).toThrow(
    'floats is an array of f4 numbers; save whole numbers in C order, as int32.',
  );
  expect(() => parseNpy(Buffer.from('PK'), 'zip')).toThrow(/^zip is no \.npy array/);
});
