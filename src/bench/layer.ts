// Time of one MoE layer, forward and backward: router, free top-k, dispatch, experts, combine, and all their gradients.
// Shapes: T tokens, D width, X expert width, E experts.
import type { FfnWeights } from '../../experts/ffn.ts';
import { moeLayer } from '../../experts/layer.ts';
import { type Tensor, type Tensor2D, tf } from '../engine/tf.ts';
import type { TensorSpec } from '../model/spec.ts';
import { normals, randomWeights } from './random.ts';
import { type SavedTensor, savedTensor, savedWeights } from './saved.ts';
import type { LayerShape } from './shapes.ts';
import { finished, type Repeats, summary, type Timing, timed } from './timing.ts';
import { layerOperations } from './work.ts';

export interface LayerTimes {
  timing: Timing;
  /** Mean squares of the output, of the gradient of the input, and of the gradient of the router. */
  values: number[];
}

/** The layer's weights by the names of Qwen2-MoE, below `mlp`. */
export function layerTensors({ width: D, expertWidth: X, experts: E }: LayerShape): TensorSpec[] {
  const out: TensorSpec[] = [{ name: 'gate.weight', shape: [E, D], role: 'router' }];
  for (let e = 0; e < E; e++)
    for (const part of ['gate_proj', 'up_proj', 'down_proj'])
      out.push({ name: `experts.${e}.${part}.weight`, shape: part === 'down_proj' ? [D, X] : [X, D], role: 'expert' });
  return out;
}

/** @param save receives the weights, the input and the gradient of the output before the first run */
export async function timeLayer(
  shape: LayerShape,
  seed: number,
  repeats: Repeats,
  save?: (tensors: SavedTensor[]) => Promise<void>,
): Promise<LayerTimes> {
  const weights = randomWeights(layerTensors(shape), seed);
  const draw = normals(`${seed}/input`);
  const size = [shape.tokens, shape.width] as [number, number];
  const [x_TD, dy_TD] = [1, 1].map(scale => tf.tensor2d(draw(size[0] * size[1], scale), size));
  await save?.([...savedWeights(weights), savedTensor('x', x_TD), savedTensor('dy', dy_TD)]);
  const inputs = [x_TD, ...weights.values()];
  const run = (x: Tensor, ...own: Tensor[]): Tensor2D => layer(shape, x as Tensor2D, own as Tensor2D[]);
  const gradients = tf.grads(run);
  const ms = await timed(async () => {
    const all = gradients(inputs, dy_TD);
    await finished(all[0]);
    tf.dispose(all);
  }, repeats);
  const values = checkedValues(run, gradients, inputs, dy_TD);
  tf.dispose([x_TD, dy_TD, ...weights.values()]);
  return { timing: summary('moe layer', ms, layerOperations(shape), shape.tokens), values };
}

function layer(shape: LayerShape, x_TD: Tensor2D, [router_ED, ...own]: Tensor2D[]): Tensor2D {
  const experts: FfnWeights[] = Array.from({ length: shape.experts }, (_, e) => {
    const [gate_proj, up_proj, down_proj] = own.slice(3 * e, 3 * e + 3);
    return { gate_proj, up_proj, down_proj };
  });
  const tokens = {
    languageExpert_T: null,
    counted_T: new Uint8Array(shape.tokens).fill(1),
    tokenId_T: new Int32Array(shape.tokens),
  };
  return moeLayer(x_TD, { router_ED, experts }, tokens, {
    kind: 'top-k',
    k: shape.expertsPerToken,
    mode: 'free',
    normalise: true,
    hintBias: 0,
    dispatch: 'tf',
    capacityFactor: null,
    balance: 'assigned',
  }).y_TD;
}

function checkedValues(
  run: (x: Tensor, ...own: Tensor[]) => Tensor2D,
  gradients: (inputs: Tensor[], dy: Tensor) => Tensor[],
  inputs: Tensor[],
  dy_TD: Tensor,
): number[] {
  const meanSquare = (tensor: Tensor): number => tensor.square().mean().dataSync()[0];
  const values: number[] = [];
  tf.tidy(() => {
    const [dx_TD, drouter_ED] = gradients(inputs, dy_TD);
    const [x_TD, ...own] = inputs;
    values.push(...[run(x_TD, ...own), dx_TD, drouter_ED].map(meanSquare));
  });
  return values;
}
