// Two trees over the same leaves, face to face, each leaf tied to itself: where the trees disagree, the ties cross.
// Branches are turned, which changes no tree, so that few ties cross (children by their mean place on the other side).
import { leafOrder, type Merge } from '../tree.ts';
import type { Scale } from './axes.ts';
import { linear } from './axes.ts';
import { type FamilyStyle, familyGlyph, familyLine } from './family-style.ts';
import { SMALL } from './frame.ts';
import { FAINT, line, type Mark, round, tag, text } from './svg.ts';

export interface Leaf {
  code: string;
  label: string;
  style: FamilyStyle;
}
export interface Tangle {
  /** Leaves from top to bottom of each side. */
  left: number[];
  right: number[];
  /** Pairs of ties that cross. */
  crossings: number;
}

const SWEEPS = 8;

/** Turns the branches of both trees; the first order that no sweep betters wins. */
export function untangle(left: Merge[], right: Merge[], n: number): Tangle {
  let best: Tangle = { left: leafOrder(left, n), right: leafOrder(right, n), crossings: Number.POSITIVE_INFINITY };
  best.left = turned(left, n, best.right);
  best.crossings = inversions(best.left, best.right);
  let now = best;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const lower = turned(right, n, now.left);
    const upper = turned(left, n, lower);
    now = { left: upper, right: lower, crossings: inversions(upper, lower) };
    if (now.crossings < best.crossings) best = now;
  }
  return best;
}

/**
 * Leaves of a tree, children by the mean place of their leaves in `other`; ties keep the lower id first. Merges at one
 * height are one branching in as many: their order under each other means nothing.
 */
export function turned(merges: Merge[], n: number, other: number[]): number[] {
  const place = new Float64Array(n);
  for (const [position, leaf] of other.entries()) place[leaf] = position;
  const mean = (leaves: number[]) => leaves.reduce((sum, leaf) => sum + place[leaf], 0) / leaves.length;
  const sorted = (children: number[][]) => [...children].sort((a, b) => mean(a) - mean(b)).flat();
  const nodes = Array.from({ length: n }, (_, leaf) => ({ height: -1, children: [[leaf]] }));
  for (const { a, b, height } of merges) {
    const children = [nodes[a], nodes[b]].flatMap(child =>
      height - child.height < 1e-9 ? child.children : [sorted(child.children)],
    );
    nodes.push({ height, children });
  }
  return sorted(nodes.at(-1)?.children ?? []);
}

/** Pairs of leaves whose order differs between the two sides. */
export function inversions(left: number[], right: number[]): number {
  const place = new Map(right.map((leaf, position) => [leaf, position]));
  const ranks = left.map(leaf => place.get(leaf)!);
  let count = 0;
  for (const [i, a] of ranks.entries()) for (let j = i + 1; j < ranks.length; j++) if (ranks[j] < a) count++;
  return count;
}

interface Sheet {
  top: number;
  /** Height of a leaf. */
  row: number;
  left: number;
  right: number;
}
const TREE = 150;
const NAMES = 98;

/** Draws both trees with their leaves' names and the ties between them. */
export function drawTangle(root: Mark, leaves: Leaf[], trees: [Merge[], Merge[]], tangle: Tangle, sheet: Sheet): void {
  const { left, right } = sheet;
  const place = (order: number[]) => {
    const y = new Float64Array(order.length);
    for (const [i, leaf] of order.entries()) y[leaf] = sheet.top + (i + 0.5) * sheet.row;
    return y;
  };
  const [ys, zs] = [place(tangle.left), place(tangle.right)];
  drawTree(root, trees[0], ys, linear([0, highest(trees[0])], [left + TREE, left]));
  drawTree(root, trees[1], zs, linear([0, highest(trees[1])], [right - TREE, right]));
  const [from, to] = [left + TREE + NAMES, right - TREE - NAMES];
  for (const [i, { code, label, style }] of leaves.entries()) {
    const meaning = {
      language: code,
      family: style.family,
      tip: `${label}: place ${tangle.left.indexOf(i) + 1} and ${tangle.right.indexOf(i) + 1}`,
    };
    tag(
      familyLine(
        root,
        [
          [from + 6, ys[i]],
          [to - 6, zs[i]],
        ],
        { ...style, dash: '' },
        1.3,
      ),
      meaning,
    );
    tag(familyGlyph(root, from + 4, ys[i], style, 2.6), meaning);
    tag(familyGlyph(root, to - 4, zs[i], style, 2.6), meaning);
    text(root, left + TREE + 5, ys[i] + 3.6, label, { size: SMALL });
    text(root, right - TREE - 5, zs[i] + 3.6, label, { size: SMALL, anchor: 'end' });
  }
}

/** Draws one tree with its leaves' names. */
export function drawLone(root: Mark, leaves: Leaf[], tree: Merge[], { top, row, left }: Sheet): void {
  const y = new Float64Array(leaves.length);
  for (const [i, leaf] of leafOrder(tree, leaves.length).entries()) y[leaf] = top + (i + 0.5) * row;
  drawTree(root, tree, y, linear([0, highest(tree)], [left + 2 * TREE, left]));
  for (const [i, { code, label, style }] of leaves.entries()) {
    const mark = familyGlyph(root, left + 2 * TREE + 8, y[i], style, 3);
    tag(mark, { language: code, family: style.family, tip: label });
    text(root, left + 2 * TREE + 16, y[i] + 3.6, label, { size: SMALL });
  }
}

const highest = (merges: Merge[]): number => Math.max(1e-9, ...merges.map(merge => merge.height));

/** Brackets of a tree whose leaves stand at `y`; `x` places a height. */
function drawTree(root: Mark, merges: Merge[], y: Float64Array, x: Scale): void {
  const at: { x: number; y: number }[] = Array.from(y, leaf => ({ x: x(0), y: leaf }));
  const paths = merges.map(({ a, b, height }) => {
    const [top, bottom] = [at[a], at[b]];
    at.push({ x: x(height), y: (top.y + bottom.y) / 2 });
    return `M${round(top.x)},${round(top.y)}H${round(x(height))}V${round(bottom.y)}H${round(bottom.x)}`;
  });
  root.append('path').attr('d', paths.join('')).attr('fill', 'none').attr('stroke', FAINT).attr('stroke-width', 1);
  const last = at.at(-1)!;
  const out = x(0) < last.x ? 4 : -4;
  line(root, last.x, last.y, last.x + out, last.y, FAINT, 1);
}
