// The GPU as a backend: what it runs on or why it does not, what reads may do, and what a device that fails says.
import { execFileSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { tf } from '../../../src/engine/tf.ts';
import { GpuFailure } from '../../../src/engine/webgpu/failure.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import { use, webgpuHere } from '../backends.ts';

it('says in one sentence what it runs on, or why it does not', () => {
  expect(webgpuHere.why).toMatch(
    webgpuHere.works
      ? /^WGSL kernels on [^\n]+\.$/
      : /^(No GPU driver was found: [^\n]+|The optional package 'webgpu' is not installed [^\n]+)\.$/,
  );
});

it('without a driver, the command line says so and how to mend it', () => {
  const environment = { ...process.env, VK_DRIVER_FILES: '/nowhere/driver.json', XDG_RUNTIME_DIR: '/tmp' };
  const out = execFileSync('node', ['bin/moe.mjs', 'doctor', '--json'], {
    env: environment,
    encoding: 'utf8',
    stdio: 'pipe',
  });
  const { candidates } = JSON.parse(out) as { candidates: { name: string; works: boolean; why: string }[] };
  const { works, why } = candidates.find(({ name }) => name === 'webgpu')!;
  if (process.platform !== 'linux') return;
  expect(works).toBe(false);
  expect(why).toMatch(/^No GPU driver was found: WebGPU needs Vulkan .+, Metal or Direct3D 12\.$/);
});

describe.runIf(webgpuHere.works)('an open device', () => {
  afterEach(async () => void (await use('cpu')));
  const doubled = {
    name: 'double in place',
    code: `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
      @compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3<u32>) { x[id.x] *= 2; }`,
  };
  const three = () => tf.tensor1d([1, 2, 3]);

  it('is read by waiting, and refuses to be read at once', async () => {
    await use('webgpu');
    const x = three();
    gpuOf(tf.backend()).run(doubled, [x], {}, 3);
    expect(() => x.dataSync()).toThrow('cannot be read without waiting');
    expect(await x.data()).toEqual(Float32Array.of(2, 4, 6));
    expect(x.dataSync()).toEqual(Float32Array.of(2, 4, 6)); // it has been read
    x.dispose();
  });

  it('asks for no limit beyond what the adapter grants, and keeps portable ones where kernels rely on them', async () => {
    await use('webgpu');
    const { limits } = gpuOf(tf.backend()).device;
    expect(limits.maxComputeInvocationsPerWorkgroup).toBe(256);
    expect(limits.maxComputeWorkgroupsPerDimension).toBe(65535);
    expect(limits.maxStorageBuffersPerShaderStage).toBeGreaterThanOrEqual(8);
  });

  it('multiplies in f16 only where the GPU can, and says so where not', async () => {
    await use('webgpu');
    const { device } = gpuOf(tf.backend());
    const asked = use('webgpu', { precision: 'f16' });
    if (device.features.has('shader-f16')) {
      await asked;
      expect(gpuOf(tf.backend()).precision).toBe('f16');
    } else await expect(asked).rejects.toThrow('as this GPU has no shader-f16: leave --precision away.');
    await use('webgpu');
    expect(gpuOf(tf.backend()).precision).toBe('f32');
    await expect(use('wasm', { precision: 'f16' })).rejects.toThrow('backend wasm has none, only webgpu may');
  });

  it.each([
    [
      'a faulty command',
      () => ({ size: 64, usage: 0 }),
      /^The GPU refused a command, which is a fault of this program: .+\.$/,
    ],
    [
      'a tensor beyond its limits',
      () => ({ size: 2 ** 52, usage: GPUBufferUsage.STORAGE }),
      /^A tensor is larger than this GPU allows \(.+\): lower train\.batch_size/,
    ],
  ])('throws %s at the next read, once', async (_, wrong, sentence) => {
    await use('webgpu');
    const x = three();
    gpuOf(tf.backend()).device.createBuffer(wrong());
    const failed = tf.add(x, 1);
    await expect(failed.data()).rejects.toThrow(sentence);
    await expect(failed.data()).resolves.toEqual(Float32Array.of(2, 3, 4));
    tf.dispose([x, failed]);
  });

  it('that is lost answers no read', async () => {
    // A device of its own: the backend's must stay alive.
    const { openDevice } = await import('../../../src/engine/webgpu/device.ts');
    const { watchDevice } = await import('../../../src/engine/webgpu/failure.ts');
    const { device } = await openDevice();
    const failures = watchDevice(device);
    const answer = failures.race(new Promise<never>(() => {}));
    device.destroy();
    const thrown: GpuFailure = await answer.catch(error => error);
    expect(thrown).toBeInstanceOf(GpuFailure);
    expect(thrown.lost).toBe(true);
    expect(thrown.message).toMatch(/^The GPU was lost \([^\n]+\); start again, or use another backend\.$/);
    expect(() => failures.check()).toThrow(thrown);
    expect(() => failures.check()).toThrow(thrown); // for good
  });

  it('keeps no old number: a tensor changed in place is read anew', async () => {
    await use('webgpu');
    const gpu = gpuOf(tf.backend());
    const x = three();
    await x.data();
    gpu.run(doubled, [x], {}, 3);
    expect(await x.data()).toEqual(Float32Array.of(2, 4, 6));
    gpu.run(doubled, [x], {}, 3);
    expect(await x.data()).toEqual(Float32Array.of(4, 8, 12));
    x.dispose();
  });
});
