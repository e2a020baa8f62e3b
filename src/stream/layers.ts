// One layer over the pieces of all batches. Held whole it is the ordinary layer. Where its experts are not held at once the layer
// runs twice around them: the first time it leaves the rows that it has sorted by expert, then each expert serves its rows of
// all pieces, and the second time the layer takes up their answers. The kernels and their rows are those of the ordinary pass.
// Shapes: T tokens of a piece, D width, k experts per token, M ≤ T·k rows of a piece in the order of their experts.
import type { FfnWeights } from '../../experts/ffn.ts';
import { groupedFfn } from '../../experts/ffn.ts';
import type { Routing, RoutingMode } from '../../routing/types.ts';
import { filledTensor, valuesInPlace } from '../engine/in-place.ts';
import { hostIntegers } from '../engine/integers.ts';
import { type Tensor, type Tensor2D, tf } from '../engine/tf.ts';
import type { ForwardOptions, Intervention, LayerWeights } from '../model/forward-options.ts';
import { expertWeights } from '../model/moe-block.ts';
import { block } from '../model/transformer.ts';
import type { Activations } from './activations.ts';
import type { Arena } from './arena.ts';
import type { Piece } from './pieces.ts';
import { type LayerParts, layerParts, type StoredModel, type StoredTensor } from './source.ts';

export interface LayerPass {
  model: StoredModel;
  arena: Arena;
  activations: Activations;
  pieces: readonly Piece[];
  /** Tokens of all pieces. */
  tokens: number;
  mode: RoutingMode;
  intervention?: Intervention;
  /** Called in a tidy, as ForwardOptions.onRouting is. */
  onRouting?: (piece: Piece, layer: number, routing: Routing) => void;
  /** Awaited after each piece. */
  pause: (layer: number) => Promise<void>;
}

/** Takes the hidden states of all pieces through a layer. @param held how many experts are held at once */
export async function runLayer(pass: LayerPass, layer: number, held: number): Promise<void> {
  const parts = layerParts(pass.model, layer);
  const whole = held >= parts.experts.length;
  const weight = loaded(pass.arena, layer, whole ? [...parts.base, ...parts.experts.flat()] : parts.base);
  try {
    if (whole) await eachPiece(pass, layer, weight, observed(pass, layer));
    else await aroundExperts(pass, layer, held, parts, weight);
  } finally {
    pass.arena.release();
  }
}

/** Reads tensors of a layer, which are then found by their names below `model.layers.i.`. */
function loaded(arena: Arena, layer: number, tensors: StoredTensor[]): LayerWeights {
  const prefix = `model.layers.${layer}.`.length;
  const made = arena.load(tensors);
  const byName = new Map<string, Tensor>(tensors.map(({ spec }, i) => [spec.name.slice(prefix), made[i]]));
  return name => byName.get(name)!;
}

type PieceOptions = (piece: Piece) => Pick<ForwardOptions, 'onRouting' | 'applyExperts'>;

const observed =
  ({ onRouting }: LayerPass, layer: number): PieceOptions =>
  piece => ({ onRouting: onRouting && ((_, routing) => onRouting(piece, layer, routing)) });

/** @param keep whether what comes out takes the place of what went in */
async function eachPiece(pass: LayerPass, layer: number, weight: LayerWeights, options: PieceOptions, keep = true) {
  const { model, activations, pieces, mode, intervention } = pass;
  for (const piece of pieces) {
    tf.tidy(() => {
      const x_TD = hiddenOf(pass, piece);
      const out = block(model, layer, x_TD, weight, piece.tokens, { mode, intervention, ...options(piece) });
      if (keep) activations.write(piece.start * model.spec.hidden_size, valuesInPlace(out.x_TD));
    });
    await pass.pause(layer);
  }
}

/** The hidden states of a piece as they wait. */
export function hiddenOf({ model, activations }: Pick<LayerPass, 'model' | 'activations'>, piece: Piece): Tensor2D {
  const D = model.spec.hidden_size;
  return filledTensor([piece.tokens.id_T.length, D], values => activations.read(piece.start * D, values));
}

async function aroundExperts(pass: LayerPass, layer: number, held: number, parts: LayerParts, weight: LayerWeights) {
  const { activations, pieces, tokens, model } = pass;
  const { hidden_size: D, num_experts_per_tok: k } = model.spec;
  const offsets = new Map<Piece, Int32Array>();
  // Rows of experts wait behind the hidden states of all tokens.
  const rowsAt = ({ start }: Piece, row = 0): number => (tokens + start * k + row) * D;
  const leaving: PieceOptions = piece => ({
    ...observed(pass, layer)(piece),
    applyExperts(_, rows_MD, offsets_E1) {
      activations.write(rowsAt(piece), valuesInPlace(rows_MD));
      offsets.set(piece, hostIntegers(offsets_E1).slice());
      return rows_MD;
    },
  });
  const takingUp: PieceOptions = piece => ({
    applyExperts: (_, rows_MD) => filledTensor(rows_MD.shape, values => activations.read(rowsAt(piece), values)),
  });
  await eachPiece(pass, layer, weight, leaving, false);
  const before = pass.arena.held();
  for (let first = 0; first < parts.experts.length; first += held) {
    const end = Math.min(parts.experts.length, first + held);
    const served = pieces.filter(piece => offsets.get(piece)![end] > offsets.get(piece)![first]);
    if (served.length === 0) continue;
    const own = loaded(pass.arena, layer, parts.experts.slice(first, end).flat());
    const experts = Array.from({ length: end - first }, (_, i) => expertWeights(own, first + i));
    for (const piece of served) {
      const offsets_E1 = offsets.get(piece)!.subarray(first, end + 1);
      serve(activations, experts, offsets_E1, rowsAt(piece, offsets_E1[0]), D);
      await pass.pause(layer);
    }
    pass.arena.release(before);
  }
  await eachPiece(pass, layer, weight, takingUp);
}

/** Some experts on their rows of one piece, which wait side by side; the answers take their place. */
function serve(activations: Activations, experts: FfnWeights[], offsets_E1: Int32Array, at: number, D: number): void {
  const start = offsets_E1[0];
  tf.tidy(() => {
    const rows_MD = filledTensor<Tensor2D>([offsets_E1.at(-1)! - start, D], values => activations.read(at, values));
    const y_MD = groupedFfn(
      rows_MD,
      experts,
      offsets_E1.map(offset => offset - start),
    );
    activations.write(at, valuesInPlace(y_MD));
  });
}
