// Products of row segments, each with an expert's own matrix: rows offsets[e] … offsets[e + 1] − 1 belong to expert e. Tiles do
// not cross segments; a workgroup finds its segment by counting tiles, so offsets that were made on the GPU stay there.
//   rows: y[n] = x[n] op(w[e]);   weights: dw[e] = Σ_n dy[n] ⊗ x[n] over the segment, in rising order of n.
// Rows from offsets[E] on (slots that were dropped) belong to nobody: their y is zero.
// A kernel binds as many experts' matrices as the device allows; more experts take several runs, each with its own tiles.

import type { Integers } from '../integers.ts';
import type { TensorInfo } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { addUp } from './product.ts';
import type { Program } from './program.ts';
import { arrayType, oncePerForm, readLine, type Tile, tileFor, tileProduct, writeLine } from './tile-product.ts';

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

const names = (letter: string, bound: number): string[] => Array.from({ length: bound }, (_, i) => `${letter}${i}`);

/** Declares buffers from binding 1 on. */
const bindings = (buffers: { buffer: string; access: string; four: boolean }[]): string =>
  buffers
    .map(({ buffer, access, four }, i) => {
      return `@group(0) @binding(${i + 1}) var<storage, ${access}> ${buffer}: ${arrayType(four)};`;
    })
    .join('\n');

/** A kernel on the rows of segments, beside what it does with its sums. */
export interface RowsKernel {
  name: string;
  tile: Tile;
  /** How many experts' matrices it binds, of each kind. */
  bound: number;
  /** Matrices [F, K] are read as their transpose: y = x wᵀ; else they are [K, F]. */
  transposed: boolean;
  /** Whether inputs, matrices, and what has a row of the result's length are bound as vectors. */
  vectors: { a: boolean; b: boolean; c: boolean };
  half: boolean;
  /** Names of its inputs; with two, two products with two matrices are summed. */
  a: string[];
  /** Names of its outputs, and of what it reads beside: all [N, F]. */
  c: string[];
  reads: string[];
  /** 2: an input is multiplied with two matrices. */
  parts: 1 | 2;
  /** WGSL for `put`, and body of it: `at` is the place in `c` and `reads`, `count` how many numbers are left in its row. */
  functions?: string;
  put: string;
}

/** The kernel; it binds offsets, a, reads, c, and the matrices: all of the first kind, then all of the second. */
export const rowsProgram = oncePerForm((kernel: RowsKernel): Program => {
  const { name, tile, bound, transposed, vectors, half, a, c, reads, parts, functions = '', put } = kernel;
  const kinds = Math.max(parts, a.length);
  const b = names('b', kinds * bound);
  const buffers = [
    ...a.map(buffer => ({ buffer, access: 'read', four: vectors.a })),
    ...reads.map(buffer => ({ buffer, access: 'read', four: vectors.c })),
    ...c.map(buffer => ({ buffer, access: 'read_write', four: vectors.c })),
    ...b.map(buffer => ({ buffer, access: 'read', four: vectors.b })),
  ];
  const code = tileProduct({
    tile,
    half,
    sources: a.length as 1 | 2,
    parts,
    a: { buffers: a, second: 1, alongK: true, vectors: vectors.a },
    b: { buffers: b, second: bound, alongK: transposed, vectors: vectors.b },
    declarations: /* wgsl */ `
struct Parameters { first: u32, experts: u32, rows: u32, columns: u32, terms: u32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
${bindings(buffers)}
@group(0) @binding(${buffers.length + 1}) var<uniform> parameters: Parameters;
${[...c, ...reads].map(buffer => readLine(buffer, vectors.c)).join('')}
${c.map(buffer => writeLine(buffer, vectors.c)).join('')}
${functions}`,
    locate: locateRows(tile, bound, parts, transposed),
    put: /* wgsl */ `
  let at = row * parameters.columns + column;
  let count = parameters.columns - column;
  ${put}`,
  });
  return { name: `${name}, tiles of ${tile.rows} × ${tile.columns}`, code };
});

const locateRows = (tile: Tile, bound: number, parts: number, transposed: boolean): string => /* wgsl */ `
  // the segment after the last expert's is that of the rows beyond all: a sum of no terms
  let after = parameters.first + ${bound};
  let last_segment = select(after, after + 1, after == parameters.experts);
  var tile = id.y;
  var segment = parameters.first;
  for (; segment < last_segment; segment++) {
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
  if (segment == last_segment) { return; }
  which_b = segment - parameters.first;
  k_end = select(parameters.terms, 0, segment == parameters.experts);
  column_first = id.x * ${tile.columns / parts};
  column_end = parameters.columns;
  length_a = parameters.terms;
  length_b = parameters.${transposed ? 'terms' : 'columns'};`;

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

/** How many experts a kernel can take that binds so many buffers per expert, and so many beside. */
export const mostBound = (gpu: Gpu, perExpert: number, beside: number): number =>
  Math.floor((gpu.device.limits.maxStorageBuffersPerShaderStage - beside) / perExpert);

/** Tiles of segments first … end, and of the rows beyond where end is the number of experts. */
const tilesOnHost = (host: Int32Array, first: number, end: number, rows: number, height: number): number => {
  const bounds = [...host.slice(first, end + 1), ...(end === host.length - 1 ? [rows] : [])];
  return bounds.slice(1).reduce((sum, to, i) => sum + Math.ceil((to - bounds[i]) / height), 0);
};

/** What a rows kernel runs on. `kinds`: one list of experts' matrices or two. */
export interface RowsRun {
  a: TensorInfo[];
  reads: TensorInfo[];
  c: TensorInfo[];
  kinds: TensorInfo[][];
  bound: number;
}

/** Runs a kernel for all experts, `bound` of them at a time. `kernelFor` makes it for so many. */
export function runRows(
  gpu: Gpu,
  { offsets, host, experts }: Segments,
  { a, reads, c, kinds, bound }: RowsRun,
  kernelFor: (bound: number) => RowsKernel,
): void {
  const [[rows, terms], columns] = [a[0].shape, c[0].shape[1]];
  if (rows === 0) return;
  const runs = runsOf(experts, bound);
  const { tile, parts } = kernelFor(bound);
  const [height, across] = [tile.rows, Math.ceil((columns * parts) / tile.columns)];
  const counts = host || runs.length === 1 ? null : gpu.allocateIndirect(3 * runs.length);
  if (counts) gpu.run(countTiles, [offsets, counts], { experts, bound, runs: runs.length, rows, height, across }, 1);
  const atMost = Math.floor((rows + (experts + 1) * (height - 1)) / height);
  runs.forEach(({ first, end }, i) => {
    const tiles = host ? tilesOnHost(host, first, end, rows, height) : atMost;
    const program = rowsProgram(kernelFor(end - first));
    const tensors = [offsets, ...a, ...reads, ...c, ...kinds.flatMap(matrices => matrices.slice(first, end))];
    const parameters = { first, experts, rows, columns, terms };
    gpu.run(program, tensors, parameters, counts ? { counts, at: 3 * i } : [across, tiles, 1]);
  });
  if (counts) gpu.release(counts);
}

/** How a grouped product of rows is done. */
export interface RowsOptions {
  transposed: boolean;
  half?: boolean;
  tile?: Tile;
}

/** The kernel of a grouped product, or of the sum of two. */
export const rowsKernel = (
  sources: 1 | 2,
  form: Pick<RowsKernel, 'tile' | 'transposed' | 'vectors' | 'half' | 'bound'>,
) => ({
  ...form,
  name: `grouped product A ${form.transposed ? 'Bᵀ' : 'B'}`,
  a: names('a', sources),
  c: ['c'],
  reads: [],
  parts: 1 as const,
  put: addUp('c'),
});

/** x_NK through each segment's matrix -> [N, F]; with two inputs and two kinds of matrices the sum of both. */
export function groupedRows(
  gpu: Gpu,
  inputs: TensorInfo[],
  kinds: TensorInfo[][],
  segments: Segments,
  { transposed, half = false, tile: forced }: RowsOptions,
): TensorInfo {
  const [[rows, terms], { experts }, [like]] = [inputs[0].shape, segments, kinds[0]];
  const columns = like.shape[transposed ? 0 : 1];
  const tile = forced ?? tileFor(rows, columns, { segments: experts });
  const vectors = { a: terms % 4 === 0, b: like.shape[1] % 4 === 0, c: columns % 4 === 0 };
  const y = gpu.allocate([rows, columns]);
  const sources = inputs.length as 1 | 2;
  const run = { a: inputs, reads: [], c: [y], kinds, bound: Math.min(experts, mostBound(gpu, sources, 2 + sources)) };
  runRows(gpu, segments, run, bound => rowsKernel(sources, { tile, transposed, vectors, half, bound }));
  return y;
}

/** One form of the kernel for weights. */
export interface WeightsForm {
  tile: Tile;
  bound: number;
  /** How many dy share the x. */
  kinds: number;
  vectors: { a: boolean; b: boolean };
}

export const weightsProgram = oncePerForm(({ tile, bound, kinds, vectors }: WeightsForm): Program => {
  const [a, c] = [names('a', kinds), names('c', kinds * bound)];
  const buffers = [
    ...a.map(buffer => ({ buffer, access: 'read', four: vectors.a })),
    { buffer: 'b', access: 'read', four: vectors.b },
    ...c.map(buffer => ({ buffer, access: 'read_write', four: vectors.b })),
  ];
  const code = tileProduct({
    tile,
    half: false,
    a: { buffers: a, alongK: false, vectors: vectors.a },
    b: { buffers: ['b'], alongK: false, vectors: vectors.b },
    declarations: /* wgsl */ `
struct Parameters { first: u32, rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> offsets: array<i32>;
${bindings(buffers)}
@group(0) @binding(${buffers.length + 1}) var<uniform> parameters: Parameters;
var<private> which_c: u32;
${c.map(buffer => readLine(buffer, vectors.b) + writeLine(buffer, vectors.b)).join('')}
${c.map(buffer => `fn put_${buffer}(at: u32, count: u32, value: vec4<f32>, first: bool) { ${addUp(buffer)} }`).join('\n')}`,
    locate: /* wgsl */ `
  which_c = id.z;
  which_a = id.z / ${bound};
  k_first = u32(offsets[parameters.first + id.z % ${bound}]);
  k_end = u32(offsets[parameters.first + id.z % ${bound} + 1]);
  row_first = id.y * ${tile.rows};
  row_end = parameters.rows;
  column_first = id.x * ${tile.columns};
  column_end = parameters.columns;
  length_a = parameters.rows;
  length_b = parameters.columns;`,
    put: /* wgsl */ `
  let at = row * parameters.columns + column;
  let count = parameters.columns - column;
  switch which_c {
    ${c.map((buffer, i) => `case ${i}: { put_${buffer}(at, count, value, first); }`).join('\n    ')}
    default: {}
  }`,
  });
  return { name: `grouped product Aᵀ B, tiles of ${tile.rows} × ${tile.columns}`, code };
});

/** For each dy_NF and with x_ND, for each segment: dyᵀ x [F, D]; zeros for an empty one. */
export function groupedWeights(
  gpu: Gpu,
  dys: TensorInfo[],
  x_ND: TensorInfo,
  { offsets, experts }: Segments,
  forced?: Tile,
): TensorInfo[][] {
  const [kinds, rows, columns] = [dys.length, dys[0].shape[1], x_ND.shape[1]];
  const tile = forced ?? tileFor(rows, columns, { copies: kinds * experts });
  const gradients = dys.map(() => Array.from({ length: experts }, () => gpu.allocate([rows, columns])));
  const vectors = { a: rows % 4 === 0, b: columns % 4 === 0 };
  const [across, down] = [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows)];
  for (const { first, end } of runsOf(experts, Math.min(experts, mostBound(gpu, kinds, 2 + kinds)))) {
    const program = weightsProgram({ tile, bound: end - first, kinds, vectors });
    const tensors = [offsets, ...dys, x_ND, ...gradients.flatMap(own => own.slice(first, end))];
    gpu.run(program, tensors, { first, rows, columns }, [across, down, kinds * (end - first)]);
  }
  return gradients;
}
