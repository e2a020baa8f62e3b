// Acts on the logits of a layer's tokens, and the softmax of what is left. An expert that is taken away has no part in the
// sum, rather than a part of 0: rows with the same experts left are cut to these columns, so that their probabilities are, bit
// for bit, those of a model that never had the others. Rows that no act changed keep the bits of the plain softmax.
// Shapes: T tokens, E experts, k experts per token.
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import { type Act, actOn } from './acts.ts';

/** What is to be done in one layer. */
export interface RouterEdit {
  acts: readonly Act[];
  /** 1 where the acts hold; null: at every token. */
  acted_T: Uint8Array | null;
  /** Is told of counted tokens at which the acts hold: how many there are, and of how many the set of experts is another. */
  told?: (tokens: number, flipped: number) => void;
}

export interface EditedLogits {
  z_TE: Float32Array;
  /** 1 where a logit differs from the router's. */
  changed_T: Uint8Array;
  /** 1 where an expert is taken away from a token. */
  barred_TE: Uint8Array;
}

const holdsAt = ({ acted_T }: RouterEdit, t: number): boolean => acted_T === null || acted_T[t] === 1;

/** The logits after the acts. */
export function editLogits(z_TE: Float32Array, numExperts: number, edit: RouterEdit): EditedLogits {
  const tokens = z_TE.length / numExperts;
  const out = {
    z_TE: z_TE.slice(),
    changed_T: new Uint8Array(tokens),
    barred_TE: new Uint8Array(z_TE.length),
  };
  for (let t = 0; t < tokens; t++) {
    if (!holdsAt(edit, t)) continue;
    const [from, to] = [t * numExperts, (t + 1) * numExperts];
    actOn(z_TE.subarray(from, to), edit.acts, out.z_TE.subarray(from, to));
    for (let i = from; i < to; i++) {
      if (out.z_TE[i] !== z_TE[i]) out.changed_T[t] = 1;
      if (out.z_TE[i] === Number.NEGATIVE_INFINITY) out.barred_TE[i] = 1;
    }
  }
  return out;
}

/** Probabilities after the acts; exactly 0 for experts that are taken away. @param p_TE the plain softmax */
export function editProbabilities(p_TE: Float32Array, numExperts: number, edited: EditedLogits): Float32Array {
  const out_TE = p_TE.slice();
  for (const { rows, columns } of rowsByExpertsLeft(numExperts, edited)) {
    const left = new Float32Array(rows.length * columns.length);
    rows.forEach((t, i) => {
      columns.forEach((e, j) => {
        left[i * columns.length + j] = edited.z_TE[t * numExperts + e];
      });
    });
    const shape: [number, number] = [rows.length, columns.length];
    const q = tf.tidy(() => tf.softmax<Tensor2D>(tf.tensor2d(left, shape)).dataSync<'float32'>().slice());
    rows.forEach((t, i) => {
      out_TE.fill(0, t * numExperts, (t + 1) * numExperts);
      columns.forEach((e, j) => {
        out_TE[t * numExperts + e] = q[i * columns.length + j];
      });
    });
  }
  return out_TE;
}

/** Changed rows, gathered by the experts that they may choose from. */
function rowsByExpertsLeft(numExperts: number, { changed_T, barred_TE }: EditedLogits) {
  const groups = new Map<string, { rows: number[]; columns: number[] }>();
  changed_T.forEach((changed, t) => {
    if (changed === 0) return;
    const barred_E = barred_TE.subarray(t * numExperts, (t + 1) * numExperts);
    const key = barred_E.join('');
    const columns = () => Array.from(barred_E.keys()).filter(e => barred_E[e] === 0);
    const group = groups.get(key) ?? { rows: [], columns: columns() };
    group.rows.push(t);
    groups.set(key, group);
  });
  return groups.values();
}

/** [T·k] 0 where the chosen expert is to add nothing, else 1; null where no act says so. */
export function silencedSlots(expertId_TK: Int32Array, k: number, edit: RouterEdit): Float32Array | null {
  const silent = new Set(edit.acts.flatMap(act => (act.kind === 'zero' ? act.experts : [])));
  if (silent.size === 0) return null;
  return Float32Array.from(expertId_TK, (e, slot) => Number(!(silent.has(e) && holdsAt(edit, Math.floor(slot / k)))));
}

/** Tells how many tokens have another set of experts than the router chose. Order within the set does not matter. */
export function tellFlips(
  before_TK: Int32Array,
  after_TK: Int32Array,
  k: number,
  counted_T: Uint8Array,
  edit: RouterEdit,
): void {
  if (!edit.told) return;
  let [tokens, flipped] = [0, 0];
  counted_T.forEach((counted, t) => {
    if (counted === 0 || !holdsAt(edit, t)) return;
    tokens++;
    const before = before_TK.subarray(t * k, (t + 1) * k);
    if (after_TK.subarray(t * k, (t + 1) * k).some(e => !before.includes(e))) flipped++;
  });
  edit.told(tokens, flipped);
}
