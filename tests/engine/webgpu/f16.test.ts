// Forms of the products that no device here runs: with f16, and for devices that bind more buffers. Dawn's null backend takes
// every WGSL text that a GPU would, f16 included, and runs none: there they must compile without a word. What the f16 forms compute
// is looked at with f32 in place of f16, which SwiftShader has.
import { describe, expect, it } from 'vitest';
import { rowsKernel, rowsProgram, weightsProgram } from '../../../src/engine/webgpu/grouped-product.ts';
import { productProgram } from '../../../src/engine/webgpu/product.ts';
import type { Program } from '../../../src/engine/webgpu/program.ts';
import { gatedKernel, gateGradientKernel } from '../../../src/engine/webgpu/swiglu-network.ts';
import { TILES } from '../../../src/engine/webgpu/tile-product.ts';

type Dawn = { create(options: string[]): GPU; globals: object };

async function openNull() {
  const dawn = (await import('webgpu').catch(() => null)) as Dawn | null;
  if (!dawn) return null;
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(['backend=null']);
  const adapter = await gpu.requestAdapter();
  return { gpu, device: await adapter!.requestDevice({ requiredFeatures: ['shader-f16'] }) };
}

const opened = await openNull(); // a device does not keep the Dawn that it came from
const device = opened?.device;

/** What the compiler says of a kernel, and the refusal of its pipeline. */
async function complaintsOf({ name, code, constants }: Program): Promise<string[]> {
  device!.pushErrorScope('validation');
  const module = device!.createShaderModule({ code, label: name });
  const messages = (await module.getCompilationInfo()).messages.map(({ message }) => message);
  if (messages.length === 0) {
    await device!.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main', constants } });
  }
  const refusal = await device!.popErrorScope();
  return refusal ? [...messages, refusal.message] : messages;
}

const compile = async (program: Program): Promise<void> => expect(await complaintsOf(program)).toEqual([]);

const sides = [false, true];
const threeVectors = sides.flatMap(a => sides.flatMap(b => sides.map(c => ({ a, b, c }))));

describe.runIf(device).each(Object.entries(TILES))('%s tiles compile', (_name, tile) => {
  it.each(sides)('a product, f16 %s', async half => {
    for (const vectors of threeVectors) {
      for (const bias of sides) {
        await compile(productProgram({ tile, vectors, bias, half, transposeA: false, transposeB: true }));
        if (!half) await compile(productProgram({ tile, vectors, bias, half, transposeA: true, transposeB: false }));
      }
    }
  });

  it.each(sides)('a grouped product, f16 %s', async half => {
    for (const vectors of threeVectors) {
      for (const bound of [1, 5]) {
        await compile(rowsProgram(rowsKernel(1, { tile, bound, transposed: true, vectors, half })));
      }
      await compile(rowsProgram(rowsKernel(2, { tile, bound: 2, transposed: false, vectors, half })));
    }
  });

  it('products for the gradients of weights', async () => {
    for (const vectors of threeVectors) await compile(weightsProgram({ tile, bound: 2, kinds: 2, vectors }));
  });
});

const wideTiles = Object.entries(TILES).filter(([, { width }]) => width === 8);

describe.runIf(device).each(wideTiles)('%s tiles compile, with SwiGLU', (_name, tile) => {
  it.each(sides)('f16 %s', async half => {
    for (const vectors of threeVectors) {
      await compile(rowsProgram(gatedKernel({ tile, bound: 1, vectors, half })));
      if (!half) await compile(rowsProgram(gateGradientKernel({ tile, bound: 1, vectors, half })));
    }
  });
});

it.runIf(device)('a text that is wrong is refused', async () => {
  const { code, ...rest } = productProgram({
    tile: TILES.small,
    vectors: { a: true, b: true, c: true },
    bias: false,
    half: true,
    transposeA: false,
    transposeB: true,
  });
  const complaints = await complaintsOf({ ...rest, code: code.replace('enable f16;', '') });
  expect(complaints[0]).toMatch(/f16/);
});
