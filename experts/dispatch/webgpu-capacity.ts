// routing/capacity.ts in WGSL: first choices of all tokens stand before second ones, so a slot's rank in that order says whether
// its expert still had a place. Tokens that are not counted take none.

import { type TensorInfo, tf } from '../../src/engine/tf.ts';
import type { Gpu } from '../../src/engine/webgpu/gpu.ts';
import { WORKGROUP_INDEX } from '../../src/engine/webgpu/parts.ts';
import { scanLanes } from '../../src/engine/webgpu/scan.ts';
import { makePlan } from './webgpu-plan.ts';

const orderByChoice = {
  name: 'capacity: order',
  code: /* wgsl */ `
struct Parameters { tokens: u32, choices: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> counted: array<i32>;
@group(0) @binding(2) var<storage, read_write> ordered: array<i32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let place = workgroup_index(id, count) * 256 + lane;
  if (place >= parameters.tokens * parameters.choices) { return; }
  let token = place % parameters.tokens;
  ordered[place] = select(-1, ids[token * parameters.choices + place / parameters.tokens], counted[token] == 1);
}`,
};

const keepFirst = {
  name: 'capacity: kept',
  code: /* wgsl */ `
struct Parameters { tokens: u32, choices: u32, capacity: i32 }
@group(0) @binding(0) var<storage, read> ordered: array<i32>;
@group(0) @binding(1) var<storage, read> rank: array<i32>;
@group(0) @binding(2) var<storage, read_write> kept: array<i32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(id, count) * 256 + lane;
  if (slot >= parameters.tokens * parameters.choices) { return; }
  let place = slot % parameters.choices * parameters.tokens + slot / parameters.choices;
  kept[slot] = select(-1, ordered[place], rank[place] < parameters.capacity);
}`,
};

const countDropped = {
  name: 'capacity: dropped',
  code: /* wgsl */ `
struct Parameters { experts: u32, capacity: i32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
@group(0) @binding(1) var<storage, read_write> dropped: array<u32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${scanLanes(256)}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0u;
  for (var e = lane; e < parameters.experts; e += 256) {
    sum += u32(max(0, offsets[e + 1] - offsets[e] - parameters.capacity));
  }
  let total = scan(sum, lane).y;
  if (lane == 0) { dropped[0] = total; }
}`,
};

/** New tensors: the ids [T, k] with −1 where dropped or not counted, and the number dropped [1]. */
export function limitToCapacity(
  gpu: Gpu,
  ids: TensorInfo,
  counted_T: TensorInfo,
  { k, numExperts, capacity }: { k: number; numExperts: number; capacity: number },
): [kept: TensorInfo, dropped: TensorInfo] {
  const size = tf.util.sizeFromShape(ids.shape);
  const sizes = { tokens: size / k, choices: k };
  const workgroups = Math.ceil(size / 256);
  const [ordered, kept] = [gpu.allocate([size], 'int32'), gpu.allocate(ids.shape, 'int32')];
  gpu.run(orderByChoice, [ids, counted_T, ordered], sizes, workgroups);
  const plan = makePlan(gpu, ordered, k, numExperts);
  gpu.run(keepFirst, [ordered, plan.rank, kept], { ...sizes, capacity }, workgroups);
  const dropped = gpu.allocate([1], 'int32');
  gpu.run(countDropped, [plan.offsets, dropped], { experts: numExperts, capacity }, 1);
  gpu.release(ordered, ...Object.values(plan));
  return [kept, dropped];
}
