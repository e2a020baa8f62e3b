// Routing on a GPU: the choice of experts, and their loads, without the host. The kernels of the choice are in webgpu-select.ts.
// Ids are attributes, not inputs, of kernels: integers have no gradient, and a tape that knew of them would ask for one.

import { countOf, type Integers } from '../src/engine/integers.ts';
import { hasKernel, runKernel } from '../src/engine/kernel.ts';
import { type Tensor, type Tensor1D, type Tensor2D, type TensorInfo, tf } from '../src/engine/tf.ts';
import { countTiles, MOST_IDS } from '../src/engine/webgpu/count-tiles.ts';
import { fill } from '../src/engine/webgpu/fill.ts';
import { type Gpu, registerGpu } from '../src/engine/webgpu/gpu.ts';
import { WORKGROUP_INDEX } from '../src/engine/webgpu/parts.ts';
import { scanLanes } from '../src/engine/webgpu/scan.ts';
import { UserError } from '../src/errors.ts';
import { isFew, selectFew, selectMany, TOKENS_OF_GROUP } from './webgpu-select.ts';

export interface GpuRouteOptions {
  k: number;
  /** Expert of each token's language, −1 unknown; null when languages play no part. */
  languageExpert_T: Integers | null;
  /** Hybrid-k: the language expert is always among the k. */
  forced: boolean;
  /** Added to the language expert's logit before the softmax; 0 for none. */
  hintBias: number;
  /** Added to the scores for the choice alone. */
  selectionBias_E: Float32Array | null;
}

/** Whether the running backend chooses experts by kernels of its own. */
export const choosesOnGpu = (): boolean => hasKernel('MoeRoute');

/** Softmax of logits_TE and the choice that routing/hybrid-k.ts makes from it. Differentiable in the probabilities. */
export function routeOnGpu(
  logits_TE: Tensor2D,
  options: GpuRouteOptions,
): { probabilities_TE: Tensor2D; expertId_TK: Tensor } {
  const [probabilities_TE, expertId_TK] = runKernel('MoeRoute', { logits: logits_TE }, options);
  return { probabilities_TE: probabilities_TE as Tensor2D, expertId_TK };
}

/** Plain top-k of scores as they are, [T, E] → int32 [T, k]; ties to the lower id. */
export const topKOnGpu = (score_TE: Tensor2D, k: number): Tensor => runKernel('MoeTopK', { score: score_TE }, { k })[0];

/** Slots per expert of counted tokens, [E] fp32. */
export const loadOnGpu = (expertId_TK: Integers, counted_T: Integers, numExperts: number): Tensor1D =>
  runKernel('MoeExpertLoad', {}, { expertId_TK, counted_T, numExperts })[0] as Tensor1D;

/** Runs the choice on [T, E]; writes the softmax into `probabilities`, or takes what is given for scores when that is null. */
function select(gpu: Gpu, given: TensorInfo, probabilities: TensorInfo | null, options: GpuRouteOptions): TensorInfo {
  const [tokens, experts] = given.shape;
  const { k, languageExpert_T, forced, hintBias, selectionBias_E } = options;
  if (experts > MOST_IDS) throw new UserError(`webgpu routes to at most ${MOST_IDS} experts, not ${experts}.`);
  const ids = gpu.allocate([tokens, k], 'int32');
  const nothing = gpu.allocate([1]); // stands for what is not written
  const bias = selectionBias_E && gpu.backend.makeTensorInfo([experts], 'float32', selectionBias_E.slice());
  const parameters = {
    tokens,
    experts,
    choices: k,
    softmax: Number(probabilities !== null),
    biased: Number(bias !== null),
    known: Number(languageExpert_T !== null),
    forced: Number(forced),
    hint: hintBias,
  };
  const few = isFew(experts, k);
  gpu.withIntegers(languageExpert_T ?? Int32Array.of(-1), languages => {
    const tensors = [given, languages, bias ?? given, probabilities ?? nothing, ids];
    const groups = few ? Math.ceil(tokens / TOKENS_OF_GROUP) : tokens;
    gpu.run(few ? selectFew(experts, k) : selectMany(experts), tensors, parameters, k === 0 ? 0 : groups);
  });
  gpu.release(nothing, ...(bias ? [bias] : []));
  return ids;
}

registerGpu<GpuRouteOptions>('MoeRoute', (gpu, { logits }, options) => {
  const probabilities = gpu.allocate(logits.shape);
  return [probabilities, select(gpu, logits, probabilities, options)];
});

registerGpu<{ k: number }>('MoeTopK', (gpu, { score }, { k }) => {
  const plain = { languageExpert_T: null, forced: false, hintBias: 0, selectionBias_E: null };
  return [select(gpu, score, null, { k, ...plain })];
});

tf.registerGradient({
  kernelName: 'MoeRoute',
  outputsToSave: [true, false],
  gradFunc: (gradients, saved) => ({
    logits: () => {
      const [gradient] = gradients as unknown as Tensor[];
      return runKernel('MoeRouteGrad', { probabilities: (saved as Tensor[])[0], gradient })[0];
    },
  }),
});

/** dz = p ⊙ (dp − Σ_e dp p), as many invocations per token as it has experts, up to 64. */
const softmaxGradient = (lanes: number) => ({
  name: 'softmax, gradient',
  code: /* wgsl */ `
struct Parameters { tokens: u32, experts: u32 }
@group(0) @binding(0) var<storage, read> probabilities: array<f32>;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
const LANES = ${lanes}u;
var<workgroup> parts: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let token = workgroup_index(id, count) * (64 / LANES) + lane / LANES;
  let place = lane % LANES;
  let first = token * parameters.experts;
  var end = first;
  if (token < parameters.tokens) { end += parameters.experts; }
  var sum = 0.0;
  for (var i = first + place; i < end; i += LANES) { sum += gradients[i] * probabilities[i]; }
  parts[lane] = sum;
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (place < half) { parts[lane] += parts[lane + half]; }
  }
  workgroupBarrier();
  let mean = parts[lane - place];
  for (var i = first + place; i < end; i += LANES) { dlogits[i] = probabilities[i] * (gradients[i] - mean); }
}`,
});

registerGpu('MoeRouteGrad', (gpu, { probabilities, gradient }) => {
  const [tokens, experts] = probabilities.shape;
  const dlogits = gpu.allocate(probabilities.shape);
  const lanes = Math.min(64, 2 ** Math.ceil(Math.log2(Math.max(1, experts))));
  const tensors = [probabilities, gradient, dlogits];
  gpu.run(softmaxGradient(lanes), tensors, { tokens, experts }, Math.ceil((tokens * lanes) / 64));
  return [dlogits];
});

/** Counts per tile, added up: a workgroup per expert. */
const addTiles = {
  name: 'load',
  code: /* wgsl */ `
struct Parameters { tiles: u32 }
@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> load: array<f32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${scanLanes(64)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = 0u;
  for (var tile = lane; tile < parameters.tiles; tile += 64) { sum += counts[id.x * parameters.tiles + tile]; }
  let total = scan(sum, lane).y;
  if (lane == 0) { load[id.x] = f32(total); }
}`,
};

interface LoadAttributes {
  expertId_TK: Integers;
  counted_T: Integers;
  numExperts: number;
}

registerGpu<LoadAttributes>('MoeExpertLoad', (gpu, _, { expertId_TK, counted_T, numExperts }) => {
  const [size, tokens] = [countOf(expertId_TK), countOf(counted_T)];
  const load = gpu.allocate([numExperts]);
  if (size === 0) {
    fill(gpu, load, 0);
    return [load];
  }
  const counts = gpu.withIntegers(expertId_TK, ids =>
    gpu.withIntegers(counted_T, values =>
      countTiles(gpu, ids, size, numExperts, { values, perValue: Math.round(size / tokens) }),
    ),
  );
  gpu.run(addTiles, [counts, load], { tiles: counts.shape[1] }, numExperts);
  gpu.release(counts);
  return [load];
});
