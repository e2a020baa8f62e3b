// Host rotary positions, half rotation: channels i and i + d/2 turn by direction · position · theta^(−2i/d).
// The gradient is the same turn the other way. Kernel MoeRope: { x: [T, H, d] }, { position_T, theta, direction } -> y.

import { registerHostKernel } from '../host.ts';

export interface RopeAttributes {
  position_T: Int32Array;
  theta: number;
  /** 1 forward, −1 for the gradient. */
  direction: 1 | -1;
}

registerHostKernel<RopeAttributes>('MoeRope', (memory, inputs, { position_T, theta, direction }) => {
  const [tokens, heads, d] = inputs.x.shape;
  const half = d / 2;
  const output = memory.allocate([tokens, heads, d]);
  const x = memory.view(inputs.x);
  const y = memory.view(output);
  const cos = new Float64Array(half);
  const sin = new Float64Array(half);
  const turns = turnTable(position_T, half, theta);
  for (let t = 0; t < tokens; t++) {
    const row = turns.row_T[t] * d;
    for (let i = 0; i < half; i++) {
      cos[i] = turns.table[row + i];
      sin[i] = turns.table[row + half + i] * direction;
    }
    for (let h = 0; h < heads; h++) {
      const start = (t * heads + h) * d;
      for (let i = 0; i < half; i++) {
        const first = x[start + i];
        const second = x[start + half + i];
        y[start + i] = first * cos[i] - second * sin[i];
        y[start + half + i] = second * cos[i] + first * sin[i];
      }
    }
  }
  return [output];
});

/** Cosines and sines, [rows, d], one row per distinct position in order of appearance. */
function turnTable(position_T: Int32Array, half: number, theta: number): { row_T: Int32Array; table: Float64Array } {
  const rowOf = new Map<number, number>();
  const row_T = position_T.map(position => {
    if (!rowOf.has(position)) rowOf.set(position, rowOf.size);
    return rowOf.get(position) as number;
  });
  const table = new Float64Array(rowOf.size * 2 * half);
  for (const [position, row] of rowOf) {
    for (let i = 0; i < half; i++) {
      const angle = position * theta ** (-i / half);
      table[row * 2 * half + i] = Math.cos(angle);
      table[row * 2 * half + half + i] = Math.sin(angle);
    }
  }
  return { row_T, table };
}
