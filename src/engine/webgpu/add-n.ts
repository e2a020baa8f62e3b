// tf.addN in WGSL: tfjs's kernel binds all terms at once, and GPUs refuse more than a few. Here seven at a time, left to right.

import { type TensorInfo, tf } from '../tf.ts';
import { type Gpu, gpuOf } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { inBoth, type PerValue, perValue, VALUE } from './values.ts';

/** With the sum that is WebGPU's portable limit of storage buffers. */
const MOST_TERMS = 7;

const program = (per: PerValue, terms: number[]) => ({
  name: `sum of ${terms.length}`,
  code: /* wgsl */ `
struct Parameters { size: u32 }
${terms.map(i => `@group(0) @binding(${i}) var<storage, read> x${i}: array<Value>;`).join('\n')}
@group(0) @binding(${terms.length}) var<storage, read_write> y: array<Value>;
@group(0) @binding(${terms.length + 1}) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let at = workgroup_index(id, count) * 256 + lane;
  if (at < parameters.size) { y[at] = ${terms.map(i => `x${i}[at]`).join(' + ')}; }
}`,
});

/** Indexed by the number of terms. */
const programs = Array.from({ length: MOST_TERMS + 1 }, (_, count) =>
  inBoth(per => program(per, [...Array(count).keys()])),
);

function add(gpu: Gpu, terms: TensorInfo[]): TensorInfo {
  const { shape } = terms[0];
  const numbers = tf.util.sizeFromShape(shape);
  const per = perValue(numbers);
  const size = numbers / per;
  const sum = gpu.allocate(shape);
  gpu.run(programs[terms.length][per], [...terms, sum], { size }, Math.ceil(size / 256));
  return sum;
}

/** Takes the place of tfjs's kernel, which must have been registered, for two or more terms in fp32. */
export function replaceAddN(): void {
  const { kernelFunc: stock } = tf.getKernel('AddN', 'webgpu');
  tf.unregisterKernel('AddN', 'webgpu');
  tf.registerKernel({
    kernelName: 'AddN',
    backendName: 'webgpu',
    kernelFunc: call => {
      const terms = Object.values(call.inputs) as TensorInfo[];
      if (terms.length === 1 || terms.some(({ dtype }) => dtype !== 'float32')) return stock(call);
      const gpu = gpuOf(call.backend);
      let sum = add(gpu, terms.slice(0, MOST_TERMS));
      for (let next = MOST_TERMS; next < terms.length; next += MOST_TERMS - 1) {
        const before = sum;
        sum = add(gpu, [before, ...terms.slice(next, next + MOST_TERMS - 1)]);
        gpu.release(before);
      }
      return sum;
    },
  });
}
