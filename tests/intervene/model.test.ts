// Interventions inside a model, on every backend of the processor: bits where bits are promised, and the counts they rest on.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Act } from '../../routing/intervene/acts.ts';
import { documentLosses, type Evaluated, type EvaluateOptions } from '../../src/eval/evaluate.ts';
import { recordTrace } from '../../src/eval/trace.ts';
import { exportModel } from '../../src/hub/export/write-export.ts';
import { readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';
import { outputScores } from '../../src/intervene/output-scores.ts';
import { openPasses } from '../../src/intervene/passes.ts';
import { type Kept, prunedSpec, refuseUnprunable, writePruned } from '../../src/intervene/prune-model.ts';
import { measureUsage } from '../../src/intervene/usage.ts';
import { fromConfigJson, toConfigJson } from '../../src/model/config-json.ts';
import { countParameters } from '../../src/model/count.ts';
import type { ForwardOptions } from '../../src/model/forward-options.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import { createModel, disposeModel, type Model } from '../../src/model/weights.ts';
import { storedModel } from '../../src/stream/source.ts';
import { backends, use } from '../engine/backends.ts';
import {
  EOS,
  tidied,
  toyBatches,
  toyDocuments,
  toyExperts,
  toyMap,
  toyModel,
  toySpec,
  toyWeights,
  valuesOf,
} from '../model/toy.ts';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'moe-intervene-'));
});
afterAll(() => rmSync(home, { recursive: true }));

const HF = join(import.meta.dirname, '..', 'golden', 'hf');
const documents = toyDocuments([8, 14, 12, 25, 1, 30, 5, 24, 2, 16, 16, 9]);
const shape = { batch: 4, sequence: 16, padId: EOS, mode: 'free' as const };
const [batch] = toyBatches(documents, 4, 16);

const logits = (model: Model, options: Partial<ForwardOptions> = {}, forced = false): Float32Array =>
  tidied(() => {
    const mode = forced ? 'forced' : 'free';
    return valuesOf(forward(model, tokenInput(batch, forced ? toyExperts : null), { mode, ...options }).logits_TV);
  });

const masks = (kept: Kept, experts: number): ReadonlyMap<number, Act[]> =>
  new Map(
    [...kept].map(([layer, stay]) => {
      const gone = Array.from({ length: experts }, (_, e) => e).filter(e => !stay.includes(e));
      return [layer, [{ kind: 'mask', experts: gone }]];
    }),
  );

/** A toy checkpoint in a folder. */
async function saved(settings: Parameters<typeof toySpec>[0], dtype: 'F32' | 'BF16' = 'F32'): Promise<string> {
  const folder = mkdtempSync(join(home, 'toy-'));
  const spec = toySpec(settings);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toConfigJson(spec, toyMap, EOS)));
  const tensors = [...toyWeights(spec)].map(([name, { shape: size, values }]) => ({
    ...{ name, dtype, shape: size, values: () => values },
  }));
  const biases = spec.router.bias_rate > 0 ? [1, 2] : [];
  const bias = biases.map(layer => ({
    ...{ name: `model.layers.${layer}.mlp.gate.e_score_correction_bias`, dtype: 'F32' as const, shape: [4] },
    values: () => Float32Array.of(0.3, -0.1, 0.2, -0.3),
  }));
  await writeSafetensors(join(folder, 'model.safetensors'), [...tensors, ...bias]);
  return folder;
}

const opened = (directory: string): Model => {
  const folder = readModelFolder(directory);
  return createModel(folder.spec, readTensors(folder, { halves: true }), directory);
};

let written = 0;
async function prunedAt(directory: string, kept: Kept): Promise<string> {
  const out = join(home, `pruned-${written++}`);
  await writePruned(readModelFolder(directory), kept, out, {});
  return out;
}

describe.each(backends)('on %s', backend => {
  beforeAll(() => use(backend).then(() => undefined));

  test.each(['free', 'forced'] as const)('pruned logits are masked logits, bit for bit: %s', async mode => {
    const kept: Kept = new Map([
      [1, [0, 2, 3]],
      [2, [1, 3]],
    ]);
    const directory = await saved({ model: { shared_expert: true } });
    const [whole, pruned] = [opened(directory), opened(await prunedAt(directory, kept))];
    const forced = mode === 'forced';
    const masked = logits(whole, { intervention: { acts: masks(kept, 4) } }, forced);
    expect(logits(pruned, {}, forced)).toEqual(masked);
    expect(logits(whole, {}, forced)).not.toEqual(masked);
    disposeModel(whole);
    disposeModel(pruned);
  });

  test('an intervention without strength leaves every bit of the logits', () => {
    const model = toyModel();
    const idle: Act[] = [
      { kind: 'soft', experts: [0, 3], strength: 0 },
      { kind: 'share', share_E: [1, 0.5, 0, 0.2], strength: 0 },
      { kind: 'mask', experts: [] },
    ];
    expect(
      logits(model, {
        intervention: {
          acts: new Map([
            [1, idle],
            [2, idle],
          ]),
        },
      }),
    ).toEqual(logits(model));
    disposeModel(model);
  });
});

describe('in memory and in files', () => {
  beforeAll(() => use('wasm').then(() => undefined));

  test('acts hold at the tokens of some languages; the losses of the others stay', async () => {
    const directory = await saved({});
    const model = opened(directory);
    const stored = storedModel(readModelFolder(directory));
    const streamed = { spec: stored.spec, stored, budget: 200_000, temporary: home, announce: () => undefined };
    const told: number[][] = [];
    const options = (into: number[][]): Omit<EvaluateOptions, 'mode'> => ({
      ...shape,
      intervention: {
        acts: masks(
          new Map([
            [1, [0, 1]],
            [2, [2, 3]],
          ]),
          4,
        ),
        told: (...all) => void into.push(all),
      },
      actsOn: new Set([1, 3]),
    });
    const losses = (subject: Evaluated, more = options([])) =>
      documentLosses(subject, documents, toyMap.languages, { ...more, mode: 'free' });
    const plain = await documentLosses(model, documents, toyMap.languages, shape);
    const acted = await losses(model, options(told));
    expect(await losses(streamed)).toEqual(acted);
    documents.forEach(({ language, ids }, d) => {
      if (language % 2 === 0 || ids.length < 2) expect(acted[d]).toEqual(plain[d]);
      else expect(acted[d].nats).not.toBe(plain[d].nats);
    });
    const ofLanguages = documents.filter(({ language }) => language % 2 === 1);
    const tokens = (layer: number) => told.filter(([l]) => l === layer).reduce((sum, [, count]) => sum + count, 0);
    expect([tokens(1), tokens(2)]).toEqual(Array(2).fill(ofLanguages.reduce((sum, { ids }) => sum + ids.length, 0)));
    expect(told.every(([, count, flipped]) => flipped <= count)).toBe(true);
    disposeModel(model);
  });

  test('passes: differences from the plain pass, flips, and equal acts once', async () => {
    const model = toyModel();
    const began: number[] = [];
    const passes = await openPasses({
      ...{ model, languages: toyMap.languages, documents, shape },
      bytesOf: ({ ids }) => ids.length,
      onPass: done => began.push(done),
    });
    const acts = masks(new Map([[2, [0, 1]]]), 4);
    const first = await passes.run(acts);
    expect(await passes.run(new Map(acts))).toBe(first);
    expect(began).toEqual([0]);
    const plain = await documentLosses(model, documents, toyMap.languages, shape);
    const acted = await documentLosses(model, documents, toyMap.languages, { ...shape, intervention: { acts } });
    expect(first.paired.map(({ difference }) => difference)).toEqual(acted.map(({ nats }, d) => nats - plain[d].nats));
    expect(first.flipRate.get(2)!).toBeGreaterThan(0.5);
    expect((await passes.run(new Map([[2, [{ kind: 'zero', experts: [0] }]]]))).flipRate.get(2)).toBe(0);
    disposeModel(model);
  });

  test('usage is what the trace says', async () => {
    const model = toyModel();
    const usage = await measureUsage(model, documents, toyMap.languages, shape);
    const request = {
      run: 'toy',
      modelName: 'toy',
      step: 0,
      trainingBytes: [1, 1, 1, 1],
      history: [],
      mode: 'free' as const,
    };
    const { columns } = await recordTrace({ ...request, model, map: toyMap, documents }, shape);
    const sums = (layer: number, language: number, first: boolean, of: (row: number) => number): number[] => {
      const out = [0, 0, 0, 0];
      for (let i = 0; i < columns.layer.length; i++) {
        const counted = columns.token[i] !== EOS && columns.layer[i] === layer && columns.language[i] === language;
        if (counted && (!first || columns.slot[i] === 0)) out[columns.expert[i]] += of(i);
      }
      return out;
    };
    for (const layer of [1, 2])
      for (const language of [0, 1, 2, 3]) {
        const row = usage.sums.get(layer)![language]!;
        expect([...row.chosen_E]).toEqual(sums(layer, language, false, () => 1));
        expect([...row.first_E]).toEqual(sums(layer, language, true, () => 1));
        expect(row.tokens).toBe(row.first_E.reduce((a, b) => a + b));
        for (const [e, gate] of sums(layer, language, false, i => columns.gate[i]).entries())
          expect(row.gate_E[e]).toBeCloseTo(gate, 10);
        for (const [e, gate] of sums(layer, language, true, i => columns.gate[i]).entries())
          expect(row.firstGate_E[e]).toBeCloseTo(gate, 10);
      }
    disposeModel(model);
  });

  test('output scores: gate times length of the expert’s answer, seen by silencing it', async () => {
    // With one expert per token and nothing normalised, the layer's answer is the product itself: silencing tells its length.
    const model = toyModel({ model: { num_experts_per_tok: 1, norm_topk_prob: false, moe_layers: [2] } });
    const [one] = documents.filter(({ ids }) => ids.length === 14);
    const score = (await outputScores(model, [one], toyMap.languages, [one.language], shape)).get(2)!;
    const [input] = toyBatches([one], 1, 16);
    let gates: Float32Array = new Float32Array();
    let ids: Int32Array = new Int32Array();
    let lengths: number[] = [];
    tidied(() => {
      forward(model, tokenInput(input, null), {
        mode: 'free',
        onFfnInput: (layer, x_TD) => {
          if (layer !== 2) return;
          const each = [0, 1, 2, 3].map(e => expertLengths(model, e, x_TD.arraySync()));
          lengths = each.flat();
        },
        onRouting: (_, { expertId_TK, gate_TK }) => {
          ids = (expertId_TK as Int32Array).slice();
          gates = valuesOf(gate_TK);
        },
      });
      return 0;
    });
    const sum = [0, 0, 0, 0];
    ids.forEach((e, t) => {
      if (input.document_BS[t] >= 0 && input.inputId_BS[t] !== EOS) sum[e] += gates[t] * lengths[e * 16 + t];
    });
    const total = sum.reduce((a, b) => a + b);
    for (const [e, value] of sum.entries()) expect(score[e]).toBeCloseTo(value / total, 5);
    disposeModel(model);
  });
});

/** ‖expert(x)‖ of each row, in plain arithmetic. */
function expertLengths(model: Model, expert: number, rows: number[][]): number[] {
  const matrix = (name: string) =>
    model.weights.get(`model.layers.2.mlp.experts.${expert}.${name}_proj.weight`)!.arraySync() as number[][];
  const [gate, up, down] = [matrix('gate'), matrix('up'), matrix('down')];
  const times = (m: number[][], x: number[]) => m.map(row => row.reduce((sum, w, i) => sum + w * x[i], 0));
  return rows.map(x => {
    const open = times(gate, x);
    const hidden = times(up, x).map((u, i) => (u * open[i]) / (1 + Math.exp(-open[i])));
    return Math.hypot(...times(down, hidden));
  });
}

describe('pruned checkpoints', () => {
  beforeAll(() => use('wasm').then(() => undefined));

  test.each(['qwen3_moe', 'olmoe-fused', 'qwen2_moe', 'mixtral'])('%s of the transformers library', async name => {
    const directory = join(HF, name);
    const whole = opened(directory);
    const { layers, numExperts, num_experts_per_tok: k } = whole.spec;
    const even = Array.from({ length: numExperts }, (_, e) => e).filter(e => e % 2 === 0 || e < k);
    const kept: Kept = new Map(
      layers.flatMap((kind, layer) => (kind === 'moe' ? [[layer, even.slice(layer % 2)]] : [])),
    );
    const pruned = opened(await prunedAt(directory, kept));
    const ids = Float32Array.from(batch.inputId_BS, id => id % whole.spec.vocab_size);
    const input = { ...tokenInput(batch, null), id_T: Int32Array.from(ids) };
    const of = (model: Model, options: Partial<ForwardOptions> = {}): Float32Array =>
      tidied(() => valuesOf(forward(model, input, { mode: 'free', ...options }).logits_TV));
    expect(of(pruned)).toEqual(of(whole, { intervention: { acts: masks(kept, numExperts) } }));
    disposeModel(whole);
    disposeModel(pruned);
  });

  test('in bf16, with balancing biases and one whole layer: smaller by its experts, and its trace has the old names', async () => {
    const directory = await saved({ router: { bias_rate: 0.01 } }, 'BF16');
    const kept: Kept = new Map([[2, [1, 3]]]);
    const out = await prunedAt(directory, kept);
    const [whole, pruned] = [opened(directory), opened(out)];
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).toMatchObject({
      ...{ kept_experts: [null, null, [1, 3]], num_experts: 4, torch_dtype: 'bfloat16' },
    });
    expect([...pruned.selectionBias.get(2)!]).toEqual([Math.fround(-0.1), Math.fround(-0.3)]);
    expect(logits(pruned)).toEqual(logits(whole, { intervention: { acts: masks(kept, 4) } }));
    const [large, small] = [countParameters(whole.spec), countParameters(pruned.spec)];
    expect(large.total - small.total).toBe(2 * (3 * 16 * 24 + 16));
    expect(large.active - small.active).toBe(2 * 16); // two rows of the router
    const request = {
      run: 'toy',
      modelName: 'toy',
      step: 0,
      trainingBytes: [1, 1, 1, 1],
      history: [],
      mode: 'free' as const,
    };
    const { header, columns } = await recordTrace({ ...request, model: pruned, map: toyMap, documents }, shape);
    expect(header.numExperts).toBe(4);
    expect(new Set(columns.expert.filter((_, i) => columns.layer[i] === 2))).toEqual(new Set([1, 3]));
    disposeModel(whole);
    disposeModel(pruned);
  });

  test('exports: our layout keeps everything, others want layers of one size', async () => {
    const directory = await saved({});
    const options = { dtype: null, mostBytes: 1e9, provenance: {} };
    const [even, uneven] = [
      await prunedAt(
        directory,
        new Map([
          [1, [0, 2]],
          [2, [1, 3]],
        ]),
      ),
      await prunedAt(
        directory,
        new Map([
          [1, [0, 2, 3]],
          [2, [1, 3]],
        ]),
      ),
    ];
    const qwen = await exportModel(readModelFolder(even), join(home, 'qwen'), { ...options, target: 'qwen2-moe' });
    expect(qwen.modelType).toBe('qwen2_moe');
    const [exported, pruned] = [opened(join(home, 'qwen')), opened(even)];
    expect(exported.spec.numExperts).toBe(2);
    expect(logits(exported)).toEqual(logits(pruned));
    await exportModel(readModelFolder(uneven), join(home, 'own'), { ...options, target: 'safetensors' });
    const [again, first] = [opened(join(home, 'own')), opened(uneven)];
    expect(logits(again)).toEqual(logits(first));
    await expect(
      exportModel(readModelFolder(uneven), join(home, 'no'), { ...options, target: 'qwen2-moe' }),
    ).rejects.toThrow(/it has pruned layers of 2 and 3 experts/);
    for (const model of [exported, pruned, again, first]) disposeModel(model);
  });

  test('config.json keeps who is left, and a list that no pruning leaves is refused', () => {
    const spec = prunedSpec(toySpec(), new Map([[2, [0, 3]]]));
    const json = JSON.parse(JSON.stringify(toConfigJson(spec, toyMap, EOS)));
    expect(fromConfigJson(json, 'config.json').spec).toEqual(spec);
    for (const kept_experts of [
      [null, null],
      [null, null, [3, 0]],
      [null, null, [1]],
      [null, null, [1, 4]],
      'all',
      [null, null, [0, 0.5]],
    ])
      expect(() => fromConfigJson({ ...json, kept_experts }, 'config.json')).toThrow(
        /^config\.json: the key 'kept_experts' must have, for each of 3 layers, null or at least 2 ascending experts below 4;/,
      );
  });

  test('refusals', async () => {
    const spec = toySpec();
    expect(() => refuseUnprunable(prunedSpec(spec, new Map()))).toThrow(/pruned already/);
    expect(() => refuseUnprunable({ ...spec, capacity_factor: 1 })).toThrow(/capacity_factor/);
    expect(() => refuseUnprunable({ ...spec, router: { ...spec.router, kind: 'hash' } })).toThrow(/^Router hash/);
    const pruned = createModel(prunedSpec(spec, new Map()), toyWeights(spec));
    expect(() => logits(pruned, { intervention: { acts: masks(new Map([[1, [0, 1]]]), 4) } })).toThrow(/is pruned/);
    disposeModel(pruned);
  });
});
