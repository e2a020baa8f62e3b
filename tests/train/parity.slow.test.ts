// The same as PyTorch's on a GPU, or on SwiftShader, which compiles each kernel anew.
import { describe, test } from 'vitest';
import { use, webgpuHere } from '../engine/backends.ts';
import { expectForcedBatch, expectParity, trainings } from './golden-training.ts';

describe.runIf(webgpuHere.works)('webgpu', () => {
  test.each(trainings)('%s: twenty steps', async name => {
    await use('webgpu');
    await expectParity(name);
  });

  test('hybrid-k: loss, gradients and choices of one batch', async () => {
    await use('webgpu');
    await expectForcedBatch();
  });
});
