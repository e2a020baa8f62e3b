// Rotary positions on the C kernels, half rotation: channels i and i + d/2 turn by direction · position · frequency[i].
// The gradient is the same turn the other way. Kernel MoeRope: { x: [T, H, d] }, { position_T, frequency_h, direction } -> y.
// Cosines and sines are taken in double precision, once for all positions of a step's layers.

import { registerFast } from '../memory.ts';
import { keepLatest } from '../rope-tables.ts';

export interface RopeAttributes {
  position_T: Int32Array;
  /** Radians per position of each pair of channels, [d / 2]. */
  frequency_h: Float64Array;
  /** 1 forward, −1 for the gradient. */
  direction: 1 | -1;
}

/** Cosines, then sines, of all angles of one position in each row: [distinct positions, d]. */
interface Turns {
  row_T: Int32Array;
  table: Float32Array;
}

registerFast<RopeAttributes>('MoeRope', (memory, { x }, { position_T, frequency_h, direction }) => {
  const [tokens, heads, d] = x.shape;
  const { row_T, table } = turnsOf(position_T, frequency_h);
  const [y, turns] = [memory.allocate(x.shape), memory.allocate([table.length])];
  memory.view(turns).set(table);
  memory.call('rope', memory.view(x), memory.view(turns), row_T, memory.view(y), tokens, heads, d / 2, direction);
  memory.release(turns);
  return [y];
});

const turnsOf = keepLatest(makeTurns);

function makeTurns(position_T: Int32Array, frequency_h: Float64Array): Turns {
  const half = frequency_h.length;
  const rowOf = new Map<number, number>();
  const row_T = position_T.map(position => {
    if (!rowOf.has(position)) rowOf.set(position, rowOf.size);
    return rowOf.get(position) as number;
  });
  const table = new Float32Array(rowOf.size * 2 * half);
  for (const [position, row] of rowOf) {
    for (let i = 0; i < half; i++) {
      const angle = position * frequency_h[i];
      table[row * 2 * half + i] = Math.cos(angle);
      table[row * 2 * half + half + i] = Math.sin(angle);
    }
  }
  return { row_T, table };
}
