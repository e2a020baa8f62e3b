// Products of row segments, each with an expert's own matrix: rows offsets[e] … offsets[e + 1] − 1 belong to expert e. Tiles do
// not cross segments; a workgroup finds its segment by counting tiles, so offsets that were made on the GPU stay there.
//   rows: y[n] = x[n] op(w[e]);   weights: dw[e] = Σ_n dy[n] ⊗ x[n] over the segment, in rising order of n.
// Rows from offsets[E] on (slots that were dropped) belong to nobody: their y is zero.
// A kernel binds as many experts' matrices as the device allows; more experts take several runs, each with its own tiles.

import type { Integers } from '../integers.ts';
import type { TensorInfo } from '../tf.ts';
import type { Gpu, Workgroups } from './gpu.ts';
import { storeRow } from './product.ts';
import type { Program } from './program.ts';
import { arrayType, type Tile, tileFor, tileProduct } from './tile-product.ts';

/** Segments of rows; `host` are the offsets where they are known there. */
export interface Segments {
  offsets: TensorInfo;
  host: Int32Array | null;
  experts: number;
}

/** Gives `use` the segments, whose offsets lie on the GPU while it runs. */
export const withSegments = <T>(gpu: Gpu, offsets_E1: Integers, use: (segments: Segments) => T): T =>
  gpu.withIntegers(offsets_E1, offsets => {
    const host = offsets_E1 instanceof Int32Array ? offsets_E1 : null;
    return use({ offsets, host, experts: offsets.shape[0] - 1 });
  });

/** One form of the kernel for rows. `bound`: how many experts' matrices it binds. */
export interface RowsForm {
  tile: Tile;
  bound: number;
  transposed: boolean;
  vectors: { a: boolean; b: boolean; c: boolean };
  half: boolean;
}

const names = (letter: string, bound: number): string[] => Array.from({ length: bound }, (_, i) => `${letter}${i}`);
const inputs = (from: number, buffers: string[], vectors: boolean): string =>
  buffers
    .map((name, i) => `@group(0) @binding(${from + i}) var<storage, read> ${name}: ${arrayType(vectors)};`)
    .join('\n');
const outputs = (from: number, buffers: string[], vectors: boolean): string =>
  inputs(from, buffers, vectors).replaceAll('storage, read', 'storage, read_write');

export const rowsProgram = ({ tile, bound, transposed, vectors, half }: RowsForm): Program => ({
  name: `grouped product ${transposed ? 'A Bᵀ' : 'A B'}, tiles of ${tile.rows} × ${tile.columns}`,
  code: tileProduct({
    tile,
    half,
    a: { buffers: ['a'], alongK: true, vectors: vectors.a },
    b: { buffers: names('b', bound), alongK: transposed, vectors: vectors.b },
    declarations: /* wgsl */ `
struct Parameters { first: u32, experts: u32, rows: u32, columns: u32, terms: u32, add: u32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
${inputs(1, ['a'], vectors.a)}
${outputs(2, ['c'], vectors.c)}
${inputs(3, names('b', bound), vectors.b)}
@group(0) @binding(${3 + bound}) var<uniform> parameters: Parameters;`,
    locate: /* wgsl */ `
  // the segment after the last expert's is that of the rows beyond all: a sum of no terms
  let after = parameters.first + ${bound};
  let last = select(after, after + 1, after == parameters.experts);
  var tile = id.y;
  var segment = parameters.first;
  for (; segment < last; segment++) {
    let start = u32(offsets[segment]);
    var end = parameters.rows;
    if (segment < parameters.experts) { end = u32(offsets[segment + 1]); }
    let tiles = (end - start + ${tile.rows - 1}) / ${tile.rows};
    if (tile < tiles) {
      row_first = start + tile * ${tile.rows};
      row_end = end;
      break;
    }
    tile -= tiles;
  }
  if (segment == last) { return; }
  which_b = segment - parameters.first;
  k_end = select(parameters.terms, 0, segment == parameters.experts);
  adds = parameters.add == 1;
  column_first = id.x * ${tile.columns};
  column_end = parameters.columns;
  length_a = parameters.terms;
  length_b = parameters.${transposed ? 'terms' : 'columns'};`,
    put: storeRow('c', vectors.c, 'row', 'parameters.columns', 'value'),
  }),
});

/** Numbers of workgroups for each run of `bound` experts, for `dispatchWorkgroupsIndirect`. */
const countTiles: Program = {
  name: 'tiles of segments',
  code: /* wgsl */ `
struct Parameters { experts: u32, bound: u32, runs: u32, rows: u32, height: u32, across: u32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
fn tiles(segment: u32) -> u32 {
  var end = parameters.rows;
  if (segment < parameters.experts) { end = u32(offsets[segment + 1]); }
  return (end - u32(offsets[segment]) + parameters.height - 1) / parameters.height;
}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var run = lane; run < parameters.runs; run += 64) {
    let end = min((run + 1) * parameters.bound, parameters.experts);
    var sum = 0u;
    for (var segment = run * parameters.bound; segment < end; segment++) { sum += tiles(segment); }
    if (end == parameters.experts) { sum += tiles(end); }
    counts[3 * run] = parameters.across;
    counts[3 * run + 1] = sum;
    counts[3 * run + 2] = 1;
  }
}`,
};

/** Consecutive experts whose matrices one kernel binds. */
const runsOf = (experts: number, bound: number): { first: number; end: number }[] =>
  Array.from({ length: Math.ceil(experts / bound) }, (_, i) => {
    return { first: i * bound, end: Math.min(experts, (i + 1) * bound) };
  });

/** Storage buffers of a kernel beside the experts' matrices: offsets and two more. */
const boundAtOnce = (gpu: Gpu, experts: number): number =>
  Math.min(experts, gpu.device.limits.maxStorageBuffersPerShaderStage - 3);

/** Tiles of segments first … end, and of the rows beyond where end is the number of experts. */
const tilesOnHost = (host: Int32Array, first: number, end: number, rows: number, height: number): number => {
  const bounds = [...host.slice(first, end + 1), ...(end === host.length - 1 ? [rows] : [])];
  return bounds.slice(1).reduce((sum, to, i) => sum + Math.ceil((to - bounds[i]) / height), 0);
};

/** Calls `run` for each run of experts with its workgroups. */
function eachRun(
  gpu: Gpu,
  { offsets, host, experts }: Segments,
  { rows, bound, tile, across }: { rows: number; bound: number; tile: Tile; across: number },
  run: (first: number, end: number, workgroups: Workgroups) => void,
): void {
  const runs = runsOf(experts, bound);
  const { rows: height } = tile;
  const atMost = Math.floor((rows + (experts + 1) * (height - 1)) / height);
  if (host) {
    for (const { first, end } of runs) run(first, end, [across, tilesOnHost(host, first, end, rows, height), 1]);
  } else if (runs.length === 1) run(0, experts, [across, atMost, 1]);
  else {
    const counts = gpu.allocateIndirect(3 * runs.length);
    gpu.run(countTiles, [offsets, counts], { experts, bound, runs: runs.length, rows, height, across }, 1);
    runs.forEach(({ first, end }, i) => {
      run(first, end, { counts, at: 3 * i });
    });
    gpu.release(counts);
  }
}

/** How a grouped product of rows is done. */
export interface RowsOptions {
  /** Matrices [F, K] are read as their transpose: y = x wᵀ; else they are [K, F]. */
  transposed: boolean;
  half?: boolean;
  /** Adds to this tensor and answers it. */
  into?: TensorInfo;
  tile?: Tile;
}

/** x_NK through each segment's matrix -> [N, F]. */
export function groupedRows(
  gpu: Gpu,
  x_NK: TensorInfo,
  matrices: TensorInfo[],
  segments: Segments,
  { transposed, half = false, into, tile: forced }: RowsOptions,
): TensorInfo {
  const [[rows, terms], { experts }] = [x_NK.shape, segments];
  const columns = matrices[0].shape[transposed ? 0 : 1];
  const tile = forced ?? tileFor(rows, columns, { segments: experts });
  const y = into ?? gpu.allocate([rows, columns]);
  if (rows === 0) return y;
  const vectors = { a: terms % 4 === 0, b: matrices[0].shape[1] % 4 === 0, c: columns % 4 === 0 };
  const bound = boundAtOnce(gpu, experts);
  const across = Math.ceil(columns / tile.columns);
  eachRun(gpu, segments, { rows, bound, tile, across }, (first, end, workgroups) => {
    const program = rowsProgram({ tile, bound: end - first, transposed, vectors, half });
    const parameters = { first, experts, rows, columns, terms, add: into ? 1 : 0 };
    gpu.run(program, [segments.offsets, x_NK, y, ...matrices.slice(first, end)], parameters, workgroups);
  });
  return y;
}

/** One form of the kernel for weights. */
export interface WeightsForm {
  tile: Tile;
  bound: number;
  vectors: { a: boolean; b: boolean };
}

export const weightsProgram = ({ tile, bound, vectors }: WeightsForm): Program => ({
  name: `grouped product Aᵀ B, tiles of ${tile.rows} × ${tile.columns}`,
  code: tileProduct({
    tile,
    half: false,
    a: { buffers: ['a'], alongK: false, vectors: vectors.a },
    b: { buffers: ['b'], alongK: false, vectors: vectors.b },
    declarations: /* wgsl */ `
struct Parameters { first: u32, rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
${inputs(1, ['a'], vectors.a)}
${inputs(2, ['b'], vectors.b)}
${outputs(3, names('c', bound), vectors.b)}
@group(0) @binding(${3 + bound}) var<uniform> parameters: Parameters;
var<private> which_c: u32;
${names('c', bound)
  .map(
    c =>
      `fn put_${c}(row: u32, column: u32, value: vec4<f32>, first: bool) { ${storeRow(c, vectors.b, 'row', 'parameters.columns', 'value')} }`,
  )
  .join('\n')}`,
    locate: /* wgsl */ `
  which_c = id.z;
  k_first = u32(offsets[parameters.first + id.z]);
  k_end = u32(offsets[parameters.first + id.z + 1]);
  row_first = id.y * ${tile.rows};
  row_end = parameters.rows;
  column_first = id.x * ${tile.columns};
  column_end = parameters.columns;
  length_a = parameters.rows;
  length_b = parameters.columns;`,
    put: /* wgsl */ `switch which_c {
    ${names('c', bound)
      .map((c, i) => `case ${i}: { put_${c}(row, column, value, first); }`)
      .join('\n    ')}
    default: {}
  }`,
  }),
});

/** dy_NF and x_ND -> for each segment dyᵀ x [F, D]; zeros for an empty one. */
export function groupedWeights(
  gpu: Gpu,
  dy_NF: TensorInfo,
  x_ND: TensorInfo,
  { offsets, experts }: Segments,
  forced?: Tile,
): TensorInfo[] {
  const [rows, columns] = [dy_NF.shape[1], x_ND.shape[1]];
  const tile = forced ?? tileFor(rows, columns, { copies: experts });
  const dw = Array.from({ length: experts }, () => gpu.allocate([rows, columns]));
  const vectors = { a: rows % 4 === 0, b: columns % 4 === 0 };
  const [across, down] = [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows)];
  for (const { first, end } of runsOf(experts, boundAtOnce(gpu, experts))) {
    const program = weightsProgram({ tile, bound: end - first, vectors });
    const tensors = [offsets, dy_NF, x_ND, ...dw.slice(first, end)];
    gpu.run(program, tensors, { first, rows, columns }, [across, down, end - first]);
  }
  return dw;
}
