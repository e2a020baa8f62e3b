// F8, modal paths drawn as an underground map: per family the most probable path through the experts (modal-path.ts),
// layers from left to right. Families at the same expert stop at the same station; where lines run apart, families
// are served by experts of their own. Line width = share of the family's token weight that takes the step.

import type { ColumnTable } from 'arquero';
import { from } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import type { Averaging } from '../usage.ts';
import { expertLabel, type Provenance, provenance, zeroTextNote } from './caption.ts';
import { type FamilyStyle, familyStyles } from './family-style.ts';
import { emptyFrame, frame, SHEET, SMALL } from './frame.ts';
import { textWidth } from './labels.ts';
import { chainOf, type ModalPath, modalPaths } from './modal-path.ts';
import { apart, FAINT, type Figure, finish, INK, line, type Mark, percent, rect, round, tag, text } from './svg.ts';

export interface PathsOptions {
  averaging: Averaging;
}

const LEFT = 128;
const RIGHT = 160;
const WIDEST = 1240;
const LANE = 44;
/** Room of a line inside a station, and the widest line. */
const TRACK = 11;
const THICKEST = 10;

interface Station {
  expert: number;
  families: number[];
  y: number;
}
interface Network {
  header: TraceHeader;
  chain: number[];
  paths: ModalPath[];
  styles: FamilyStyle[];
  /** Per layer. */
  stations: Station[][];
  x: (layer: number) => number;
  /** Width in px of a share. */
  thickness: (share: number) => number;
}

/** Draws the M13 table between neighbouring layers (by language). */
export function pathsPicture(flows: ColumnTable, source: Provenance, { averaging }: PathsOptions): Figure {
  const { header } = source;
  const chain = chainOf(flows);
  const paths = modalPaths(flows, header);
  const styles = familyStyles(header).filter(({ family }) => paths.some(path => path.family === family));
  const words = wordsOf(source, averaging, chain, paths);
  const csv = csvOf(chain, paths);
  if (paths.length === 0) {
    const why = 'No token was counted in two neighbouring MoE layers, so no path can be followed.';
    return { name: 'paths', title: words.title, svg: finish(emptyFrame(words, why).root), csv };
  }
  const pitch = Math.max(20, Math.min(110, (SHEET - LEFT - RIGHT) / (chain.length - 1)));
  const width = Math.min(WIDEST, Math.max(SHEET, LEFT + RIGHT + pitch * (chain.length - 1)));
  const height = Math.max(paths.length, 2) * LANE + 20;
  const sheet = frame(Math.round(width), height + 56, words);
  const top = sheet.top + 26;
  const most = Math.max(...paths.flatMap(path => path.shares));
  const step = (width - LEFT - RIGHT) / (chain.length - 1);
  const map: Network = {
    ...{ header, chain, paths, styles },
    stations: chain.map((_, l) => stationsOf(paths, l, top + 20, top + height - 20)),
    x: l => LEFT + l * step,
    thickness: share => Math.max(1, (share / most) * THICKEST),
  };
  drawLayers(sheet.root, map, sheet.top + 12, top, top + height, step);
  for (let f = 0; f < paths.length; f++) drawLine(sheet.root, map, f);
  for (const [l, stations] of map.stations.entries())
    for (const s of stations) drawStation(sheet.root, map, l, s, step);
  for (let f = 0; f < paths.length; f++) drawEnds(sheet.root, map, f);
  drawKey(sheet.root, map, sheet.bottom - 8, most);
  return { name: 'paths', title: words.title, svg: finish(sheet.root), csv };
}

function wordsOf(source: Provenance, averaging: Averaging, chain: number[], paths: ModalPath[]) {
  const { header } = source;
  const sharing = (l: number) =>
    paths.filter(path => paths.some(other => other !== path && other.experts[l] === path.experts[l])).length;
  const n = paths.length;
  const atEnd = sharing(chain.length - 1);
  const [first, last] = [chain[0], chain.at(-1)];
  const title =
    n < 2
      ? 'The most probable path through the experts'
      : `Main paths: ${sharing(0)} of ${n} families share an expert in layer ${first}, ${atEnd} in layer ${last}`;
  const skipped = header.moeLayers.length - chain.length;
  const caption = [
    provenance(source, 'gate', averaging),
    'Path: the most probable chain of experts, one per layer, by flows counted token by token between the layers drawn.',
    `A router without preference would give every step ${percent(1 / header.numExperts ** 2)}.`,
    skipped > 0 && chain.length > 1 ? `${chain.length} of ${header.moeLayers.length} MoE layers drawn.` : '',
    'Shares without intervals.',
    zeroTextNote(header),
  ];
  const reading =
    'Each line is a language family, each station an expert, named above it. ' +
    'Width: share of the family’s tokens, by gate weight, that takes the step.';
  return { title, reading, caption: caption.filter(part => part !== '').join(' ') };
}

/** Stations of a layer: each at the mean of the home lanes of its families, moved apart where they would touch. */
function stationsOf(paths: ModalPath[], l: number, low: number, high: number): Station[] {
  const home = (f: number) => (paths.length > 1 ? low + (f * (high - low)) / (paths.length - 1) : (low + high) / 2);
  const experts = [...new Set(paths.map(path => path.experts[l]))];
  const stations = experts.map(expert => {
    const families = paths.flatMap((path, f) => (path.experts[l] === expert ? [f] : []));
    return { expert, families, y: families.reduce((sum, f) => sum + home(f), 0) / families.length };
  });
  stations.sort((a, b) => a.y - b.y || a.families[0] - b.families[0]);
  // one lane for each family and half a one for the number above, so that long stations do not touch
  const room = stations.map(({ families }) => families.length * TRACK + 16);
  const before = room.map((_, i) => room.slice(0, i).reduce((a, b) => a + b, 0) + room[i] / 2);
  const squeezed = apart(
    stations.map(({ y }, i) => y - before[i]),
    0,
    low - TRACK - room[0] / 2,
    high + TRACK - before.at(-1)!,
  );
  return stations.map((station, i) => ({ ...station, y: squeezed[i] + before[i] }));
}

function drawLayers(root: Mark, { chain, x }: Network, y: number, top: number, bottom: number, step: number): void {
  const every = Math.max(1, Math.ceil(24 / step));
  for (const [l, layer] of chain.entries()) {
    line(root, x(l), top, x(l), bottom, '#E6E6E6', 0.8);
    const last = l === chain.length - 1;
    if (last || (l % every === 0 && chain.length - 1 - l >= every))
      text(root, x(l), y + 6, `${layer}`, { anchor: 'middle', fill: FAINT });
  }
  text(root, LEFT - 16, y + 6, 'MoE layer', { anchor: 'end', fill: FAINT });
}

/** Height of a family's track at a station. */
function trackOf({ stations }: Network, l: number, f: number): number {
  const { y, families } = stations[l].find(station => station.families.includes(f))!;
  return y + (families.indexOf(f) - (families.length - 1) / 2) * TRACK;
}

function drawLine(root: Mark, map: Network, f: number): void {
  const { chain, paths, styles, header, x, thickness } = map;
  const { family, experts, shares } = paths[f];
  const group = root.append('g').attr('fill', 'none').attr('stroke', styles[f].hue).attr('data-family', family);
  for (const [l, share] of shares.entries()) {
    const [a, b] = [trackOf(map, l, f), trackOf(map, l + 1, f)].map(round);
    const [x0, x1] = [round(x(l)), round(x(l + 1))];
    const middle = round((x0 + x1) / 2);
    const path = a === b ? `M${x0},${a}H${x1}` : `M${x0},${a}C${middle},${a} ${middle},${b} ${x1},${b}`;
    const mark = group
      .append('path')
      .attr('d', path)
      .attr('stroke-width', round(thickness(share)));
    const names = [experts[l], experts[l + 1]].map(e => expertLabel(header, e));
    const tip = `${family}, layer ${chain[l]} to ${chain[l + 1]}: ${names[0]} → ${names[1]}, ${percent(share)}`;
    tag(mark, { layer: chain[l], tip });
  }
}

function drawStation(root: Mark, map: Network, l: number, { expert, families, y }: Station, step: number): void {
  const { chain, x, header, paths, styles } = map;
  const half = ((families.length - 1) * TRACK) / 2 + 4;
  const mark = rect(root, x(l) - 4, y - half, 8, 2 * half, '#FFFFFF').attr('rx', 4);
  const alone = families.length === 1;
  mark.attr('stroke', alone ? styles[families[0]].hue : INK).attr('stroke-width', alone ? 1.5 : 2);
  const who = families.map(f => paths[f].family).join(', ');
  const tip = `${expertLabel(header, expert)}, layer ${chain[l]}: ${who}`;
  tag(mark, { family: alone ? who : undefined, layer: chain[l], expert, tip });
  const size = step >= 26 ? SMALL : 9.5;
  const name = expertLabel(header, expert).replace(/^expert /, '');
  // the name where it fits, else the number, else nothing
  const label = [name, `${expert}`].find(words => textWidth(words, size) + 2.5 <= step);
  if (label !== undefined)
    text(root, x(l), y - half - 3, label, {
      anchor: 'middle',
      size,
      weight: alone ? 'normal' : 'bold',
      halo: 3,
    });
}

/** Names at both ends; on the right what share of the family keeps to its path, step by step. */
function drawEnds(root: Mark, map: Network, f: number): void {
  const { paths, chain, x } = map;
  const { family, shares } = paths[f];
  const low = percent(Math.min(...shares));
  const high = percent(Math.max(...shares));
  const end = chain.length - 1;
  const longest = Math.max(...paths.map(path => path.family.length));
  text(root, LEFT - 16, trackOf(map, 0, f) + 4, family, { anchor: 'end', weight: 'bold' });
  const y = trackOf(map, end, f) + 4;
  text(root, x(end) + 14, y, family, { weight: 'bold' });
  text(root, x(end) + 20 + longest * 6.4, y, low === high ? low : `${low.replace(' %', '')}–${high}`, {
    size: SMALL,
    fill: FAINT,
  });
}

function drawKey(root: Mark, { thickness }: Network, y: number, most: number): void {
  let x = LEFT;
  text(root, LEFT - 16, y + 4, 'Width', { anchor: 'end', fill: FAINT });
  for (const share of [most, most / 2, most / 10]) {
    line(root, x, y, x + 34, y, FAINT, round(thickness(share)));
    text(root, x + 40, y + 4, percent(share), { fill: FAINT });
    x += 104;
  }
}

function csvOf(chain: number[], paths: ModalPath[]): string {
  const rows = paths.flatMap(({ family, experts, shares }) =>
    chain.map((layer, l) => ({
      ...{ family, layer, expert: experts[l] },
      families: paths.filter(other => other.experts[l] === experts[l]).length,
      shareToNext: shares[l] ?? null,
    })),
  );
  return from(rows).toCSV();
}
