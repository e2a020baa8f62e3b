// Host transpose of a matrix: y[c, r] = x[r, c], in square tiles that stay in the first-level cache.

const TILE = 32;

/** Writes the transpose of x [rows, columns] into y [columns, rows]. */
export function transposeInto(x: Float32Array, y: Float32Array, rows: number, columns: number): void {
  for (let r0 = 0; r0 < rows; r0 += TILE) {
    const r1 = Math.min(rows, r0 + TILE);
    for (let c0 = 0; c0 < columns; c0 += TILE) {
      const c1 = Math.min(columns, c0 + TILE);
      let c = c0;
      for (; c + 3 < c1; c += 4) {
        for (let r = r0; r < r1; r++) {
          const from = r * columns + c;
          const to = c * rows + r;
          y[to] = x[from];
          y[to + rows] = x[from + 1];
          y[to + 2 * rows] = x[from + 2];
          y[to + 3 * rows] = x[from + 3];
        }
      }
      for (; c < c1; c++) for (let r = r0; r < r1; r++) y[c * rows + r] = x[r * columns + c];
    }
  }
}
