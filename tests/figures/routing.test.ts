// The pictures of what goes where: heat map, flow, modal paths, specialists, co-activation, interventions, tokens.
// Drawn from tables of a pretend model at three sizes; the small ones, and one of each that is drawn in rows or
// bands, are committed.
import { describe, expect, it } from 'vitest';
import { pickLayers } from '../../analysis/figures/caption.ts';
import { coactivationPicture } from '../../analysis/figures/coactivation.ts';
import { flowPicture } from '../../analysis/figures/flow.ts';
import { heatmap } from '../../analysis/figures/heatmap.ts';
import { interventionGrid } from '../../analysis/figures/intervention-grid.ts';
import { pathsPicture } from '../../analysis/figures/paths.ts';
import { specialists } from '../../analysis/figures/specialists.ts';
import { canvas, type Figure } from '../../analysis/figures/svg.ts';
import { tokenStrip } from '../../analysis/figures/tokens.ts';
import { familiesOf } from '../../analysis/table.ts';
import { type ModelFixture, modelFixture, SIZES, tableOf } from './model-fixture.ts';

const options = { view: 'selection' as const, averaging: 'documents' as const };
const [small, middle, large] = SIZES.map(size => modelFixture(size));

function targetsOf({ header }: ModelFixture): Record<string, string[]> {
  const members = (family: string) => header.languages.filter(l => l.family === family).map(l => l.code);
  return Object.fromEntries(familiesOf(header).map(family => [`ablate ${family}`, members(family)]));
}

const inRows = heatmap(middle.usage, middle.source, { ...options, mostLayers: 2 });

type Draw = (model: ModelFixture) => Figure;
const draws: Record<string, Draw> = {
  heatmap: ({ usage, source }) => heatmap(usage, source, options),
  flow: ({ usage, flows, universality, source, header }) => {
    const drawn = flows(pickLayers(header.moeLayers, 8));
    return flowPicture(usage, drawn, source, { averaging: 'documents', order: 'barycentre', universality });
  },
  paths: ({ flows, source, header }) => pathsPicture(flows(header.moeLayers), source, { averaging: 'documents' }),
  specialists: ({ universality, source }) => specialists(universality, source, options),
  coactivation: ({ coactivation, universality, source, header }) =>
    coactivationPicture(coactivation(pickLayers(header.moeLayers, 6)), universality, source, options),
  interventions: model =>
    interventionGrid(model.interventions, model.source, {
      targets: targetsOf(model),
      resampling: '2,000 paired bootstrap draws over documents',
      controls: '20 draws of as many random experts of like load',
    }),
  tokens: ({ document, universality, source, header }) => {
    const language = header.languages.find(({ code }) => code === 'en')!;
    return tokenStrip(document(40), universality, source, { language, document: 'a pretend text' });
  },
};
const drawn = new Map<string, Figure>();
function figure(name: string, model: ModelFixture): Figure {
  const key = `${name} ${model.header.run}`;
  if (!drawn.has(key)) drawn.set(key, draws[name](model));
  return drawn.get(key)!;
}

// the parser of the page that figures are drawn in
interface Parsed {
  textContent: string | null;
  parentElement: Parsed | null;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Parsed | null;
  querySelectorAll(selector: string): Parsed[];
}
interface Window {
  DOMParser: new () => { parseFromString(text: string, type: string): Parsed };
}
const { DOMParser } = canvas(1, 1, '', '').node().ownerDocument.defaultView as unknown as Window;
const documentOf = (svg: string) => new DOMParser().parseFromString(svg, 'image/svg+xml');
const rowsOf = (csv: string) => csv.trim().split('\n').slice(1);
const words = (svg: string) => [...documentOf(svg).querySelectorAll('text')].map(text => text.textContent!);

describe('committed pictures', () => {
  for (const name of ['flow', 'paths', 'specialists', 'coactivation', 'interventions', 'tokens']) {
    it(`${name}, 12 × 6 × 12`, async () => {
      await expect(figure(name, small).svg).toMatchFileSnapshot(`${name}-small.svg`);
    });
  }
  it('heat map in rows, 50 × 64', async () => {
    await expect(inRows.svg).toMatchFileSnapshot('heatmap-rows.svg');
  });
  it('flow in bands, 128 experts, entropic order', async () => {
    const { usage, universality, source, header, flows } = large;
    const layers = pickLayers(header.moeLayers, 8);
    const entropic = { averaging: 'documents' as const, order: 'entropic' as const, universality };
    const picture = flowPicture(usage, flows(layers), source, entropic);
    await expect(picture.svg).toMatchFileSnapshot('flow-bands.svg');
  });
  it('co-activation in rows, 128 experts', async () => {
    const { coactivation, universality, source } = large;
    const picture = coactivationPicture(coactivation([0, 24, 47]), universality, source, options);
    await expect(picture.svg).toMatchFileSnapshot('coactivation-rows.svg');
  });
});

describe('every picture, at every size', () => {
  for (const model of [small, middle]) {
    for (const name of Object.keys(draws)) {
      it(`${name}, ${model.header.run}: well-formed, named, legible, no hole in the numbers`, () => {
        const { svg, title, csv } = figure(name, model);
        const page = documentOf(svg);
        expect(page.querySelector('parsererror')).toBeNull();
        expect(page.querySelector('title')?.textContent).toBe(title);
        expect(title.length, title).toBeLessThan(95);
        const caption = page.querySelector('desc')!.textContent!;
        expect(caption).toContain(`Model a pretend model, run ${model.header.run}`);
        expect(caption).toMatch(/interval|Interval/);
        expect(svg).not.toMatch(/NaN|undefined|null|Infinity/);
        expect(rowsOf(csv).length).toBeGreaterThan(3);
        const sizes = [...svg.matchAll(/font-size="([\d.]+)"/g)].map(([, size]) => Number(size));
        expect(Math.min(...sizes)).toBeGreaterThanOrEqual(9);
        for (const element of page.querySelectorAll('[data-tip]')) {
          expect(element.getAttribute('data-tip')!.length).toBeGreaterThan(5);
        }
        expect(page.querySelectorAll('[data-tip]').length).toBeGreaterThan(10);
      });
    }
  }
  it('is the same bytes when drawn again', () => {
    for (const name of Object.keys(draws)) expect(draws[name](small)).toEqual(figure(name, small));
  });
  it('stays small: 50 × 128 × 6 cells under 700 kB, together under 2 MB for 50 × 24 × 64', () => {
    expect(figure('heatmap', large).svg.length).toBeLessThan(600_000);
    const total = Object.keys(draws).reduce((sum, name) => sum + figure(name, middle).svg.length, 0);
    expect(total).toBeLessThan(2_000_000);
  });
  it('says in a sentence what is missing', () => {
    const empty: ModelFixture = {
      ...small,
      usage: none(small.usage),
      universality: none(small.universality),
      interventions: none(small.interventions),
      flows: layers => none(small.flows(layers)),
      coactivation: layers => none(small.coactivation(layers)),
      document: tokens => none(small.document(tokens)),
    };
    const sentences: Record<string, string> = {
      heatmap: 'No token was counted in these layers, so no expert can be said to serve a language.',
      flow: 'No token was counted in these layers, so nothing flows.',
      paths: 'No token was counted in two neighbouring MoE layers, so no path can be followed.',
      specialists: 'Universality compares languages: at least two with counted tokens are needed.',
      coactivation: 'No two experts that carry more than an even load were chosen.',
      interventions: 'No intervention was measured on these languages.',
      tokens: 'The document has no token with a slot.',
    };
    for (const [name, draw] of Object.entries(draws)) {
      expect(words(draw(empty).svg).join(' '), name).toContain(sentences[name]);
      expect(draw(empty).svg).not.toMatch(/NaN|undefined|null|Infinity/);
    }
  });
  it('draws one layer of one language', () => {
    const model = modelFixture({ name: 'one', languages: 12, layers: 1, experts: 12, k: 2 });
    const english = { ...model.header, languages: model.header.languages.filter(l => l.code === 'en') };
    const one = { ...model, header: english, source: { ...model.source, header: english } };
    for (const name of ['heatmap', 'flow', 'tokens', 'interventions']) {
      const { svg } = draws[name](one);
      expect(svg, name).not.toMatch(/NaN|undefined|null|Infinity/);
      expect(documentOf(svg).querySelectorAll('[data-tip]').length, name).toBeGreaterThan(5);
    }
  });
});

const none = (table: ModelFixture['usage']) => tableOf([] as Record<string, unknown>[], table.columnNames());

describe('heat map', () => {
  it('draws each value where its column and row say, in rows too', () => {
    const page = documentOf(inRows.svg);
    const row = page.querySelector('[data-language="sw"][data-layer="23"]')!;
    const experts = row.parentElement!.getAttribute('data-experts')!.split(',').map(Number);
    const values = row.getAttribute('data-values')!.split(',').map(Number);
    const usage = middle.usage.objects() as { layer: number; group: string; expert: number; tokenShare: number }[];
    const swahili = usage.filter(cell => cell.layer === 23 && cell.group === 'sw');
    expect([...experts].sort((a, b) => a - b)).toEqual(swahili.map(cell => cell.expert));
    expect(values).toEqual(experts.map(e => Math.round(1000 * swahili[e].tokenShare)));
    const darkest = page.querySelector('path[stroke="#123570"]')!;
    const start = Number(/M(\d+) 0/.exec(darkest.getAttribute('d')!)![1]);
    const shown = darkest.parentElement!.getAttribute('data-values')!.split(',').map(Number);
    expect(shown[start]).toBe(Math.max(...shown));
  });
  it('hatches what no language uses and languages without text, and prints the scale', () => {
    const { svg } = inRows;
    const hatched = [...documentOf(svg).querySelectorAll('rect[fill="url(#heatmap-none)"]')];
    expect(hatched.length).toBe(2 * 2 + 2 * 2 + 1); // dead experts, zero-text languages, key
    expect(svg).toContain('64 experts, 2 without a token');
    expect(words(svg)).toContain('100 %');
  });
});

describe('flow', () => {
  it('conserves mass in bands as it does in experts', () => {
    for (const model of [small, middle]) {
      const stages = new Map<string, number>();
      for (const row of rowsOf(figure('flow', model).csv)) {
        const cells = row.split(',');
        stages.set(cells[2], (stages.get(cells[2]) ?? 0) + Number(cells[5]));
      }
      expect(stages.size).toBe(Math.min(8, model.header.moeLayers.length));
      for (const mass of stages.values()) expect(mass).toBeCloseTo(1, 9);
    }
  });
  it('prints how much it merged: grey and coloured ribbons together are all of the flow', () => {
    const { svg } = figure('flow', middle);
    const last = middle.header.moeLayers.at(-1)!;
    const shares = [...svg.matchAll(/data-layer="(\d+)" data-tip="small flows[^:]*: ([\d.]+) % of all"/g)];
    const merged = shares
      .filter(([, layer]) => Number(layer) === last)
      .reduce((sum, [, , value]) => sum + Number(value), 0);
    const printed = Number(new RegExp(`(\\d+) % into ${last}\\.`).exec(svg)![1]);
    expect(printed).toBeGreaterThan(5);
    expect(Math.abs(merged - printed)).toBeLessThan(3); // each ribbon's own share is rounded
  });
  it('shows at most nine bands', () => {
    const bands = new Set(rowsOf(figure('flow', middle).csv).map(row => row.split(',')[3]));
    expect(bands.size).toBeLessThanOrEqual(9);
    expect(bands).toContain('Shared');
  });
});

describe('specialists', () => {
  it('counts shared and unused experts and draws the others hollow or full', () => {
    const rows = middle.universality.objects() as { layer: number; universality: number | null }[];
    const last = rows.filter(row => row.layer === 23 && row.universality !== null);
    const shared = last.filter(row => row.universality! > 0.9).length;
    const { svg, title } = figure('specialists', middle);
    expect(title).toContain(`${shared} of 62 in layer 23`);
    const marks = [...documentOf(svg).querySelectorAll('[data-layer="23"][data-expert]')];
    expect(marks.length).toBe(62);
    expect(marks.filter(mark => mark.getAttribute('fill') === '#FFFFFF').length).toBe(shared);
  });
});

describe('co-activation', () => {
  it('draws experts above an even load alone and names the pair that meets most', () => {
    const pair = (a: number, b: number, logLift: number) => {
      return [
        { layer: 0, a, b, together: 1, conditional: 0.1, lift: 2 ** logLift, logLift },
        { layer: 0, a: b, b: a, together: 1, conditional: 0.1, lift: 2 ** logLift, logLift },
      ];
    };
    const pairs = tableOf(
      [...pair(0, 1, 1), ...pair(0, 2, 2), ...pair(1, 2, -1), ...pair(0, 3, 5)],
      ['layer', 'a', 'b', 'together', 'conditional', 'lift', 'logLift'],
    );
    // even load: 2 of 12 experts, 1/6
    const load = [0.5, 0.4, 0.3, 0.1];
    const experts = tableOf(
      load.map((value, expert) => ({ layer: 0, expert, universality: 0.5, load: value, family: 'Altaic', lift: 1 })),
      ['layer', 'expert', 'universality', 'load', 'family', 'lift'],
    );
    const { title, csv, svg } = coactivationPicture(pairs, experts, small.source, options);
    expect(title).toBe('Experts 0 and 2 of layer 0 meet 4.0 times as often as by chance');
    expect(rowsOf(csv).map(row => row.split(',').slice(0, 4).join(' '))).toEqual(['0 0 1 1', '0 0 2 2', '0 1 2 -1']);
    // rows and columns 1, 0, 2: the pair that meets most, and 1 beside the one it is less unlike
    const figures = words(svg).filter(word => /^[+−]/.test(word));
    expect(figures).toEqual(['+1.0', '−1.0', '+1.0', '+2.0', '−1.0', '+2.0']);
  });
  it('one expert per token: a sentence', () => {
    const header = { ...small.header, expertsPerToken: 1 };
    const { svg } = coactivationPicture(
      none(small.coactivation([0])),
      small.universality,
      { ...small.source, header },
      options,
    );
    expect(words(svg)).toContain('A token chooses one expert here, so no two are chosen together.');
  });
});

describe('interventions', () => {
  const cell = (row: string, value: number, low: number, high: number) => {
    return { row, column: 'ablate', value, low, high, nullLow: -0.1, nullHigh: 0.1 };
  };
  const grid = tableOf(
    [
      cell('zh', 0.4, 0.3, 0.5),
      cell('ja', 0.2, -0.1, 0.5),
      cell('ko', 0.05, 0.01, 0.09),
      cell('en', -0.15, -0.2, -0.1),
    ],
    ['row', 'column', 'value', 'low', 'high', 'nullLow', 'nullHigh'],
  );
  const { svg, title } = interventionGrid(grid, small.source, { targets: { ablate: ['zh', 'ja'] } });
  const at = (code: string) => documentOf(svg).querySelector(`[data-language="${code}"][data-tip]`)!;
  it('is hollow inside the band of random controls, bold where the interval excludes 0', () => {
    expect(title).toBe('What “ablate” does to every language');
    const look = (code: string) => {
      const [rect, word] = [at(code).querySelector('rect')!, at(code).querySelector('text')!];
      return [word.textContent, rect.getAttribute('fill') === '#FFFFFF', word.getAttribute('font-weight') === 'bold'];
    };
    expect(look('zh')).toEqual(['+0.40', false, true]);
    expect(look('ja')).toEqual(['+0.20', false, false]);
    expect(look('ko')).toEqual(['+0.05', true, false]);
    expect(look('en')).toEqual(['−0.15', false, true]);
    expect(at('ko').getAttribute('data-tip')).toBe(
      'Korean, ablate: +0.050 (+0.010 to +0.090) bits per byte; random controls −0.100 to +0.100',
    );
  });
  it('frames targets and sums up: their mean, and the largest change anywhere else', () => {
    const framed = ['zh', 'ja', 'ko', 'en'].filter(code => at(code).querySelectorAll('rect').length === 2);
    expect(framed).toEqual(['zh', 'ja']);
    const line = words(svg);
    expect(line[line.indexOf('Mean of targets') + 1]).toBe('+0.30');
    expect(line[line.indexOf('Largest change elsewhere') + 1]).toBe('−0.15');
  });
});

describe('token strip', () => {
  const universality = tableOf(
    [0, 1].flatMap(layer => [
      { layer, expert: 0, universality: 0.95, load: 0.5, family: 'Altaic' },
      { layer, expert: 1, universality: 0.3, load: 0.3, family: 'Indo-European' },
      { layer, expert: 2, universality: 0.3, load: 0.2, family: 'Altaic' },
    ]),
    ['layer', 'expert', 'universality', 'load', 'family'],
  );
  const header = { ...small.header, moeLayers: [0, 1] };
  const language = header.languages.find(({ code }) => code === 'en')!;
  const draw = (texts: string[], experts: (number | null)[][], mostTokens?: number) => {
    const rows = texts.flatMap((text, position) =>
      experts[position].map((expert, layer) => ({ position, text, layer, expert })),
    );
    const source = { ...small.source, header };
    const table = tableOf(rows, ['position', 'text', 'layer', 'expert']);
    return tokenStrip(table, universality, source, { language, document: 'd', mostTokens });
  };
  it('gives each token its bands layer by layer, and says how many choose their own family first', () => {
    const { svg, title } = draw(
      ['a', ' b', 'c', 'd'],
      [
        [0, 1],
        [2, 1],
        [0, null],
        [1, 1],
      ],
    );
    const marks = [...documentOf(svg).querySelectorAll('[data-bands]')].map(token => token.getAttribute('data-bands'));
    // 1 Sino-Tibetan, 2 Altaic, 3 Australasian, 4 Indo-European, 5 Afro-Asian, 6 Kongolese, S shared
    expect(marks).toEqual(['S4', '24', 'S-', '44']);
    expect(title).toBe('First choices in Indo-European experts: 25 % in layer 0, 100 % in 1');
  });
  it('stays well-formed whatever a token is, and says how many it left out', () => {
    const { svg } = draw(
      ['<0x0A>', '\n', '\u0007"&', '日本', '="'],
      Array.from({ length: 5 }, () => [0, 1]),
      4,
    );
    expect(documentOf(svg).querySelector('parsererror')).toBeNull();
    expect(words(svg)).toEqual(expect.arrayContaining(['<0x0A>', '⏎', '·"&', '日本']));
    expect(svg).toContain('The first 4 of 5 tokens.');
  });
});
