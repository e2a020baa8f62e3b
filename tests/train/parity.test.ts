// Twenty AdamW steps from the same checkpoint on the same batches give PyTorch's losses, gradient norms and weights: a dense
// Qwen2, and Apollo's mixture under hybrid-k. Of one batch of the mixture also every gradient and every choice.
import { describe, expect, test } from 'vitest';
import { readModelFolder } from '../../src/hub/model-folder.ts';
import { tensorSpecs } from '../../src/model/spec.ts';
import { optimizerSettings, weightDecayOf } from '../../src/train/optimizer.ts';
import { kernelBackends, use } from '../engine/backends.ts';
import { at, configOf, expectForcedBatch, expectParity, trainingOf, trainings } from './golden-training.ts';

describe.each(kernelBackends)('%s', backend => {
  test.each(trainings)('%s: twenty steps', async name => {
    await use(backend);
    await expectParity(name);
  });

  test('hybrid-k: loss, gradients and choices of one batch', async () => {
    await use(backend);
    await expectForcedBatch();
  });
});

test.each(trainings)('%s: the same tensors decay', name => {
  const training = trainingOf(name);
  const settings = optimizerSettings(configOf(training));
  const { spec } = readModelFolder(at(name));
  const decayed = tensorSpecs(spec).filter(tensor => weightDecayOf(tensor.name, tensor.shape.length, settings) > 0);
  expect(decayed.map(tensor => tensor.name).sort()).toEqual(training.optimizer.decayed.toSorted());
});
