// Maximum-weight assignment of rows to columns, one to one (Kuhn 1955; shortest augmenting paths with potentials, O(n³)).
// Pairs the experts of two runs whose numbering has nothing in common.

/** Column of each row of the square matrix `weight` [n · n] such that the summed weight is largest. */
export function assignment(weight: ArrayLike<number>, n: number): Int32Array {
  // One-based, with a column 0 for the row that is being placed; costs are negated weights.
  const rowPotential = new Float64Array(n + 1);
  const columnPotential = new Float64Array(n + 1);
  const rowOf = new Int32Array(n + 1);
  const from = new Int32Array(n + 1);
  for (let row = 1; row <= n; row++) {
    const shortest = new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY);
    const visited = new Uint8Array(n + 1);
    rowOf[0] = row;
    let column = 0;
    while (rowOf[column] !== 0) {
      visited[column] = 1;
      const at = rowOf[column];
      let [next, step] = [0, Number.POSITIVE_INFINITY];
      for (let c = 1; c <= n; c++) {
        if (visited[c] === 1) continue;
        const reduced = -weight[(at - 1) * n + c - 1] - rowPotential[at] - columnPotential[c];
        if (reduced < shortest[c]) {
          shortest[c] = reduced;
          from[c] = column;
        }
        if (shortest[c] < step) [next, step] = [c, shortest[c]];
      }
      for (let c = 0; c <= n; c++) {
        if (visited[c] === 1) {
          rowPotential[rowOf[c]] += step;
          columnPotential[c] -= step;
        } else shortest[c] -= step;
      }
      column = next;
    }
    for (; column !== 0; column = from[column]) rowOf[column] = rowOf[from[column]];
  }
  const columnOf = new Int32Array(n);
  for (let c = 1; c <= n; c++) columnOf[rowOf[c] - 1] = c - 1;
  return columnOf;
}
