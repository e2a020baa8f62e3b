// Own-expert mass by layer, a panel per recipe: thin lines are seeds, the bold one their mean; grey is the same model at step 0, upcycled
// with an untrained router. Below it the experts that all languages share, on the same layers.
import { canvas, FAINT, type Figure, finish, line, type Mark, round, text } from '../../analysis/figures/svg.ts';
import { meanProfile } from './over-seeds.ts';

export interface Panel {
  title: string;
  /** What sets it apart, one short line. */
  note: string;
  layers: number[];
  experts: number;
  /** [seed][layer] */
  own: { untrained: number[][]; trained: number[][] };
  effective: { untrained: number[][]; trained: number[][] };
}

const WIDTH = 190;
const HEIGHT = 120;
const LEFT = 46;
const TOP = 74;
const GAP = 30;
const BLUE = '#0072B2';
const GREY = '#999999';

/** Panels side by side, at most `columns` in a row; each row has own mass above and effective experts below. */
export function drawProfiles(
  panels: Panel[],
  { name, title, k, columns = 5 }: { name: string; title: string; k: number; columns?: number },
): Figure {
  const rows = Math.ceil(panels.length / columns);
  const across = Math.min(columns, panels.length);
  const blockHeight = 2 * HEIGHT + 118;
  const width = Math.max(640, LEFT + across * (WIDTH + GAP) + 10); // room for the legend
  const root = canvas(
    width,
    TOP + rows * blockHeight + 8,
    title,
    'Lines over layers, one panel per recipe; the numbers are in the CSV beside it.',
  );
  text(root, 12, 24, title, { size: 15, weight: 'bold' });
  legend(root, 12, 46);
  panels.forEach((panel, i) => {
    const x = LEFT + (i % columns) * (WIDTH + GAP);
    const y = TOP + Math.floor(i / columns) * blockHeight;
    text(root, x, y + 14, panel.title, { size: 13, weight: 'bold' });
    text(root, x, y + 30, panel.note, { fill: FAINT, size: 10 });
    const first = i % columns === 0;
    drawAxes(root, x, y + 42, panel.layers, 1 / k, first ? 'own-expert mass' : null, [
      0,
      1 / panel.experts,
      1 / k / 2,
      1 / k,
    ]);
    drawLines(root, x, y + 42, panel.own, 1 / k);
    const below = y + 42 + HEIGHT + 34;
    drawAxes(root, x, below, panel.layers, panel.experts, first ? 'effective experts' : null, [
      0,
      panel.experts / 2,
      panel.experts,
    ]);
    drawLines(root, x, below, panel.effective, panel.experts);
  });
  return { name, title, svg: finish(root), csv: csvOf(panels) };
}

function legend(root: Mark, x: number, y: number): void {
  let at = x;
  for (const [colour, width, dash, words] of [
    [BLUE, 2.5, '', 'trained, mean of seeds'],
    [BLUE, 0.8, '', 'a seed'],
    [GREY, 2.5, '5 3', 'step 0: router untrained, mean'],
    ['#1a1a1a', 0.8, '2 3', 'chance'],
  ] as const) {
    line(root, at, y - 4, at + 24, y - 4, colour, width).attr('stroke-dasharray', dash || 'none');
    text(root, at + 30, y, words);
    at += 50 + words.length * 5.4;
  }
}

function drawAxes(
  root: Mark,
  x: number,
  y: number,
  layers: number[],
  top: number,
  label: string | null,
  ticks: number[],
): void {
  for (const tick of ticks) {
    const at = y + HEIGHT * (1 - tick / top);
    const chance = tick > 0 && tick < top / 2 - 1e-9;
    line(root, x, at, x + WIDTH, at, chance ? '#1a1a1a' : '#dddddd', chance ? 0.8 : 1).attr(
      'stroke-dasharray',
      chance ? '2 3' : 'none',
    );
    const words = Number.isInteger(tick) ? String(tick) : tick.toFixed(2).replace(/^0/, '');
    text(root, x - 5, at + 4, words, { anchor: 'end', size: 10, fill: FAINT });
  }
  for (const [i, layer] of layers.entries())
    if (layers.length <= 8 || i % 2 === 0 || i === layers.length - 1)
      text(root, place(x, i, layers.length), y + HEIGHT + 14, String(layer), {
        anchor: 'middle',
        size: 10,
        fill: FAINT,
      });
  if (label !== null) text(root, x - 34, y + HEIGHT / 2, label, { rotate: -90, anchor: 'middle' });
}

const place = (x: number, i: number, count: number): number => x + (WIDTH * (i + 0.5)) / count;

function drawLines(root: Mark, x: number, y: number, { untrained, trained }: Panel['own'], top: number): void {
  const path = (values: number[], colour: string, width: number, dash = 'none'): void => {
    const points = values.map(
      (value, i) => `${round(place(x, i, values.length))},${round(y + HEIGHT * (1 - value / top))}`,
    );
    const mark = root.append('polyline').attr('points', points.join(' ')).attr('fill', 'none');
    mark.attr('stroke', colour).attr('stroke-width', width).attr('stroke-dasharray', dash);
  };
  for (const seed of untrained) path(seed, GREY, 0.6);
  for (const seed of trained) path(seed, BLUE, 0.8);
  path(meanProfile(untrained), GREY, 2.5, '5 3');
  path(meanProfile(trained), BLUE, 2.5);
}

function csvOf(panels: Panel[]): string {
  const rows = panels.flatMap(({ title, layers, own, effective }) =>
    (['untrained', 'trained'] as const).flatMap(state =>
      own[state].flatMap((values, seed) =>
        values.map((value, i) =>
          [`"${title}"`, state, seed, layers[i], value.toFixed(5), effective[state][seed][i].toFixed(4)].join(','),
        ),
      ),
    ),
  );
  return `${['recipe,state,seed_index,layer,own_expert_mass,effective_experts', ...rows].join('\n')}\n`;
}
