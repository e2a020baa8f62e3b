// The heart of all matrix products in WGSL: a workgroup makes one tile of C = op(A) op(B), each invocation `height` × `width`
// numbers of it in registers, from steps of 16 along the sum that wait in workgroup memory.
// A sum runs over k in rising order, in blocks of SUM_BLOCK terms that are added up in C, so that the error does not grow with
// all of k. An element's bits depend on neither the tile nor its place in it, nor on other rows.

import type { Program } from './program.ts';

/** What a workgroup makes of C, and what each of its invocations does of that, in numbers. */
export interface Tile {
  rows: number;
  columns: number;
  height: 4 | 8;
  width: 4 | 8;
}

/** From many rows and columns to few: large ones read each operand less often, small ones keep more of a GPU busy. A `wide` one
 *  is the smallest for two products side by side. */
export const TILES = {
  large: { rows: 128, columns: 128, height: 8, width: 8 },
  middle: { rows: 64, columns: 64, height: 8, width: 8 },
  small: { rows: 32, columns: 32, height: 4, width: 4 },
  wide: { rows: 32, columns: 64, height: 4, width: 8 },
} as const satisfies Record<string, Tile>;

/** Terms of a sum that are added without a break. A multiple of the step. */
export const SUM_BLOCK = 512;

/** How one operand lies in memory. */
export interface Operand {
  /** The buffers that it may be in, which the kernel binds; the workgroup's `which` picks one. */
  buffers: string[];
  /** How many buffers further on the second one lies, of a kernel with two `sources` or `parts`. */
  second?: number;
  /** Whether numbers beside each other belong to the same row (of A; column, of B) and differ in k, or the other way round. */
  alongK: boolean;
  /** Whether it is bound as vectors of four: lines are a multiple of 4 numbers. */
  vectors: boolean;
}

/** How many of this tile cover so many rows and columns. */
export const tilesOf = (tile: Tile, rows: number, columns: number): number =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);

/** Enough workgroups to fill a large GPU. */
export const MANY = 256;

/** The largest tile of which there are enough. A matrix may be one of several `copies`, or have its rows in `segments` that a
 *  tile does not cross: then a tile is no higher than a quarter of the average one. For two `parts` one that is 8 wide. */
export function tileFor(rows: number, columns: number, { copies = 1, segments = 1, parts = 1 } = {}): Tile {
  const fits = (tile: Tile): boolean =>
    tilesOf(tile, rows, columns) * copies >= MANY && (segments === 1 || rows >= 4 * segments * tile.rows);
  return [TILES.large, TILES.middle].find(fits) ?? (parts === 2 ? TILES.wide : TILES.small);
}

const invocationsOf = (tile: Tile): number => (tile.rows / tile.height) * (tile.columns / tile.width);

/** A kernel's source is long: made once for each form. */
export function oncePerForm<F extends object>(make: (form: F) => Program): (form: F) => Program {
  const known = new Map<string, Program>();
  return form => {
    const key = JSON.stringify(form);
    const program = known.get(key) ?? make(form);
    known.set(key, program);
    return program;
  };
}

/** WGSL type of a binding. */
export const arrayType = (vectors: boolean): string => (vectors ? 'array<vec4<f32>>' : 'array<f32>');

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** `line_NAME(at, count)`: up to four numbers from place `at` on, zeros for the rest. */
export const readLine = (name: string, vectors: boolean): string => {
  const inside = range(4).map(i => `if (count > ${i}) { line[${i}] = ${name}[at + ${i}]; }`);
  return /* wgsl */ `
fn line_${name}(at: u32, count: u32) -> vec4<f32> {
  var line = vec4<f32>();
  ${vectors ? `if (count > 0) { line = ${name}[at / 4]; }` : inside.join('\n  ')}
  return line;
}`;
};

/** `set_NAME(at, count, value)`: stores up to four numbers from place `at` on. */
export const writeLine = (name: string, vectors: boolean): string => /* wgsl */ `
fn set_${name}(at: u32, count: u32, value: vec4<f32>) {
  ${vectors ? `${name}[at / 4] = value;` : `for (var i = 0u; i < min(4, count); i++) { ${name}[at + i] = value[i]; }`}
}`;

/** `block_NAME`: four lines. */
const readBlock = (name: string): string => /* wgsl */ `
fn block_${name}(at: vec4<u32>, count: vec4<u32>) -> mat4x4<f32> {
  return mat4x4<f32>(${range(4).map(i => `line_${name}(at[${i}], count[${i}])`)});
}`;

/** `stage_a`: sixteen steps of k of the rows of A from `first_row` to `row_end`, into workgroup memory: four numbers of four rows
 *  per invocation. A k has its rows in vectors of four, whose places are turned by k, so that banks of memory do not collide.
 *  With two parts the second half of the rows are the same rows of the second buffer. */
const stage = (letter: string, operand: Operand, { quads, parts, shift, invocations, type }: Staging) => {
  const { buffers, second = 0, alongK, vectors } = operand;
  const choose = buffers.map((name, i) => `case ${i}: { return block_${name}(at, count); }`).join('\n    ');
  const [outer, inner] = alongK ? ['row', 'k'] : ['k', 'row'];
  const each = quads / parts;
  return /* wgsl */ `
var<workgroup> tile_${letter}: array<vec4<${type}>, ${16 * quads}>;
${buffers.map(name => readLine(name, vectors) + readBlock(name)).join('')}
fn block_of_${letter}(which: u32, at: vec4<u32>, count: vec4<u32>) -> mat4x4<f32> {
  switch which {
    ${choose}
    default: { return mat4x4<f32>(); }
  }
}
fn stage_${letter}(which: u32, first_row: u32, row_end: u32, first_k: u32, k_end: u32, length: u32, lane: u32) {
  for (var block = (lane + ${shift}) % ${invocations}; block < ${4 * quads}; block += ${invocations}) {
    let part = ${alongK ? 'block % 4' : `block / ${quads}`};
    let quad = ${alongK ? 'block / 4' : `block % ${quads}`};
    let row = first_row + 4 * (quad % ${each});
    let buffer = which + quad / ${each} * ${second};
    let k = first_k + 4 * part;
    let lines = ${outer} + vec4<u32>(0, 1, 2, 3);
    let at = lines * length + ${inner};
    let left = select(0, ${inner}_end - ${inner}, ${inner} < ${inner}_end);
    let count = select(vec4<u32>(), vec4<u32>(left), lines < vec4<u32>(${outer}_end));
    let numbers = ${alongK ? 'transpose(' : '('}block_of_${letter}(buffer, at, count));
    let place = 4 * part * ${quads} + (quad ^ (2 * part));
    ${range(4)
      .map(i => `tile_${letter}[place + ${i * quads}] = vec4<${type}>(numbers[${i}]);`)
      .join('\n    ')}
  }
}`;
};

interface Staging {
  /** Vectors of four rows that the tile has. */
  quads: number;
  parts: 1 | 2;
  /** The invocation that begins. */
  shift: number;
  invocations: number;
  type: string;
}

/** The numbers that one invocation holds: `sum_r_j` is a vector of row r (of `height`) and column quad j. */
const held = ({ height, width }: Tile): string[] =>
  range(height).flatMap(row => range(width / 4).map(quad => `sum_${row}_${quad}`));

/** A step of sixteen: products of the numbers in workgroup memory. */
const multiply = (tile: Tile, prefix: string, type: string): string => {
  const [quadsA, quadsB] = [tile.rows / 4, tile.columns / 4];
  const [down, across] = [tile.rows / tile.height, tile.columns / tile.width];
  const a = range(tile.height / 4).map(q => `let a${q} = tile_a[place_a + ${q * down}];`);
  const b = range(tile.width / 4).map(q => `let b${q} = tile_b[place_b + ${q * across}];`);
  const sums = range(tile.height).flatMap(row =>
    range(tile.width / 4).map(quad => {
      const sum = `${prefix}_${row}_${quad}`;
      return `${sum} = fma(vec4<${type}>(a${Math.floor(row / 4)}[${row % 4}]), b${quad}, ${sum});`;
    }),
  );
  return /* wgsl */ `
for (var part = 0u; part < 4; part++) {
  for (var i = 0u; i < 4; i++) {
    let place_a = (4 * part + i) * ${quadsA} + (down ^ (2 * part));
    let place_b = (4 * part + i) * ${quadsB} + (across ^ (2 * part));
    ${[...a, ...b, ...sums].join('\n    ')}
  }
}`;
};

/** What a kernel says around its tiles. */
export interface TileProduct {
  tile: Tile;
  a: Operand;
  b: Operand;
  /** 2: the sum goes on over a second A and a second B. */
  sources?: 1 | 2;
  /** 2: products with two B, of the same columns of both, in the two halves of a tile that is 8 wide. */
  parts?: 1 | 2;
  /** Operands and what is summed within a step of 16 terms as f16, and the steps' sums as f32. Needs shader-f16. */
  half: boolean;
  /** Lines before main: parameters and bindings. */
  declarations: string;
  /** Finds the workgroup's work from `id`: sets `row_first`, `row_end`, `column_first`, `column_end`, `k_first`, `k_end`, the lengths of
   *  lines `length_a`, `length_b`, and where there are several buffers `which_a`, `which_b`. Uniform. */
  locate: string;
  /** Body of `put(row, column, value: vec4<f32>, first: bool, last: bool)`, with two parts `put(row, column, value, second, …)`: takes
   *  four numbers of the sum, of its `first` block of terms, the `last` one, or one between. */
  put: string;
}

/** The calls of `put` for what an invocation holds. */
function stores({ rows, columns, height, width }: Tile, parts: 1 | 2): string {
  const calls = range(height).flatMap(r => {
    const row = `row + ${Math.floor(r / 4) * 4 * (rows / height) + (r % 4)}`;
    if (parts === 2) return `put_inside(${row}, column, sum_${r}_0, sum_${r}_1, first, last);`;
    return range(width / 4).map(
      quad => `put_inside(${row}, column + ${quad * 4 * (columns / width)}, sum_${r}_${quad}, first, last);`,
    );
  });
  return calls.join('\n    ');
}

/** The source of a kernel. */
export function tileProduct(product: TileProduct): string {
  const { tile, a, b, sources = 1, parts = 1, half, declarations, locate, put } = product;
  const invocations = invocationsOf(tile);
  const type = half ? 'f16' : 'f32';
  const names = held(tile);
  const perWarp = tile.columns / tile.width / 8; // 32 invocations are 8 across and 4 down
  const own = (prefix: string, of: string): string =>
    names.map(name => `var ${name.replace('sum', prefix)} = vec4<${of}>();`).join('\n');
  const step = half
    ? `${own('half', 'f16')}\n${multiply(tile, 'half', 'f16')}
       ${names.map(name => `${name} += vec4<f32>(${name.replace('sum', 'half')});`).join('\n')}`
    : multiply(tile, 'sum', 'f32');
  const numbers = parts === 2 ? 'value: vec4<f32>, second: vec4<f32>' : 'value: vec4<f32>';
  return /* wgsl */ `${half ? 'enable f16;' : ''}
${declarations}
var<private> which_a: u32;
var<private> which_b: u32;
var<private> row_first: u32;
var<private> row_end: u32;
var<private> column_first: u32;
var<private> column_end: u32;
var<private> length_a: u32;
var<private> length_b: u32;
${stage('a', a, { quads: tile.rows / 4, parts: 1, shift: 0, invocations, type })}
${stage('b', b, { quads: tile.columns / 4, parts, shift: invocations / 2, invocations, type })}
fn put(row: u32, column: u32, ${numbers}, first: bool, last: bool) {
  ${put}
}
fn put_inside(row: u32, column: u32, ${numbers}, first: bool, last: bool) {
  if (row < row_end && column < column_end) { put(row, column, value, ${parts === 2 ? 'second, ' : ''}first, last); }
}
@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var k_first = 0u;
  var k_end = 0u;
  ${locate}
  let warp = lane / 32;
  let across = lane % 8 + 8 * (warp % ${perWarp});
  let down = lane / 8 % 4 + 4 * (warp / ${perWarp});
  let row = row_first + 4 * down;
  let column = column_first + 4 * across;
  var source = 0u;
  var block_first = k_first;
  loop {
    ${own('sum', 'f32')}
    let block_end = min(block_first + ${SUM_BLOCK}, k_end);
    for (var k = block_first; k < block_end; k += 16) {
      workgroupBarrier();
      stage_a(which_a + source * ${a.second ?? 0}, row_first, row_end, k, k_end, length_a, lane);
      stage_b(which_b + source * ${sources === 2 ? b.second : 0}, column_first, column_end, k, k_end, length_b, lane);
      workgroupBarrier();
      ${step}
    }
    let first = source == 0 && block_first == k_first;
    let last = source == ${sources - 1} && block_end >= k_end;
    ${stores(tile, parts)}
    if (last) { break; }
    block_first = block_end;
    if (block_end >= k_end) { block_first = k_first; source++; }
  }
}`;
}
