// Sums of what stands before each number, in workgroup memory and over whole buffers. Integers, so the order does not matter.

import { type TensorInfo, tf } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';

/** `scan(value, lane)`: (the sum over lower lanes, the sum over all) of a workgroup of `size` invocations, by doubling steps
 *  (Hillis and Steele 1986). Needs uniform control flow. */
export const scanLanes = (size: number): string => /* wgsl */ `
var<workgroup> scan_parts: array<u32, ${2 * size}>;
fn scan(value: u32, lane: u32) -> vec2<u32> {
  workgroupBarrier();
  scan_parts[lane] = value;
  var half = 0u;
  for (var step = 1u; step < ${size}; step *= 2) {
    workgroupBarrier();
    var sum = scan_parts[half + lane];
    if (lane >= step) { sum += scan_parts[half + lane - step]; }
    half = ${size} - half;
    scan_parts[half + lane] = sum;
  }
  workgroupBarrier();
  return vec2(scan_parts[half + lane] - value, scan_parts[half + ${size - 1}]);
}`;

/** Numbers that a workgroup takes at once: 256 invocations with 16 each. */
const BLOCK = 4096;
/** Up to this many blocks one workgroup walks them all; beyond, their sums are scanned first. */
const WALKED = 4;

/** Adds up blocks, a workgroup each. */
const sumBlocks = {
  name: 'sums of blocks',
  code: /* wgsl */ `
struct Parameters { size: u32, blocks: u32 }
@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${scanLanes(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let block = workgroup_index(id, count);
  let end = min(parameters.size, (block + 1) * ${BLOCK});
  var sum = 0u;
  for (var i = block * ${BLOCK} + lane; i < end; i += 256) { sum += values[i]; }
  let total = scan(sum, lane).y;
  if (lane == 0 && block < parameters.blocks) { sums[block] = total; }
}`,
};

/** Each workgroup walks `walked` blocks with a running sum that starts at its base. */
const walkBlocks = {
  name: 'scan of blocks',
  code: /* wgsl */ `
struct Parameters { size: u32, walked: u32, based: u32 }
@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read> bases: array<u32>;
@group(0) @binding(2) var<storage, read_write> before: array<u32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${scanLanes(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = workgroup_index(id, count);
  let last = parameters.size / ${BLOCK}; // the block of the total, which stands behind the last number
  var carry = 0u;
  if (parameters.based == 1 && group <= last) { carry = bases[group]; }
  for (var walked = 0u; walked < parameters.walked; walked++) {
    let first = (group * parameters.walked + walked) * ${BLOCK} + lane * 16;
    var sum = 0u;
    for (var i = first; i < min(first + 16, parameters.size); i++) { sum += values[i]; }
    let scanned = scan(sum, lane);
    var running = carry + scanned.x;
    for (var i = first; i < min(first + 16, parameters.size + 1); i++) {
      before[i] = running;
      if (i < parameters.size) { running += values[i]; }
    }
    carry += scanned.y;
  }
}`,
};

/** A new tensor [n + 1] with the sum of all before each of n integers, and their total. The caller releases it. */
export function exclusiveSums(gpu: Gpu, values: TensorInfo): TensorInfo {
  const size = tf.util.sizeFromShape(values.shape);
  const before = gpu.allocate([size + 1], 'int32');
  const blocks = Math.ceil((size + 1) / BLOCK);
  if (blocks <= WALKED) {
    gpu.run(walkBlocks, [values, values, before], { size, walked: blocks, based: 0 }, 1);
    return before;
  }
  const sums = gpu.allocate([blocks], 'int32');
  gpu.run(sumBlocks, [values, sums], { size, blocks }, blocks);
  const bases = exclusiveSums(gpu, sums);
  gpu.run(walkBlocks, [values, bases, before], { size, walked: 1, based: 1 }, blocks);
  gpu.release(sums, bases);
  return before;
}
