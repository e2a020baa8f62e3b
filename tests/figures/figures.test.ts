// Pictures are code: each is drawn from a seeded synthetic trace and compared byte for byte with the SVG committed here.
// To accept a change, look at the new picture, then run `npx vitest run tests/figures -u`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { analyze, study } from '../../analysis/analyze.ts';
import { flowPicture } from '../../analysis/figures/flow.ts';
import { barycentreOrder, crossings } from '../../analysis/figures/order.ts';
import { amount, inkOn, luminance, mix, REST, rankColour } from '../../analysis/figures/palette.ts';
import { toPng } from '../../analysis/figures/png.ts';
import { apart, percent, wrap } from '../../analysis/figures/svg.ts';
import { flow } from '../../analysis/flow.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { syntheticTrace } from '../helpers/languages-fixture.ts';
import { usageOf } from '../helpers/usage-of.ts';

const trace = syntheticTrace();
const { figures, sentences, metrics } = await study(trace);
const named = (name: string) => figures.find(figure => figure.name === name)!;

describe('committed pictures', () => {
  for (const name of ['flow', 'heatmap-selection', 'budget', 'routing-over-training']) {
    it(name, async () => {
      await expect(named(name).svg).toMatchFileSnapshot(`${name}.svg`);
    });
  }
  it('flow through six layers, barycentre order', async () => {
    const { header, ...rest } = syntheticTrace({ documents: 2, tokens: 8, moeLayers: [0, 3, 6, 12, 18, 23] });
    const gate = usageOf({ header, ...rest }, { view: 'gate', averaging: 'documents' });
    const source = { header, step: 400, tokens: 672, documents: 96 };
    const picture = flowPicture(gate, flow({ header, ...rest }), source, {
      averaging: 'documents',
      order: 'barycentre',
    });
    await expect(picture.svg).toMatchFileSnapshot('flow-deep.svg');
  });
  it('are the same bytes when drawn again', async () => {
    for (const [i, figure] of (await study(trace)).figures.entries()) expect(figure).toEqual(figures[i]);
  });
});

describe('every picture', () => {
  it('has a title and a description, names the view, the model, the run, and hides no NaN', () => {
    for (const { svg, title, csv } of figures) {
      expect(svg).toContain(`<title>${title}</title>`);
      expect(svg).toMatch(/<desc>View: .*Model a pretend model, run synthetic/);
      expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
      expect(csv.split('\n').length).toBeGreaterThan(2);
    }
  });
  it('names all 50 languages where languages are shown and marks the two without text', () => {
    for (const name of ['flow', 'heatmap-selection']) {
      for (const { name: language, trainingBytes } of trace.header.languages) {
        expect(named(name).svg).toContain(`>${language}${trainingBytes === 0 ? ' ‡' : ''}</text>`);
      }
      expect(named(name).svg).toContain('‡ zero-text, trained on no running text: Dogri, Sorani Kurdish.');
    }
  });
  it('turns into a PNG', () => {
    const png = Buffer.from(toPng(named('budget').svg, 300));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect(png.readUInt32BE(16)).toBe(300);
  });
});

describe('the flow picture', () => {
  it('conserves mass: every stage of its CSV sums to 1', () => {
    const stages = new Map<string, number>();
    for (const row of named('flow').csv.trim().split('\n').slice(1)) {
      const cells = row.split(',');
      stages.set(cells[2], (stages.get(cells[2]) ?? 0) + Number(cells[5]));
    }
    expect([...stages.keys()]).toEqual(['layer 22', 'layer 23']);
    for (const mass of stages.values()) expect(mass).toBeCloseTo(1, 10);
  });
  it('draws one MoE layer, and counts without slots, too', async () => {
    const small = await study(syntheticTrace({ documents: 2, tokens: 6, moeLayers: [23] }));
    const one = small.figures.find(({ name }) => name === 'flow')!;
    expect(one.title).toContain('the experts of layer 23');
    const { columns, ...rest } = trace;
    const none = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column.slice(0, 0)]));
    const counted = await study({ ...rest, columns: none as unknown as typeof columns });
    expect(counted.figures.map(figure => figure.name)).toContain('heatmap-selection');
    expect(counted.metrics).toMatchObject({ averaging: 'tokens', step: 400 });
    for (const { svg } of counted.figures) expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
  });
});

it('a dead expert is named, not dropped', async () => {
  const dead = structuredClone(trace);
  const { expert } = dead.columns;
  for (const [i, e] of expert.entries()) if (e === 5) expert[i] = expert[i ^ 1] === 6 ? 4 : 6;
  const { svg } = (await study({ ...dead, counts: [] })).figures.find(({ name }) => name === 'flow')!;
  expect(svg.match(/>no token</g)).toHaveLength(2);
  expect(svg.match(/>Afro-Asian</g)).toHaveLength(3);
  expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
});

describe('order', () => {
  it('counts weighted crossings', () => {
    // two straight links of 2 and 3 cross nothing; swapped they cross once, 2 · 3
    const straight = [
      [
        [2, 0],
        [0, 3],
      ],
    ];
    expect(
      crossings(straight, [
        [0, 1],
        [0, 1],
      ]),
    ).toBe(0);
    expect(
      crossings(straight, [
        [0, 1],
        [1, 0],
      ]),
    ).toBe(6);
  });
  it('barycentre untangles a permutation in two stages and never makes crossings worse', () => {
    const first = [
      [0, 0, 1],
      [1, 0, 0],
      [0, 1, 0],
    ];
    const second = [
      [0, 1, 0],
      [0, 0, 1],
      [1, 0, 0],
    ];
    expect(barycentreOrder([first, second])).toEqual([
      [2, 0, 1],
      [0, 1, 2],
    ]);
    expect(crossings([first, second], [[0, 1, 2], ...barycentreOrder([first, second])])).toBe(0);
  });
});

describe('colour and words', () => {
  it('amounts darken all the way and their figures keep a contrast of 4.5', () => {
    const steps = Array.from({ length: 101 }, (_, i) => amount(i / 100));
    for (let i = 1; i < steps.length; i++) expect(luminance(steps[i])).toBeLessThan(luminance(steps[i - 1]));
    for (const colour of steps) {
      const [a, b] = [luminance(colour), luminance(inkOn(colour))].sort((x, y) => y - x);
      expect((a + 0.05) / (b + 0.05)).toBeGreaterThan(4.5);
    }
  });
  it('families differ, also beyond eight', () => {
    const colours = Array.from({ length: 16 }, (_, i) => rankColour(i));
    expect(new Set(colours).size).toBe(16);
  });
  it('seven families and merged grey stay apart for people without red, green or blue cones', () => {
    // Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB; distances in CIELAB, where 2.3 is just noticeable.
    const cones = [
      [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
      [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
      [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
      [1, 0, 0, 0, 1, 0, 0, 0, 1],
    ];
    const times = (m: number[], v: number[]) => [0, 3, 6].map(i => m[i] * v[0] + m[i + 1] * v[1] + m[i + 2] * v[2]);
    const lab = (hex: string, seen: number[]) => {
      const channels = [1, 3, 5].map(i => Number.parseInt(hex.slice(i, i + 2), 16) / 255);
      const rgb = times(
        seen,
        channels.map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)),
      );
      const clipped = rgb.map(v => Math.min(1, Math.max(0, v)));
      const xyz = times([0.4124, 0.3576, 0.1805, 0.2126, 0.7152, 0.0722, 0.0193, 0.1192, 0.9505], clipped);
      const [x, y, z] = [xyz[0] / 0.9505, xyz[1], xyz[2] / 1.089].map(t =>
        t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116,
      );
      return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
    };
    const strong = Array.from({ length: 7 }, (_, i) => rankColour(i));
    const pale = strong.map(hue => mix('#FFFFFF', hue, 0.34)); // as ribbons into another family's expert are drawn
    const merged = mix('#FFFFFF', REST, 0.4);
    const nearest = (colours: string[]) =>
      Math.min(
        ...cones.flatMap(seen =>
          colours.flatMap((a, i) =>
            colours.slice(i + 1).map(b => Math.hypot(...lab(a, seen).map((v, n) => v - lab(b, seen)[n]))),
          ),
        ),
      );
    for (const hue of strong) expect(Math.hypot(...lab(hue, cones[3]).slice(1)), hue).toBeGreaterThan(20); // grey has 0
    expect(nearest(strong)).toBeGreaterThan(15);
    for (const hue of pale) expect(nearest([hue, merged])).toBeGreaterThan(2 * 2.3);
  });
  it('labels are pushed apart, inside their limits', () => {
    expect(apart([0, 1, 50, 60], 10, 2, 62)).toEqual([2, 12, 50, 60]);
    expect(apart([58, 59, 60], 10, 0, 60)).toEqual([40, 50, 60]);
  });
  it('percentages and line breaks', () => {
    expect([0, 0.0004, 0.001, 0.0094, 0.00951, 0.5, 1].map(percent)).toEqual([
      '0 %',
      '<0.1 %',
      '0.1 %',
      '0.9 %',
      '1 %',
      '50 %',
      '100 %',
    ]);
    expect(wrap('aa bb cc', 3 * 11 * 0.56 + 13, 11)).toEqual(['aa bb', 'cc']);
  });
});

it('analyze writes pictures, tables, metrics.json and a page that needs nothing else', async () => {
  const root = mkdtempSync(join(tmpdir(), 'analyze-'));
  writeTrace(join(root, 'trace'), trace);
  const analysis = await analyze(join(root, 'trace'), join(root, 'out'));
  const written = analysis.files.map(file => basename(file));
  const names = figures.map(({ name }) => name);
  expect(names).toEqual([
    ...['budget', 'flow', 'heatmap-selection', 'paths', 'specialists', 'coactivation'],
    ...['tokens-en', 'tokens-zh', 'tokens-ko', 'strip', 'divergence', 'distance', 'ridges', 'routing-over-training'],
  ]);
  expect(written.slice(0, 2 * names.length)).toEqual([...names.map(n => `${n}.svg`), ...names.map(n => `${n}.csv`)]);
  expect(written).toEqual([...new Set(written)]);
  for (const name of ['specificity', 'mantel', 'locality', 'lexical', 'fertility', 'obedience']) {
    expect(written).toContain(`${name}.csv`);
  }
  expect(written.slice(-2)).toEqual(['metrics.json', 'report.html']);
  const read = (name: string) => readFileSync(join(root, 'out', name), 'utf8');
  expect(read('flow.svg')).toBe(named('flow').svg);
  expect(JSON.parse(read('metrics.json'))).toEqual(JSON.parse(JSON.stringify(metrics)));
  const page = read('report.html');
  expect(page).not.toMatch(/(src|href)="(?!data:)/);
  for (const figure of figures) expect(page).toContain(figure.svg.replaceAll('>\n<', '><'));
  expect(sentences[0]).toBe(
    'Cannot tell whether routing spreads out by language in the end: only the end of the model routes (layers 22 to 23 alone, ' +
      'of 24), so there are no early layers to compare with.',
  );
  expect(page).toContain(`<p class="verdict">${sentences[0]}</p>`);
  expect(sentences[1]).toMatch(/^Layer 22: \d+ % of tokens choose their language's own expert \(29 % by chance\)/);
  expect(analysis.sentences).toEqual(sentences);
  rmSync(root, { recursive: true });
});
