// The shipped configurations resolve as the paper says, and every kind of wrong input gets one sentence with file and line.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { nearest } from '../../src/config/spelling.ts';
import { UserError } from '../../src/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
let files = 0;
function write(text: string): string {
  const path = join(folder, `case-${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}
function refusal(text: string, options = {}): string {
  try {
    loadConfig(write(text), options);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error('accepted');
}
const families = (body: string): string => `name: f\nfamilies:\n${body}`;
const two = families(
  `  - { name: A, expert: 0, languages: [{ code: aa, name: A, script: Latn }] }
  - { name: B, expert: 1, languages: [{ code: bb, name: B, script: Latn }] }
`,
);

describe('shipped configurations', () => {
  test('50lang: 50 codes in 7 families of sizes 1/3/3/5/27/4/7, k 2, MoE in the last 2 layers', () => {
    const { config, map } = loadConfig('configs/50lang.yaml');
    expect(new Set(map.languages.map(l => l.code)).size).toBe(50);
    const sizes = Array.from({ length: map.numExperts }, (_, e) => map.languages.filter(l => l.expert === e).length);
    expect(sizes).toEqual([1, 3, 3, 5, 27, 4, 7]);
    expect(config.model.num_experts_per_tok).toBe(2);
    expect(config.model.moe_layers).toBe('last 2');
    expect([config.model.norm_topk_prob, config.train.multipliers.router]).toEqual([true, 10]);
  });
  test('the map is the paper’s, code by code', () => {
    const { map } = loadConfig('configs/50lang.yaml');
    const of = (expert: number): string =>
      map.languages
        .filter(l => l.expert === expert)
        .map(l => l.code)
        .sort()
        .join(' ');
    expect([0, 1, 2, 3, 5, 6].map(of)).toEqual([
      'zh',
      'ja ko ne',
      'lo th vi',
      'ceb doi ilo mg su',
      'ar ckb he mt',
      'bm ha ig ln nso rw sw',
    ]);
    expect(of(4)).toBe('bg bs co cs da de en eo es fr gd gl gn hi hr it la lb mai no pt ru sa sk sq sr uk');
  });
  test('glottolog has the same 50 languages in other families', () => {
    const apollo = loadConfig('configs/families/apollo.yaml').map;
    const glottolog = loadConfig('configs/families/glottolog.yaml').map;
    const codes = (map: typeof apollo): string[] => map.languages.map(l => l.code).sort();
    expect(codes(glottolog)).toEqual(codes(apollo));
    expect(glottolog.numExperts).toBe(12);
    const family = (code: string): string => glottolog.languages.find(l => l.code === code)!.family;
    expect(['doi', 'ckb', 'ha', 'bm', 'gn'].map(family)).toEqual([
      'Indo-European',
      'Indo-European',
      'Afro-Asiatic',
      'Mande',
      'Tupian',
    ]);
  });
  test('the paper preset has the paper’s known choices', () => {
    const { config } = loadConfig('configs/50lang.yaml', { presets: ['paper'] });
    expect(config.model.norm_topk_prob).toBe(false);
    expect(config.data.packing).toBe('concatenated');
    expect(config.train).toMatchObject({ horizon: 1.35, warmup: 0.03, decay_norms: true, multipliers: { router: 1 } });
    expect(config.router).toMatchObject({ train_mode: 'forced', inference_mode: 'free', init_std: 0.02 });
  });
  test('12lang: favourites of routers are asked for once or for each layer', () => {
    const load = (bias: unknown) => loadConfig('configs/12lang.yaml', { overrides: [['router.init_bias', bias]] });
    expect(load([1, 1, 0, 0, 0, 0]).config.router.init_bias).toEqual([1, 1, 0, 0, 0, 0]);
    expect(() => load([1, 1])).toThrow('--set router.init_bias=[1,1]: init_bias has 2 numbers for 6 layers');
  });
  test('12lang: the paper’s 12-language map', () => {
    const { map } = loadConfig('configs/12lang.yaml');
    expect(map.languages.map(l => `${l.code}${l.expert}`).join(' ')).toBe(
      'ar0 de1 en2 es3 fr4 hi5 it6 ja7 ko8 pt9 ru10 zh11',
    );
  });
});

describe('resolution', () => {
  test('a resolved configuration resolves to itself', async () => {
    const { stringify } = await import('yaml');
    const { config } = loadConfig('configs/50lang.yaml', { presets: ['quick'] });
    expect(loadConfig(write(stringify(config))).config).toEqual(config);
  });
  test('a bare families file trains with the defaults', () => {
    const { config, map } = loadConfig(write(two));
    expect(map.numExperts).toBe(2);
    expect(config.train.steps).toBe(1000);
  });
  test('presets and overrides merge deeply, overrides last', () => {
    const { config } = loadConfig('configs/50lang.yaml', { presets: ['quick'], overrides: [['train.steps', 7]] });
    expect(config.train.steps).toBe(7);
    expect(config.train.batch_size).toBe(8);
    expect(config.model.hidden_size).toBe(96);
  });
  test('a tokenizer of another kind replaces the whole block', () => {
    const { config } = loadConfig('configs/50lang.yaml', { overrides: [['tokenizer', { kind: 'bytes' }]] });
    expect(config.tokenizer).toEqual({ kind: 'bytes' });
  });
  test('a subset of languages keeps file order and experts', () => {
    const { map } = loadConfig('configs/50lang.yaml', { overrides: [['languages', ['sw', 'zh']]] });
    expect(map.languages.map(l => [l.index, l.code, l.expert])).toEqual([
      [0, 'zh', 0],
      [1, 'sw', 6],
    ]);
    expect(map.numExperts).toBe(7);
  });
});

describe('wrong input gets one sentence with file, line and mend', () => {
  const at = (line: number): RegExp => new RegExp(`case-\\d+\\.yaml line ${line}: `);
  test.each([
    ['unknown key', `${'families: x.yaml'}\ntrain:\n  lerning_rate: 1\n`, 3, "did you mean 'learning_rate'"],
    ['wrong type', 'families: x.yaml\ntrain:\n  steps: many\n', 3, 'found "many"'],
    ['wrong choice', 'families: x.yaml\nrouter:\n  kind: topk\n', 3, 'found "topk"'],
    ['bad YAML', 'families: x.yaml\ntrain: [1\n', 3, 'not valid YAML'],
    ['missing families file', 'name: a\nfamilies: nowhere.yaml\n', 2, 'there is no such file'],
    ['layer out of range', `families: { ${inline(two)} }\nmodel:\n  moe_layers: [5, 6]\n`, 3, 'layers 0 to 5'],
    ['k > E', `families: { ${inline(two)} }\nmodel:\n  num_experts_per_tok: 3\n`, 3, 'more than the 2 experts'],
    ['unknown language', `families: { ${inline(two)} }\nlanguages: [aa, xx]\n`, 2, "'xx' is in no family"],
    ['heads', `families: { ${inline(two)} }\nmodel:\n  hidden_size: 30\n`, 3, 'heads of even width'],
  ])('%s', (_, text, line, words) => {
    const sentence = refusal(text);
    expect(sentence).toMatch(at(line));
    expect(sentence).toContain(words);
    expect(sentence).not.toContain('\n');
  });
  test('a language in two families names both, at the second', () => {
    const text = families(
      `  - name: A
    expert: 0
    languages: [{ code: aa, name: A, script: Latn }]
  - name: B
    expert: 1
    languages:
      - { code: bb, name: B, script: Latn }
      - { code: aa, name: A, script: Latn }
`,
    );
    expect(refusal(text)).toMatch(/line 10: language 'aa' stands in two families, A and B/);
  });
  test('expert ids with holes', () => {
    expect(refusal(two.replace('expert: 1', 'expert: 2'))).toMatch(/line 2: no family has expert 1/);
  });
  test('unknown preset lists what there is', () => {
    expect(refusal(`families: { ${inline(two)} }\npresets: { small: {} }\n`, { presets: ['big'] })).toContain('small');
  });
  test('a fault inside a preset is located in the preset', () => {
    const text = `families: { ${inline(two)} }\ntrain: { steps: 5 }\npresets:\n  p:\n    train:\n      steps: -1\n`;
    expect(refusal(text, { presets: ['p'] })).toMatch(at(6));
  });
  test('a fault in an override names the override', () => {
    expect(refusal(two, { overrides: [['train.steps', 0]] })).toContain('--set train.steps=0');
  });
});

test('the random control keeps group sizes, follows its seed and names its experts so', () => {
  const map = (seed: number | null) =>
    loadConfig('configs/50lang.yaml', { overrides: [['shuffle_families', seed]] }).map;
  const sizes = (seed: number | null) =>
    Array.from({ length: 7 }, (_, e) => map(seed).languages.filter(l => l.expert === e).length);
  const experts = (seed: number | null): string =>
    map(seed)
      .languages.map(l => l.expert)
      .join('');
  expect(sizes(1)).toEqual(sizes(null));
  expect(experts(1)).toBe(experts(1));
  expect(new Set([null, 1, 2].map(experts)).size).toBe(3);
  expect(map(1).expertNames[0]).toBe('random 0');
});

test('one expert per token needs raw gates, or the router learns nothing', () => {
  const k1 = { overrides: [['model.num_experts_per_tok', 1]] as [string, unknown][] };
  expect(refusal(two, k1)).toContain('set norm_topk_prob to false');
  expect(() => loadConfig(write(two), { overrides: [...k1.overrides, ['model.norm_topk_prob', false]] })).not.toThrow();
});

test('a fault in a bare families file is named by its own path', () => {
  const sentence = refusal(two.replace('script: Latn', 'script: Latin'));
  expect(sentence).toContain("'families.0.languages.0.script'");
  expect(sentence).toContain('ISO 15924');
});

test('spelling: within two edits, else nothing', () => {
  expect(nearest('step', ['steps', 'seed'])).toBe('steps');
  expect(nearest('zzzz', ['steps', 'seed'])).toBeUndefined();
});

/** The families block on one line, for use inside a mapping. */
function inline(text: string): string {
  return text
    .replace('name: f\nfamilies:\n', 'name: f, families: [')
    .replace(/ {2}- /g, '')
    .replace(/\n(?=\{)/, ', ')
    .replace(/\n$/, ']');
}
