// What may be asked of a forward pass, and how a layer reaches its weights.
// Shapes: T tokens, D width.
import type { Act } from '../../routing/intervene/acts.ts';
import type { Load } from '../../routing/load.ts';
import type { Routing, RoutingMode } from '../../routing/types.ts';
import type { Integers } from '../engine/integers.ts';
import type { Tensor, Tensor2D } from '../engine/tf.ts';
import type { KvCache } from './kv-cache.ts';

/** A tensor of one layer by its name below `model.layers.i.`. */
export type LayerWeights = (name: string) => Tensor;

/** What is done to the routers of a model that is not pruned. */
export interface Intervention {
  /** By layer; the others are left alone. */
  acts: ReadonlyMap<number, readonly Act[]>;
  /** Of each pass through such a layer: at how many counted tokens the acts hold, and of how many the experts changed. */
  told?: (layer: number, tokens: number, flipped: number) => void;
}

export interface ForwardOptions {
  mode: RoutingMode;
  intervention?: Intervention;
  cache?: KvCache;
  /** Recompute each layer in the backward pass instead of keeping its activations. */
  checkpointing?: boolean;
  /** Called once per layer with the normed input of its FFN or experts [T, D]. */
  onFfnInput?: (layer: number, x_TD: Tensor2D) => void;
  /** Called once per MoE layer with what was chosen; the tensors in it live only during the call. */
  onRouting?: (layer: number, routing: Routing, load_E: Load) => void;
  /** Runs the experts of a layer in its stead, on the rows that it has sorted by expert: for weights not in memory. */
  applyExperts?: (layer: number, rows_MD: Tensor2D, offsets_E1: Integers) => Tensor2D;
}
