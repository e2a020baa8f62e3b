// What an observer saw during a pass can be read after it.
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { tf } from '../../src/engine/tf.ts';
import { tokenLosses } from '../../src/model/loss.ts';
import { type ObservedRouting, recordRoutings } from '../../src/model/observed.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { disposeModel } from '../../src/model/weights.ts';
import { gradientsOf, toyBatches, toyDocuments, toyExperts, toyModel } from './toy.ts';

const batch = toyBatches(toyDocuments([9, 14, 6, 11]), 2, 24)[0];

describe.each(['cpu', 'wasm'] as const)('%s', backend => {
  beforeEach(() => selectBackend(backend).then(() => undefined));

  test.each([
    ['a plain pass', false, false],
    ['a pass with gradients', true, false],
    ['a pass with gradient checkpointing', true, true],
  ])('%s: ids and gates are those that the observer was shown', async (_, gradients, checkpointing) => {
    const model = toyModel();
    const recorder = recordRoutings();
    const shown: ObservedRouting[] = [];
    const options = {
      mode: 'forced' as const,
      checkpointing,
      onRouting: (...seen: Parameters<typeof recorder.observe>) => {
        const [layer, { expertId_TK, gate_TK, k }] = seen;
        const gate = gate_TK.dataSync<'float32'>().slice();
        shown.push({ layer, expertId_TK: hostIntegers(expertId_TK).slice(), gate_TK: gate, k });
        recorder.observe(...seen);
      },
    };
    if (gradients) await gradientsOf(model, batch, options);
    else await tokenLosses(model, tokenInput(batch, toyExperts), batch.label_BS, options);
    const rows = await recorder.read();
    expect(rows.map(({ layer }) => layer)).toEqual([1, 2]);
    expect(rows).toEqual(shown);
    expect(await recorder.read()).toEqual([]);
    disposeModel(model);
  });
});

describe('by hand', () => {
  beforeEach(() => selectBackend('cpu').then(() => undefined));
  /** One routing inside a tidy, which frees the tensors of the router. */
  const observeOne = (recorder: ReturnType<typeof recordRoutings>): void =>
    tf.tidy(() => {
      const gate_TK = tf.tensor2d([0.75, 0.25, 1, 0], [2, 2]);
      const expertId_TK = tf.tensor1d([2, 0, 1, -1], 'int32');
      recorder.observe(5, { expertId_TK, gate_TK, probabilities_TE: gate_TK, k: 2 });
    });

  test('ids that are a tensor come back as integers, together with the gates', async () => {
    const recorder = recordRoutings();
    observeOne(recorder);
    const reads = vi.spyOn(tf.engine(), 'read');
    expect(await recorder.read()).toEqual([
      { layer: 5, expertId_TK: Int32Array.of(2, 0, 1, -1), gate_TK: Float32Array.of(0.75, 0.25, 1, 0), k: 2 },
    ]);
    expect(reads).toHaveBeenCalledTimes(1);
  });

  test('what is never read, or cannot be, is freed', async () => {
    const recorder = recordRoutings();
    observeOne(recorder);
    recorder.dispose();
    observeOne(recorder);
    vi.spyOn(tf.engine(), 'read').mockRejectedValue(new Error('lost'));
    await expect(recorder.read()).rejects.toThrow('lost');
  });
});
