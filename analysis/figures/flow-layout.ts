// Where everything in the flow picture stands: languages in rows by family, stops of each layer in a column, ribbons
// between. d3-sankey sizes and stacks; the rows of each column are spread here, because languages need room for their
// names. Pixels from the top of the picture's own room.
import { sankey } from 'd3-sankey';
import type { TraceLanguage } from '../../routing/trace.ts';
import type { Ribbon } from './ribbons.ts';
import { apart } from './svg.ts';

export const WIDTH = 1200;
export const TOP = 44;
export const FIRST_X = 286;
export const LAST_X = WIDTH - 196;
const LEAST_PITCH = 16.5;
const LEAST_HEIGHT = 560;
const LEAST_MASS = 300;
const FAMILY_GAP = 11;
const LABEL_GAP = 31;

interface Node {
  id: string;
  column: number;
  row: number;
}

export interface Box {
  node: Node;
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}
export interface Placed extends Ribbon {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
  width: number;
}

/**
 * d3-sankey sizes and stacks the ribbons; the rows of each column are spread here, because languages need label room.
 */
export function layout(languages: TraceLanguage[], ribbons: Ribbon[], orders: number[][], layers: number) {
  const n = new Set(ribbons.filter(r => r.stage === 0).map(r => r.source)).size;
  const rank = (column: number, row: number) => (column === 0 ? row : orders[column - 1].indexOf(row));
  const sorted = [...ribbons].sort(
    (a, b) =>
      a.stage - b.stage ||
      rank(a.stage, a.source) - rank(b.stage, b.source) ||
      rank(a.stage + 1, a.target) - rank(b.stage + 1, b.target) ||
      a.family - b.family,
  );
  const links = sorted.map(r => ({
    ...r,
    source: `${r.stage} ${r.source}`,
    target: `${r.stage + 1} ${r.target}`,
    ribbon: r,
  }));
  const stops = orders.flatMap((order, i) => order.map(stop => `${i + 1} ${stop}`));
  const used = [...new Set([...links.map(link => link.source), ...stops])];
  const nodes: Node[] = used.map(id => ({ id, column: Number(id.split(' ')[0]), row: Number(id.split(' ')[1]) }));
  nodes.sort((a, b) => a.column - b.column || rank(a.column, a.row) - rank(b.column, b.row));
  const plan = sankey<Node, (typeof links)[number]>()
    .nodeId(node => node.id)
    .nodeAlign(node => node.column)
    .nodeSort(null)
    .linkSort(null)
    .nodePadding(0)
    .nodeWidth(14)
    .extent([
      [FIRST_X, TOP],
      [LAST_X, TOP + n * massOf(languages)],
    ]);
  const graph = plan({ nodes, links });
  spread(graph.nodes as unknown as (Node & Box)[], languages, layers);
  plan.update(graph);
  const boxes = graph.nodes.map(node => ({ node, x0: node.x0!, x1: node.x1!, y0: node.y0!, y1: node.y1! }));
  const placed = graph.links.map(link => {
    const [from, to] = [link.source as unknown as Box, link.target as unknown as Box];
    return { ...link.ribbon, x0: from.x1, x1: to.x0, y0: link.y0!, y1: link.y1!, width: link.width! };
  });
  return { nodes: boxes as Box[], ribbons: placed as Placed[] };
}

/** Moves the boxes of a column apart: languages to their label rows, stops evenly over the same height. */
function spread(boxes: (Node & Box)[], languages: TraceLanguage[], layers: number): void {
  const tops = rowTops(languages);
  const total = columnHeight(languages);
  for (let column = 0; column <= layers; column++) {
    const mine = boxes.filter(box => box.column === column);
    const mass = mine.reduce((sum, box) => sum + box.y1 - box.y0, 0);
    const gap = mine.length > 1 ? (total - mass) / (mine.length - 1) : 0;
    let y = mine.length > 1 ? TOP : TOP + (total - mass) / 2;
    for (const box of mine) {
      const height = box.y1 - box.y0;
      box.y0 = column === 0 ? tops[box.row] + (pitchOf(languages) - height) / 2 : y;
      box.y1 = box.y0 + height;
      if (column === 0) box.x1 = box.x0 + 6;
      y += height + gap;
    }
  }
}

/** Height of a language's row; few languages spread over the least height, so that expert labels find room. */
export const pitchOf = (languages: TraceLanguage[]): number => Math.max(LEAST_PITCH, LEAST_HEIGHT / languages.length);
/** Height of a language's mass inside its row. */
export const massOf = (languages: TraceLanguage[]): number =>
  Math.min(pitchOf(languages) - 2.5, Math.max(30, LEAST_MASS / languages.length));

export function rowTops(languages: TraceLanguage[]): number[] {
  let y = TOP;
  return languages.map((language, i) => {
    if (i > 0 && languages[i - 1].family !== language.family) y += FAMILY_GAP;
    y += pitchOf(languages);
    return y - pitchOf(languages);
  });
}
export const columnHeight = (languages: TraceLanguage[]): number =>
  rowTops(languages).at(-1)! + pitchOf(languages) - TOP;

/** Middle of each stop's label: at its box, but never on the neighbour's. */
export function labelPlaces(boxes: Box[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const column of new Set(boxes.map(box => box.node.column))) {
    const mine = boxes.filter(box => box.node.column === column);
    const middles = mine.map(({ y0, y1 }) => (y0 + y1) / 2);
    const moved = apart(middles, LABEL_GAP, TOP + 9, mine.at(-1)!.y1 + 4);
    for (const [i, { node }] of mine.entries()) places.set(node.id, moved[i]);
  }
  return places;
}
