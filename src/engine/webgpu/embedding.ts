// Embedding in WGSL. Forward copies row id_T[t] of w_VD. The gradient sums dy[t] into dw[id_T[t]], in token order, without
// atomics: the host, which has the ids, lists the tokens of each id that occurs, and a workgroup per such id adds them up.

import type { EmbeddingAttributes } from '../fast/embedding.ts';
import { countOf, type Integers } from '../integers.ts';
import { fill } from './fill.ts';
import { registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const forward = inBoth(per => ({
  name: 'embedding',
  code: /* wgsl */ `
struct Parameters { tokens: u32, vocabulary: u32, width: u32 }
@group(0) @binding(0) var<storage, read> weight: array<Value>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let at = workgroup_index(id, count) * 256 + lane;
  if (at >= parameters.tokens * parameters.width) { return; }
  let row = u32(ids[at / parameters.width]);
  var value = Value();
  if (row < parameters.vocabulary) { value = weight[row * parameters.width + at % parameters.width]; }
  y[at] = value;
}`,
}));

/** `lists` as `tokensById` makes them. Sums of 32 are summed, which loses less than one long sum where an id is frequent. */
const backward = inBoth(per => ({
  name: 'embedding, gradient',
  code: /* wgsl */ `
struct Parameters { ids: u32, width: u32, workgroups_per_id: u32 }
@group(0) @binding(0) var<storage, read> dy: array<Value>;
@group(0) @binding(1) var<storage, read> lists: array<u32>;
@group(0) @binding(2) var<storage, read_write> dw: array<Value>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(id, count);
  let place = index / parameters.workgroups_per_id;
  let d = index % parameters.workgroups_per_id * 64 + lane;
  if (place >= parameters.ids || d >= parameters.width) { return; }
  let end = lists[3 * place + 2];
  var sum = Value();
  for (var first = lists[3 * place + 1]; first < end; first += 32) {
    var part = Value();
    for (var j = first; j < min(first + 32, end); j++) { part += dy[lists[j] * parameters.width + d]; }
    sum += part;
  }
  dw[lists[3 * place] * parameters.width + d] = sum;
}`,
}));

/** For each of n ids that occur, by rising id: the id and where in this array its tokens start and end; then the tokens. */
function tokensById(id_T: Int32Array, vocabulary: number): { ids: number; lists: Int32Array } {
  const count_V = new Int32Array(vocabulary);
  for (const id of id_T) count_V[id]++;
  const ids = count_V.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
  const lists = new Int32Array(3 * ids + id_T.length);
  const next_V = new Int32Array(vocabulary);
  let end = 3 * ids;
  let place = 0;
  count_V.forEach((count, id) => {
    if (count === 0) return;
    next_V[id] = end;
    lists.set([id, end, end + count], place);
    end += count;
    place += 3;
  });
  id_T.forEach((id, t) => {
    lists[next_V[id]++] = t;
  });
  return { ids, lists };
}

interface GpuEmbeddingAttributes extends Omit<EmbeddingAttributes, 'id_T'> {
  id_T: Integers;
}

registerGpu<GpuEmbeddingAttributes>('MoeEmbedding', (gpu, { weight }, { id_T }) => {
  const [vocabulary, columns] = weight.shape;
  const [tokens, per] = [countOf(id_T), perValue(columns)];
  const width = columns / per;
  const y = gpu.allocate([tokens, columns]);
  gpu.withIntegers(id_T, ids => {
    gpu.run(forward[per], [weight, ids, y], { tokens, vocabulary, width }, Math.ceil((tokens * width) / 256));
  });
  return [y];
});

registerGpu<GpuEmbeddingAttributes>('MoeEmbeddingGrad', (gpu, { gradient }, { id_T, vocabulary }) => {
  if (!(id_T instanceof Int32Array)) throw new Error('the gradient of an embedding needs its ids on the host');
  const columns = gradient.shape[1];
  const per = perValue(columns);
  const width = columns / per;
  const dw = gpu.allocate([vocabulary, columns]);
  fill(gpu, dw, 0);
  const { ids, lists } = tokensById(id_T, vocabulary);
  const workgroupsPerId = Math.ceil(width / 64);
  gpu.withIntegers(lists, given => {
    const sizes = { ids, width, workgroups_per_id: workgroupsPerId };
    gpu.run(backward[per], [gradient, given, dw], sizes, ids * workgroupsPerId);
  });
  return [dw];
});
