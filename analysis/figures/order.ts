// Barycentre order of experts for a layered flow picture: each expert moves to the mass-weighted mean position of what
// flows into it (then out of it), sweep by sweep, as long as the weighted number of crossings Σ w·w' falls.
// Languages, the first column, stay where they are.

/** Mass from row i of one column to row j of the next. */
export type Weights = number[][];

/** Orders of the columns 1…n for links[c] between columns c and c+1; each is a list of experts from top to bottom. */
export function barycentreOrder(links: Weights[], sweeps = 12): number[][] {
  const experts = links.map(link => link[0].map((_, j) => j));
  const first = links[0].map((_, i) => i);
  let best = experts;
  let fewest = crossings(links, [first, ...best]);
  let orders = best;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    orders = sweep % 2 === 0 ? forward(links, first, orders) : backward(links, orders);
    const now = crossings(links, [first, ...orders]);
    if (now < fewest - 1e-12) {
      best = orders;
      fewest = now;
    }
  }
  return best;
}

/** Σ w·w' over pairs of links that cross, over all neighbouring columns. */
export function crossings(links: Weights[], orders: number[][]): number {
  let total = 0;
  for (const [c, link] of links.entries()) {
    const w = orders[c].map(i => orders[c + 1].map(j => link[i][j]));
    // below[j]: mass that left rows above to targets below j; crosses whatever now enters j
    const seen = new Array<number>(w[0].length).fill(0);
    for (const row of w) {
      let later = 0;
      for (let j = row.length - 1; j >= 0; j--) {
        total += row[j] * later;
        later += seen[j];
      }
      for (let j = 0; j < row.length; j++) seen[j] += row[j];
    }
  }
  return total;
}

function forward(links: Weights[], first: number[], orders: number[][]): number[][] {
  const sorted: number[][] = [];
  for (const [c, link] of links.entries()) {
    const before = c === 0 ? first : sorted[c - 1];
    sorted.push(byMean(orders[c], before, (j, i) => link[i][j]));
  }
  return sorted;
}

function backward(links: Weights[], orders: number[][]): number[][] {
  const sorted = [...orders];
  for (let c = links.length - 2; c >= 0; c--) {
    sorted[c] = byMean(orders[c], sorted[c + 1], (i, j) => links[c + 1][i][j]);
  }
  return sorted;
}

/** Sorts `items` by the mean position of their neighbours; items without mass keep their place, ties the lower id. */
function byMean(items: number[], neighbours: number[], weight: (item: number, neighbour: number) => number): number[] {
  const mean = new Map(
    items.map((item, place) => {
      let sum = 0;
      let mass = 0;
      for (const [position, neighbour] of neighbours.entries()) {
        sum += weight(item, neighbour) * position;
        mass += weight(item, neighbour);
      }
      return [item, mass > 0 ? sum / mass : (place * neighbours.length) / items.length];
    }),
  );
  return [...items].sort((a, b) => mean.get(a)! - mean.get(b)! || a - b);
}
