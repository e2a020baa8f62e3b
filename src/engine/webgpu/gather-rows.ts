// Row movement in WGSL: gathers alone, rows in values of 16 bytes, sums in the order of the choices.
//   gather: y[m] = Σ_r x[index[m, r]];   combine: out[t] = Σ_j gate[t, j] y[inverse[t, j]];   −1 adds nothing.
//   gradient: dy[m] = gate[s] dout[⌊s / k⌋] for the slot s of row m;   dgate[s] = dout[⌊s / k⌋] · y[m];   0 where there is none.
// A row is moved by up to 64 invocations; a workgroup of 64 takes several rows where they are short.

import { countOf, type Integers } from '../integers.ts';
import { type TensorInfo, tf } from '../tf.ts';
import { fill } from './fill.ts';
import { type Gpu, registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { type PerValue, perValue, VALUE } from './values.ts';

interface GatherSumAttributes {
  index_MR: Integers;
  /** R: how many rows are summed into one. */
  width: number;
}
interface CombineAttributes {
  inverse_TK: Integers;
}
interface CombineGradAttributes extends CombineAttributes {
  /** Row → slot, −1 where there is none. */
  slot_N?: Integers;
}

/** Sums of up to so many rows read them all before they add the first. */
const MOST_AT_ONCE = 16;

/** How many of 64 invocations share a row of so many values: a power of two. */
function lanesFor(values: number): number {
  let lanes = 1;
  while (lanes < 64 && lanes < values) lanes *= 2;
  return lanes;
}

/** The row of a workgroup's invocation, and the invocation's place in it. */
const ROW = (lanes: number): string => /* wgsl */ `
${WORKGROUP_INDEX}
fn row_of(id: vec3<u32>, count: vec3<u32>, lane: u32) -> u32 {
  return workgroup_index(id, count) * ${64 / lanes} + lane / ${lanes};
}
const LANES = ${lanes}u;`;

/** y[m] = Σ_r factor[m, r] x[index[m, r]]; no factor where it is not weighted. */
function weightedSum(per: PerValue, lanes: number, width: number, weighted: boolean) {
  const each = Array.from({ length: width }, (_, r) => r);
  const term = (r: number | string) =>
    weighted ? `factors[row * WIDTH + ${r}] * x[source * parameters.width + d]` : 'x[source * parameters.width + d]';
  const unrolled = /* wgsl */ `
${each.map(r => `  let source_${r} = u32(index[row * WIDTH + ${r}]);`).join('\n')}
  for (var d = lane % LANES; d < parameters.width; d += LANES) {
    var sum = Value();
    var any = false;
${each.map(r => `    var term_${r} = Value();\n    { let source = source_${r}; if (source < parameters.sources) { term_${r} = ${term(r)}; } }`).join('\n')}
${each.map(r => `    if (source_${r} < parameters.sources) { sum = select(term_${r}, sum + term_${r}, any); any = true; }`).join('\n')}
    y[row * parameters.width + d] = sum;
  }`;
  const looped = /* wgsl */ `
  for (var d = lane % LANES; d < parameters.width; d += LANES) {
    var sum = Value();
    var any = false;
    for (var r = 0u; r < WIDTH; r++) {
      let source = u32(index[row * WIDTH + r]);
      if (source >= parameters.sources) { continue; }
      let term = ${term('r')};
      sum = select(term, sum + term, any);
      any = true;
    }
    y[row * parameters.width + d] = sum;
  }`;
  return {
    name: weighted ? 'combine' : 'gather',
    code: /* wgsl */ `
struct Parameters { rows: u32, sources: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Value>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
const WIDTH = ${width}u;
${VALUE[per]}
${ROW(lanes)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = row_of(id, count, lane);
  if (row >= parameters.rows) { return; }
${width <= MOST_AT_ONCE ? unrolled : looped}
}`,
  };
}

/** A new tensor [rows, D] of sums of `width` rows each, weighted by `factors` unless that is null. */
function sumRowsOf(gpu: Gpu, x: TensorInfo, index: Integers, factors: TensorInfo | null, width: number): TensorInfo {
  const [sources, columns] = x.shape;
  const rows = width === 0 ? (factors?.shape[0] ?? 0) : countOf(index) / width;
  const y = gpu.allocate([rows, columns]);
  if (width === 0 || sources === 0) {
    fill(gpu, y, 0);
    return y;
  }
  const per = perValue(columns);
  const values = columns / per;
  const lanes = lanesFor(values);
  const workgroups = values === 0 ? 0 : Math.ceil((rows * lanes) / 64);
  gpu.withIntegers(index, given => {
    const program = weightedSum(per, lanes, width, factors !== null);
    gpu.run(program, [x, given, factors ?? x, y], { rows, sources, width: values }, workgroups);
  });
  return y;
}

registerGpu<GatherSumAttributes>('MoeGatherSum', (gpu, { x }, { index_MR, width }) => [
  sumRowsOf(gpu, x, index_MR, null, width),
]);

registerGpu<CombineAttributes>('MoeCombine', (gpu, { y, gate }, { inverse_TK }) => [
  sumRowsOf(gpu, y, inverse_TK, gate, gate.shape[1]),
]);

/** Row m's dy and its slot's dgate, which nothing else writes; dgate of slots without a row. */
const combineGradient = (per: PerValue, lanes: number) => ({
  name: 'combine, gradient',
  code: /* wgsl */ `
struct Parameters { rows: u32, slots: u32, choices: u32, width: u32 }
@group(0) @binding(0) var<storage, read> y: array<Value>;
@group(0) @binding(1) var<storage, read> gates: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<Value>;
@group(0) @binding(3) var<storage, read> row_of_slot: array<i32>;
@group(0) @binding(4) var<storage, read> slot_of_row: array<i32>;
@group(0) @binding(5) var<storage, read_write> dy: array<Value>;
@group(0) @binding(6) var<storage, read_write> dgate: array<f32>;
@group(0) @binding(7) var<uniform> parameters: Parameters;
${VALUE[per]}
${ROW(lanes)}
var<workgroup> parts: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = row_of(id, count, lane);
  let place = lane % LANES;
  var slot = parameters.slots;
  if (row < parameters.rows) { slot = u32(slot_of_row[row]); }
  var dot = 0.0;
  if (slot < parameters.slots) {
    let factor = gates[slot];
    let token = slot / parameters.choices;
    for (var d = place; d < parameters.width; d += LANES) {
      let slope = dout[token * parameters.width + d];
      dy[row * parameters.width + d] = factor * slope;
      dot += total(slope * y[row * parameters.width + d]);
    }
  } else if (row < parameters.rows) {
    for (var d = place; d < parameters.width; d += LANES) { dy[row * parameters.width + d] = Value(); }
  }
  parts[lane] = dot;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (place < half) { parts[lane] += parts[lane + half]; }
  }
  if (place != 0) { return; }
  if (slot < parameters.slots) { dgate[slot] = parts[lane]; }
  if (row < parameters.slots) {
    if (u32(row_of_slot[row]) >= parameters.rows) { dgate[row] = 0; }
  }
}`,
});

const invert = {
  name: 'slots of rows',
  code: /* wgsl */ `
struct Parameters { slots: u32, rows: u32 }
@group(0) @binding(0) var<storage, read> row_of_slot: array<i32>;
@group(0) @binding(1) var<storage, read_write> slot_of_row: array<i32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(id, count) * 256 + lane;
  if (slot >= parameters.slots) { return; }
  let row = u32(row_of_slot[slot]);
  if (row < parameters.rows) { slot_of_row[row] = i32(slot); }
}`,
};

/** A new tensor: the slot of each row, −1 where there is none. No row has two slots, so no write meets another. */
function slotsOfRows(gpu: Gpu, inverse: TensorInfo, slots: number, rows: number): TensorInfo {
  const slot_N = gpu.allocate([rows], 'int32');
  fill(gpu, slot_N, -1);
  if (rows > 0) gpu.run(invert, [inverse, slot_N], { slots, rows }, Math.ceil(slots / 256));
  return slot_N;
}

registerGpu<CombineGradAttributes>('MoeCombineGrad', (gpu, { y, gate, gradient }, { inverse_TK, slot_N }) => {
  const [rows, columns] = y.shape;
  const slots = tf.util.sizeFromShape(gate.shape);
  if (slot_N && countOf(slot_N) !== rows) throw new Error(`${countOf(slot_N)} slots are given for ${rows} rows`);
  const [dy, dgate] = [gpu.allocate(y.shape), gpu.allocate(gate.shape)];
  if (rows * columns === 0 || slots === 0) {
    fill(gpu, dy, 0);
    fill(gpu, dgate, 0);
    return [dy, dgate];
  }
  const per = perValue(columns);
  const width = columns / per;
  const lanes = lanesFor(width);
  const parameters = { rows, slots, choices: gate.shape[1], width };
  gpu.withIntegers(inverse_TK, inverse => {
    const run = (slotOfRow: TensorInfo) =>
      gpu.run(
        combineGradient(per, lanes),
        [y, gate, gradient, inverse, slotOfRow, dy, dgate],
        parameters,
        Math.ceil((Math.max(rows, slots) * lanes) / 64),
      );
    if (slot_N) return gpu.withIntegers(slot_N, run);
    const found = slotsOfRows(gpu, inverse, slots, rows);
    run(found);
    gpu.release(found);
  });
  return [dy, dgate];
});
