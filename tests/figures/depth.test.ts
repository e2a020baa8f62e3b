// The figures of measures over depth and between languages, drawn from written-down tables of three sizes. The small pictures
// are committed; the larger ones are held to rules: nothing outside the sheet, no letter under 9 px, every language told.
import { type ColumnTable, from } from 'arquero';
import { describe, expect, it } from 'vitest';
import { labelled } from '../../analysis/figures/axes.ts';
import { budget } from '../../analysis/figures/budget.ts';
import type { Provenance } from '../../analysis/figures/caption.ts';
import { correlation } from '../../analysis/figures/correlation.ts';
import { byDepth, lateOf } from '../../analysis/figures/depth.ts';
import { distance } from '../../analysis/figures/distance.ts';
import { divergence } from '../../analysis/figures/divergence.ts';
import { DASHES, familyStyles } from '../../analysis/figures/family-style.ts';
import { SHEET } from '../../analysis/figures/frame.ts';
import { decimal, signed, withInterval } from '../../analysis/figures/labels.ts';
import { ridges } from '../../analysis/figures/ridges.ts';
import { band, GLYPHS, polyline } from '../../analysis/figures/shapes.ts';
import { spread } from '../../analysis/figures/spread.ts';
import { strip } from '../../analysis/figures/strip.ts';
import { canvas, type Figure, finish } from '../../analysis/figures/svg.ts';
import { inversions, turned, untangle } from '../../analysis/figures/tanglegram.ts';
import type { TraceHeader } from '../../routing/trace.ts';
import {
  correlationFixture,
  distanceFixture,
  divergenceFixture,
  entropyFixture,
  informationFixture,
  spreadFixture,
} from './measures-fixture.ts';
import { headerOf, SIZES } from './model-fixture.ts';

const OPTIONS = {
  view: 'selection' as const,
  averaging: 'documents' as const,
  resampling: '2,000 bootstrap draws over 200 parallel items',
};
const R = { pearson: -0.78, low: -0.86, high: -0.66, spearman: -0.75 };
const sourceOf = (header: TraceHeader): Provenance => ({ header, step: null, tokens: 24_000, documents: 2_400 });

interface Drawing {
  table: (header: TraceHeader) => ColumnTable;
  draw: (table: ColumnTable, source: Provenance) => Figure;
}
const DRAWINGS: Record<string, Drawing> = {
  budget: { table: informationFixture, draw: (table, source) => budget(table, source, OPTIONS) },
  spread: {
    table: header => spreadFixture(header.moeLayers.length === 6 ? 1 : header.moeLayers.length === 24 ? 5 : 20),
    draw: (table, source) => spread(table, source, OPTIONS),
  },
  strip: { table: divergenceFixture, draw: (table, source) => strip(table, source, { ...OPTIONS, pivot: 'en' }) },
  divergence: {
    table: divergenceFixture,
    draw: (table, source) => divergence(table, source, { ...OPTIONS, pivot: 'en', highlight: ['he', 'sw'] }),
  },
  distance: {
    table: header => distanceFixture(header, header.moeLayers.at(-1)!),
    draw: (table, source) => distance(table, source, { ...OPTIONS, mantel: { r: 0.42, p: 0.0005 } }),
  },
  ridges: { table: entropyFixture, draw: (table, source) => ridges(table, source, { ...OPTIONS, pivot: 'en' }) },
  correlation: {
    table: correlationFixture,
    draw: (table, source) =>
      correlation(table, source, { ...OPTIONS, x: 'divergence from English', y: 'accuracy', r: R }),
  },
};
/** Pictures of 50 languages that are small enough to commit. */
const COMMITTED_LARGE = ['budget', 'divergence', 'ridges'];

const headers = SIZES.map(headerOf);
const tables = new Map(Object.entries(DRAWINGS).map(([name, { table }]) => [name, headers.map(h => table(h))]));
const drawn = new Map(
  Object.entries(DRAWINGS).map(([name, { draw }]) => [
    name,
    headers.map((header, i) => draw(tables.get(name)![i], sourceOf(header))),
  ]),
);

describe('committed pictures', () => {
  for (const name of Object.keys(DRAWINGS)) {
    it(`${name}, 12 languages × 6 layers`, async () => {
      await expect(drawn.get(name)![0].svg).toMatchFileSnapshot(`${name}-small.svg`);
    });
  }
  for (const name of COMMITTED_LARGE) {
    it(`${name}, 50 languages × 48 layers`, async () => {
      await expect(drawn.get(name)![2].svg).toMatchFileSnapshot(`${name}-large.svg`);
    });
  }
});

const numbers = (svg: string, attribute: string) =>
  [...svg.matchAll(new RegExp(` ${attribute}="([-\\d.]+)"`, 'g'))].map(match => Number(match[1]));

describe.each(Object.keys(DRAWINGS))('%s, at every size', name => {
  it('is the same bytes when drawn again', () => {
    const { draw } = DRAWINGS[name];
    expect(draw(tables.get(name)![1], sourceOf(headers[1]))).toEqual(drawn.get(name)![1]);
  });
  it('has title, description with view, n and run, tips, and no number that is none', () => {
    for (const { svg, title, csv } of drawn.get(name)!) {
      expect(svg).toContain(`<title>${title}</title>`);
      expect(svg).toMatch(
        /<desc>View: .*Model a pretend model, run \d+ × \d+ × \d+;.*24,000 tokens in 2,400 documents/,
      );
      expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
      expect(svg.match(/font-weight="bold">[^<]*<\/text>\n<text x="16"/g), `one line: ${title}`).toHaveLength(1);
      expect(svg.match(/data-tip="/g)!.length).toBeGreaterThan(3);
      expect(csv.trim().split('\n').length).toBeGreaterThan(5);
    }
  });
  it('keeps inside the sheet and above 9 px on paper', () => {
    for (const { svg } of drawn.get(name)!) {
      const [, width, height] = svg.match(/viewBox="0 0 (\d+) (\d+)"/)!.map(Number);
      for (const x of [...numbers(svg, 'x'), ...numbers(svg, 'x1'), ...numbers(svg, 'x2')]) {
        expect(x >= 0 && x <= width, `${x} in ${width}`).toBe(true);
      }
      for (const y of [...numbers(svg, 'y'), ...numbers(svg, 'y1'), ...numbers(svg, 'y2')]) {
        expect(y >= 0 && y <= height, `${y} in ${height}`).toBe(true);
      }
      expect(width).toBeLessThanOrEqual(SHEET);
      // 643 px is the width of A4 between margins
      expect(Math.min(...numbers(svg, 'font-size')) * (643 / width)).toBeGreaterThan(9);
    }
  });
});

it('the parts of the budget stand on each other and reach log E', () => {
  const svg = drawn.get('budget')![0].svg;
  const fills = ['#8C8C8C', '#E9E4D4', '#56B4E9', '#0072B2']; // from the bottom up
  for (let layer = 0; layer < 6; layer++) {
    const parts = fills.map(fill => {
      const bars = [
        ...svg.matchAll(new RegExp(`y="([\\d.]+)" width="[\\d.]+" height="([\\d.]+)" fill="${fill}" stroke`, 'g')),
      ];
      return { top: Number(bars[layer][1]), height: Number(bars[layer][2]) };
    });
    for (const [i, { top, height }] of parts.entries()) {
      if (i > 0) expect(top + height).toBeCloseTo(parts[i - 1].top, 1);
    }
    expect(parts.reduce((sum, { height }) => sum + height, 0)).toBeCloseTo(216, 1);
  }
});

it('names every language of 50 with text where a picture shows languages one by one', () => {
  const header = headers[2];
  for (const name of ['strip', 'distance', 'correlation', 'divergence', 'ridges']) {
    const told = new Set([...drawn.get(name)![2].svg.matchAll(/data-language="([^"]+)"/g)].map(match => match[1]));
    const expected = header.languages.filter(l => l.trainingBytes > 0 && !(name === 'divergence' && l.code === 'en'));
    for (const { code } of expected) expect(told.has(code), `${code} in ${name}`).toBe(true);
  }
});

describe('titles say what was found', () => {
  const [small, middle] = headers;
  it('budget: corrected shares by depth band, the verdict first where there is one', () => {
    const rows = [0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.5].map((estimate, layer) => ({
      ...(tables.get('budget')![0].object(0) as object),
      layer,
      total: 2,
      estimate,
    }));
    const header = { ...small, numLayers: 8, moeLayers: rows.map(row => row.layer) };
    const title = 'anguage decides 8 % of routing early, 5 % midway, 20 % late';
    expect(budget(from(rows), sourceOf(header), OPTIONS).title).toBe(`L${title}`);
    const judged = budget(from(rows), sourceOf(header), { ...OPTIONS, verdict: 'late spread' });
    expect(judged.title).toBe(`Late spread: l${title}`);
    // a model that routes in its last layers alone has no early ones
    const late = { ...header, numLayers: 24, moeLayers: [22, 23] };
    const two = [0.1, 0.5].map((estimate, i) => ({ ...rows[0], layer: 22 + i, estimate }));
    expect(budget(from(two), sourceOf(late), OPTIONS).title).toBe(
      'Language decides 5 % of routing in layer 22, 25 % in layer 23',
    );
  });
  it('spread: index with interval, its side of zero, the untrained router', () => {
    const of = (estimate: number, low: number | null, high: number | null, kind = 'trained') => {
      return { label: kind, kind, contrast: 'index', estimate, low, high };
    };
    const title = (...rows: object[]) => spread(from(rows), sourceOf(middle), OPTIONS).title;
    expect(title(of(0.165, 0.15, 0.18))).toBe('Late-spread index +0.17 (+0.15 to +0.18), above zero');
    expect(title(of(-0.1, -0.2, -0.01))).toBe('Late-spread index −0.10 (−0.20 to −0.01), below zero');
    expect(title(of(0.01, -0.1, 0.1), of(0.02, 0, 0.1, 'untrained'))).toBe(
      'Late-spread index +0.01 (−0.10 to +0.10), not told from zero; untrained +0.02',
    );
    expect(title(of(0.1, null, null))).toBe('Late-spread index +0.10');
    const seeds = [of(0.2, 0.1, 0.3, 'seed'), of(0.2, -0.1, 0.3, 'seed'), of(0.2, null, null, 'seed')];
    expect(title(...seeds.map((row, i) => ({ ...row, label: `variant ${i}` })))).toBe(
      'Late-spread index above zero in 1 of 3 models',
    );
    const judged = (verdict: string) =>
      spread(from([of(0.1, 0, 0.2)]), sourceOf(middle), { ...OPTIONS, verdict }).title;
    expect(judged('neither')).toBe('No late spread: index +0.10 (0.00 to +0.20)');
    expect(judged('both')).toBe('U-shape that ends higher: index +0.10 (0.00 to +0.20)');
  });
  it('distance: means within and between families', () => {
    const pair = (a: string, b: string, distance: number) => ({ layer: 3, a, b, distance });
    const rows = [pair('ja', 'ko', 0.2), pair('ja', 'th', 0.6), pair('ko', 'th', 0.4)];
    const { title, csv, svg } = distance(from(rows), sourceOf(small), OPTIONS);
    expect(title).toBe('Routing of languages of one family 0.20, of different families 0.50 apart');
    expect(csv.trim().split('\n')).toHaveLength(4);
    // where every language is a family of its own there is no second tree, and the matrix follows the first
    const families = small.languages.map(language => ({ ...language, family: language.name }));
    const lone = distance(from(rows), sourceOf({ ...small, languages: families }), OPTIONS);
    expect(lone.title).toBe('Routing of two languages is 0.40 apart on average');
    expect(lone.svg).not.toContain('Same family or not');
    expect([...lone.svg.matchAll(/rotate\(-90[^>]*>(\w+)</g)].map(match => match[1])).toEqual(['th', 'ja', 'ko']);
    expect(svg).toContain('Same family or not'); // no distance in the tree came with the table
  });
  it('correlation: r as given, else Pearson', () => {
    const rows = [
      { group: 'en', family: 'Indo-European', x: 0, y: 1 },
      { group: 'zh', family: 'Sino-Tibetan', x: 1, y: 2 },
      { group: 'ja', family: 'Altaic', x: 2, y: 2 },
    ];
    // deviations x −1 0 1, y −2/3 1/3 1/3: r = 1 / sqrt(2 · 6/9) = 0.8660
    const title = correlation(from(rows), sourceOf(small), { ...OPTIONS, x: 'distance', y: 'score' }).title;
    expect(title).toBe('Score against distance: r = +0.87');
  });
});

describe('little or nothing to draw', () => {
  const header = headers[0];
  const one = { ...header, numLayers: 1, moeLayers: [0] };
  const alone = { ...header, languages: header.languages.filter(({ code }) => code === 'en') };
  it.each(Object.keys(DRAWINGS))('%s of one layer, of one language, of empty tables and of nulls', name => {
    const { table, draw } = DRAWINGS[name];
    const whole = tables.get(name)![0];
    const nothing = whole.filter(() => false);
    const keys = ['layer', 'group', 'a', 'b', 'label', 'kind', 'contrast', 'family', 'languages', 'families'];
    const emptied = whole.columnNames().filter(column => !keys.includes(column) && name !== 'budget');
    const nulls = from(
      (whole.objects() as object[]).map(row => ({
        ...row,
        ...Object.fromEntries(emptied.map(column => [column, null])),
      })),
    );
    const noInterval = ['low', 'high', 'estimate', 'nullMean'].filter(
      column => name !== 'spread' || column !== 'estimate',
    );
    const bare = whole.select(whole.columnNames().filter(column => !noInterval.includes(column)));
    const figures = [
      draw(table(one), sourceOf(one)),
      draw(name === 'correlation' ? whole.slice(0, 1) : table(alone), sourceOf(alone)),
      draw(nothing, sourceOf(header)),
      draw(nulls, sourceOf(header)),
      draw(bare, sourceOf(header)),
    ];
    for (const { svg, title } of figures) {
      expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
      expect(title.length).toBeGreaterThan(10);
    }
    expect(figures[2].svg.match(/<text/g)!.length).toBeLessThan(16); // words alone
    expect(figures[2].svg).toMatch(/>No |>Distances|>The test|>A correlation/);
  });
});

describe('families', () => {
  it('seven have seven dashes and seven glyphs, largest plainest', () => {
    const styles = familyStyles(headers[1]);
    expect(new Set(styles.map(style => style.dash)).size).toBe(7);
    expect(new Set(styles.map(style => style.glyph)).size).toBe(7);
    expect(styles.find(style => style.family === 'Indo-European')).toMatchObject({
      dash: '',
      glyph: 'circle',
      hue: '#0072B2',
    });
    expect(new Set(DASHES).size).toBe(GLYPHS.length);
  });
});

describe('words', () => {
  it('numbers with sign, without minus zero, with interval', () => {
    expect([0.125, -0.02, -0.001, 0].map(v => decimal(v))).toEqual(['0.13', '−0.02', '0.00', '0.00']);
    expect([0.1, -0.1, 0.001].map(v => signed(v))).toEqual(['+0.10', '−0.10', '0.00']);
    expect(withInterval(0.5, 0.25, 0.75)).toBe('0.50 (0.25 to 0.75)');
    expect(withInterval(0.5, null, 0.75)).toBe('0.50');
  });
  it('depth in bands, or end to end where it cannot be told', () => {
    const header = (numLayers: number, moeLayers: number[]) => ({ ...headers[0], numLayers, moeLayers });
    const layers = [0, 1, 2, 3, 4, 5];
    expect(byDepth(header(6, layers), layers, [1, 2, 3, 4, null, 6], String)).toBe('1.5 early, 3.5 midway, 6 late');
    expect(byDepth(header(24, [22, 23]), [22, 23], [1, 2], String, ' %')).toBe('1 % in layer 22, 2 in layer 23');
    expect(byDepth(header(1, [0]), [0], [3], String)).toBe('3 in layer 0');
    expect(lateOf(header(6, layers), layers, [0, 0, 0, 0, 1, 3])).toBe(2);
  });
  it('layer labels: every step and always the last', () => {
    expect(labelled(24, 2)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 23]);
    expect(labelled(6, 1)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(labelled(1, 1)).toEqual([0]);
    expect(labelled(0, 1)).toEqual([]);
  });
});

describe('shapes', () => {
  const path = (draw: (root: ReturnType<typeof canvas>) => void) => {
    const root = canvas(10, 10, 't', 'd');
    draw(root);
    return finish(root).match(/ d="([^"]*)"/)![1];
  };
  it('a gap in the data is a gap in the line; a value alone is a dash', () => {
    const drawn = path(root =>
      polyline(
        root,
        [
          [0, 1],
          [1, 2],
          [2, null],
          [8, 4],
        ],
        '#000000',
      ),
    );
    expect(drawn).toBe('M0,1L1,2M5.5,4L10.5,4');
  });
  it('a band closes around both lines and stops where either does', () => {
    const drawn = path(root =>
      band(
        root,
        [
          [0, 1],
          [1, 2],
          [5, 3],
        ],
        [
          [0, 4],
          [1, 5],
          [5, null],
        ],
        '#000000',
      ),
    );
    expect(drawn).toBe('M0,1L1,2L1,5L0,4Z');
  });
});

describe('tanglegram', () => {
  const merge = (a: number, b: number, height: number) => ({ a, b, height, size: 0 });
  it('counts pairs in different order', () => {
    expect(inversions([0, 1, 2], [0, 1, 2])).toBe(0);
    expect(inversions([0, 1, 2], [2, 1, 0])).toBe(3);
    expect(inversions([0, 1, 2, 3], [1, 0, 3, 2])).toBe(2);
  });
  it('turns branches until equal trees have no crossing', () => {
    const left = [merge(0, 1, 0.1), merge(2, 3, 0.2), merge(4, 5, 0.5)];
    const right = [merge(2, 3, 1), merge(0, 1, 1.5), merge(4, 5, 2)];
    expect(untangle(left, right, 4).crossings).toBe(0);
  });
  it('leaves merged at one height stand in any order, those of a ladder do not', () => {
    const flat = [merge(0, 1, 1), merge(2, 4, 1), merge(3, 5, 1)];
    expect(turned(flat, 4, [1, 3, 0, 2])).toEqual([1, 3, 0, 2]);
    const ladder = [merge(0, 1, 1), merge(2, 4, 2), merge(3, 5, 3)];
    expect(turned(ladder, 4, [1, 3, 0, 2])).toEqual([3, 1, 0, 2]);
    expect(
      untangle(
        [merge(0, 2, 0.1), merge(1, 3, 0.1), merge(4, 5, 1)],
        [merge(0, 1, 0.1), merge(2, 3, 0.1), merge(4, 5, 1)],
        4,
      ).crossings,
    ).toBe(1);
  });
});
