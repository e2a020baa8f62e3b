// A pass over a model that stays in its files answers what the ordinary pass answers: losses, routing and logits, bit for bit
// where the head is held whole, however little of the model is held at once.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Batch } from '../../src/data/types.ts';
import { readModelFolder, readTensors } from '../../src/hub/model-folder.ts';
import { tokenLosses } from '../../src/model/loss.ts';
import { type ObservedRouting, recordRoutings } from '../../src/model/observed.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import { createModel, disposeModel } from '../../src/model/weights.ts';
import { type StreamedBatch, streamedForward } from '../../src/stream/forward.ts';
import { planStream, type StreamPlan } from '../../src/stream/plan.ts';
import { storedModel } from '../../src/stream/source.ts';
import { backends, use } from '../engine/backends.ts';
import { difference, tidied, toyBatches, toyDocuments, valuesOf } from '../model/toy.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
const NAMES = [
  'qwen2-tied',
  'qwen2-window',
  'llama3',
  'apollo',
  'mixtral',
  'mixtral-fused',
  'qwen2_moe',
  'qwen3_moe',
  'olmoe-fused',
];

let temporary: string;
beforeAll(() => {
  temporary = mkdtempSync(join(tmpdir(), 'moe-stream-'));
});
afterAll(() => rmSync(temporary, { recursive: true }));

/** Three batches of three sequences, padding among them. */
const batches: Batch[] = toyBatches(toyDocuments([8, 14, 12, 9, 5, 10, 11, 3, 7, 12, 12, 6, 12, 4]), 3, 12);
/** Tokens whose logits are compared: in the first and the last batch. */
const logitsAt = batches.map((_, b) => (b === 1 ? [] : [0, 7, 35]));

type Passed = StreamedBatch & { routings: ObservedRouting[] };

async function ordinary(folder: ReturnType<typeof readModelFolder>): Promise<Passed[]> {
  const model = createModel(folder.spec, readTensors(folder, { halves: true }));
  const all: Passed[] = [];
  for (const [b, batch] of batches.entries()) {
    const recorder = recordRoutings();
    const input = tokenInput(batch, null);
    const loss_T = await tokenLosses(model, input, batch.label_BS, { mode: 'free', onRouting: recorder.observe });
    const V = folder.spec.vocab_size;
    const logits = tidied(() => valuesOf(forward(model, input, { mode: 'free' }).logits_TV));
    const logits_RV = Float32Array.from(logitsAt[b].flatMap(t => [...logits.subarray(t * V, (t + 1) * V)]));
    all.push({ loss_T: loss_T.slice(), routings: await recorder.read(), logits_RV });
  }
  disposeModel(model);
  return all;
}

/** Routings of pieces, put together by batch and layer. */
function putTogether() {
  const routings: ObservedRouting[][] = batches.map(() => []);
  const onRouting = ({ layer, expertId_TK, gate_TK, k }: ObservedRouting, batch: number, from: number): void => {
    let whole = routings[batch].at(-1);
    if (whole?.layer !== layer) {
      const slots = batches[batch].inputId_BS.length * k;
      whole = { layer, expertId_TK: new Int32Array(slots), gate_TK: new Float32Array(slots), k };
      routings[batch].push(whole);
    }
    whole.expertId_TK.set(expertId_TK, from * k);
    whole.gate_TK.set(gate_TK, from * k);
  };
  return { routings, onRouting };
}

describe.each(backends)('on %s', backend => {
  beforeAll(() => use(backend).then(() => undefined));

  // Plain JavaScript takes a second for each.
  test.each(backend === 'cpu' ? ['qwen3_moe'] : NAMES)('%s, whole layers and one expert at a time', async name => {
    const folder = readModelFolder(join(HOME, name));
    const expected = await ordinary(folder);
    const model = storedModel(folder);
    const inputs = batches.map(batch => tokenInput(batch, null));
    const generous = planStream(model, inputs, null);
    expect(generous).toMatchObject({ sequences: 3, onDisk: false, headRows: folder.spec.vocab_size });
    const one = generous.experts_L.map(held => Math.min(held, 1));
    const activationBytes = generous.activationBytes * (1 + folder.spec.num_experts_per_tok);
    const plans: Record<string, StreamPlan> = {
      whole: generous,
      'cut batches, activations on disk': { ...generous, sequences: 1, onDisk: true },
      'four experts': { ...generous, experts_L: generous.experts_L.map(held => Math.min(held, 4)), activationBytes },
      'one expert': { ...generous, sequences: 2, experts_L: one, activationBytes },
      'one expert, logits of two tokens, on disk': {
        ...generous,
        experts_L: one,
        activationBytes,
        onDisk: true,
        headTokens: 2,
      },
      'parts of the head': { ...generous, headRows: 19, headTokens: 5 },
    };
    for (const [words, plan] of Object.entries(plans)) {
      const { routings: seen, onRouting } = putTogether();
      const found = await streamedForward(model, batches, {
        ...{ mode: 'free', expertOfLanguage: null, plan, temporary, onRouting, logitsAt },
      });
      for (const [b, { loss_T, routings, logits_RV }] of expected.entries()) {
        const own = found[b];
        expect(seen[b], words).toEqual(routings);
        expect(own.logits_RV, words).toEqual(logits_RV);
        if (plan.headRows === folder.spec.vocab_size) expect(own.loss_T, words).toEqual(loss_T);
        else expect(difference(own.loss_T, loss_T), words).toBeLessThan(2e-6);
      }
    }
    expect(readdirSync(temporary)).toEqual([]);
  });
});
