// Orders that make pictures readable. Layered pictures: each item moves to the mass-weighted mean position of what
// flows into it (then out of it), sweep by sweep, until the weighted number of crossings Σ w·w' stops falling
// (barycentre method; Li et al., 1912.05339). Matrices: the first axis of correspondence analysis, which puts rows of
// alike profile side by side (Greenacre 1984). Languages: by family, inside a family by that axis of the late layers.
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { grid } from './grid.ts';

/** Mass from row i of one column to row j of the next. */
export type Weights = number[][];

/** Sweeps without fewer crossings after which the order is taken, and sweeps at most. */
const PATIENCE = 4;
const MOST_SWEEPS = 48;

/** Orders of the columns 1…n for links[c] between columns c and c+1, from top to bottom; the first column stays. */
export function barycentreOrder(links: Weights[]): number[][] {
  const first = links[0].map((_, i) => i);
  let orders = links.map(link => link[0].map((_, j) => j));
  let best = orders;
  let fewest = crossings(links, [first, ...best]);
  for (let sweep = 0, since = 0; sweep < MOST_SWEEPS && since < PATIENCE; sweep++, since++) {
    orders = sweep % 2 === 0 ? forward(links, first, orders) : backward(links, orders);
    const now = crossings(links, [first, ...orders]);
    if (now >= fewest - 1e-12) continue;
    best = orders;
    fewest = now;
    since = -1;
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

/** Columns of a matrix from top-left to bottom-right: by the mean position of the rows that give them their mass. */
export function columnOrder(rows: ArrayLike<number>[]): number[] {
  const columns = Array.from(rows[0] ?? [], (_, j) => j);
  const places = rows.map((_, i) => i);
  return byMean(columns, places, (j, i) => rows[i][j]);
}

const ITERATIONS = 200;

/**
 * First axis of correspondence analysis of a table of masses: one coordinate per row, found by reciprocal averaging
 * without the trivial axis; 0 for rows without mass. It runs as the columns do: rows with their mass in the first
 * ones come first.
 */
export function correspondenceAxis(rows: ArrayLike<number>[]): number[] {
  const mass = rows.map(row => Array.from(row).reduce((a, b) => a + b, 0));
  const columnMass = Array.from(rows[0] ?? [], (_, j) => rows.reduce((sum, row) => sum + row[j], 0));
  let score = standardise(
    rows.map((_, i) => i),
    mass,
  );
  for (let round = 0; round < ITERATIONS; round++) {
    const column = columnMass.map((m, j) => (m > 0 ? rows.reduce((sum, row, i) => sum + row[j] * score[i], 0) / m : 0));
    const next = rows.map((row, i) => (mass[i] > 0 ? column.reduce((sum, c, j) => sum + row[j] * c, 0) / mass[i] : 0));
    const moved = standardise(next, mass);
    const change = Math.max(...moved.map((value, i) => Math.abs(value - score[i])));
    score = moved;
    if (!(change > 1e-10)) break;
  }
  return orient(
    score,
    rows.map((row, i) => centreOf(row) ?? i),
  );
}

/** Mean column of a row; null without mass. */
function centreOf(row: ArrayLike<number>): number | null {
  const mass = Array.from(row).reduce((a, b) => a + b, 0);
  return mass > 0 ? Array.from(row).reduce((sum, m, j) => sum + m * j, 0) / mass : null;
}

/** Scores or their negatives, whichever grow with `along`. */
function orient(scores: number[], along: number[]): number[] {
  const middle = along.reduce((a, b) => a + b, 0) / along.length;
  const agreement = scores.reduce((sum, value, i) => sum + value * (along[i] - middle), 0);
  return agreement < 0 ? scores.map(value => -value) : scores;
}

/** Weighted mean 0 and weighted variance 1; all 0 where there is no variance. */
function standardise(values: number[], mass: number[]): number[] {
  const total = mass.reduce((a, b) => a + b, 0);
  const mean = values.reduce((sum, value, i) => sum + value * mass[i], 0) / total;
  const variance = values.reduce((sum, value, i) => sum + (value - mean) ** 2 * mass[i], 0) / total;
  return values.map((value, i) => (variance > 1e-24 && mass[i] > 0 ? (value - mean) / Math.sqrt(variance) : 0));
}

/**
 * The order of languages in every picture: families as in familiesOf, inside a family by the first correspondence
 * axis of the usage of the last quarter of layers (column `share`). Languages without counted tokens come last in
 * their family.
 */
export function languageOrder(usage: ColumnTable, header: TraceHeader): TraceLanguage[] {
  const late = header.moeLayers.slice(-Math.ceil(header.moeLayers.length / 4));
  const layers = grid(usage, 'share', header.numExperts);
  const profile = ({ code }: TraceLanguage) => late.flatMap(l => [...(layers.get(l)?.get(code) ?? [])]);
  // over all layers, so that lines to experts that stand in one order cross as little as they can
  const centre = ({ code }: TraceLanguage) =>
    header.moeLayers.reduce((sum, l) => sum + (centreOf(layers.get(l)?.get(code) ?? []) ?? 0), 0);
  return familiesOf(header).flatMap(family => {
    const members = header.languages.filter(language => language.family === family);
    const rows = members.map(profile);
    const full = members.filter((_, i) => rows[i].length === late.length * header.numExperts);
    const own = full.map(language => rows[members.indexOf(language)]);
    const axis = orient(correspondenceAxis(own), full.map(centre));
    const place = new Map(full.map((language, i) => [language, axis[i]]));
    const rest = members.filter(language => !place.has(language));
    return [...full.sort((a, b) => place.get(a)! - place.get(b)!), ...rest];
  });
}

/** How much less each item counts the further it is from the end of a chain. */
const FADE = 0.5;
const NEAR = 4;

/**
 * Items of a symmetric matrix of likeness so that like stands beside like: from the most alike pair, the chain grows
 * at the end that the next item is most like, the last item there counting most. Ties go to the lower item.
 */
export function chainOrder(likeness: ArrayLike<number>[]): number[] {
  const items = likeness.map((_, i) => i);
  if (items.length < 3) return items;
  const pairs = items.flatMap(i => items.slice(i + 1).map(j => [i, j]));
  const chain = [...pairs.reduce((best, [i, j]) => (likeness[i][j] > likeness[best[0]][best[1]] ? [i, j] : best))];
  const left = new Set(items.filter(i => !chain.includes(i)));
  const near = (i: number, inward: number[]) => {
    const weights = inward.map((_, step) => FADE ** step);
    return (
      inward.reduce((sum, j, step) => sum + weights[step] * likeness[i][j], 0) / weights.reduce((a, b) => a + b, 0)
    );
  };
  while (left.size > 0) {
    let best = { item: -1, value: Number.NEGATIVE_INFINITY, back: true };
    for (const item of left) {
      const front = near(item, chain.slice(0, NEAR));
      const back = near(item, chain.slice(-NEAR).reverse());
      const value = Math.max(front, back);
      if (value > best.value) best = { item, value, back: back >= front };
    }
    left.delete(best.item);
    if (best.back) chain.push(best.item);
    else chain.unshift(best.item);
  }
  return chain;
}
