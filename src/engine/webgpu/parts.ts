// Pieces of WGSL that several kernels share.

/** `workgroup_index(id, count)`: the workgroup's number in a grid that was spread over two dimensions. */
export const WORKGROUP_INDEX = /* wgsl */ `
fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 { return id.x + id.y * count.x; }`;

/** `row_sum(value, lane)`: the sum over a workgroup of `size` invocations (a power of two), known to all of them, by a tree of
 *  fixed shape: the same bits on every GPU. Needs uniform control flow. */
export const rowSum = (size: number): string => /* wgsl */ `
var<workgroup> row_sum_parts: array<f32, ${size}>;
fn row_sum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  row_sum_parts[lane] = value;
  for (var half = ${size / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { row_sum_parts[lane] += row_sum_parts[lane + half]; }
  }
  return workgroupUniformLoad(&row_sum_parts[0]);
}`;

/** `row_largest(value, lane)`: the largest of a workgroup's values, as `row_sum` is their sum. */
export const rowLargest = (size: number): string => /* wgsl */ `
var<workgroup> row_largest_parts: array<f32, ${size}>;
fn row_largest(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  row_largest_parts[lane] = value;
  for (var half = ${size / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { row_largest_parts[lane] = max(row_largest_parts[lane], row_largest_parts[lane + half]); }
  }
  return workgroupUniformLoad(&row_largest_parts[0]);
}`;
