// The report in a real browser, from disk and without a network: nothing on the console, hover, highlight, pickers, keyboard,
// light and dark, narrow and print.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canvas, finish, rect, tag } from '../../analysis/figures/svg.ts';
import { type LanguageLine, type ReportInput, report } from '../../analysis/report/report.ts';
import { browserHere, openBrowser } from '../helpers/browser.ts';
import { tinyTrace } from '../helpers/tiny-trace.ts';

/** Two languages of family A and one of family B, a figure with a mark for each language in two layers. */
function input(): ReportInput {
  const layers: [number, number][][] = [[[0, 1]], [[1, 1]]];
  const tokens = ['aa', 'bb', 'cc'].map(language => ({ language, document: `1/${language}`, layers }));
  const { header } = tinyTrace(tokens, 3, { aa: 'A', bb: 'A', cc: 'B' });
  const root = canvas(640, 120, 'Marks', 'three languages, two layers');
  for (const [m, layer] of header.moeLayers.entries()) {
    for (const [l, { code, family }] of header.languages.entries()) {
      const mark = rect(root, 20 + l * 60, 20 + m * 50, 40, 40, '#0072B2');
      tag(mark, { language: code, family, layer, tip: `${code} in layer ${layer}: 40 %` });
    }
  }
  const panel = root.append('g').attr('data-x', 300).attr('data-pitch', 20).attr('data-experts', '2,0,1');
  const row = panel.append('g').attr('data-tip', 'bb').attr('data-values', ',250,1750');
  rect(row, 300, 20, 60, 16, '#ffffff');
  const strip = root
    .append('g')
    .attr('data-layers', '2,3')
    .attr('data-marks', '0,S')
    .attr('data-colours', '#111111,#222222');
  rect(strip.append('g').attr('data-bands', 'S0').attr('id', 'token'), 300, 60, 20, 20, '#eeeeee');
  const line = (code: string): LanguageLine => ({
    code,
    name: code === 'cc' ? '</script><script>alert(1)</script>' : code,
    family: code === 'cc' ? 'B' : 'A',
    script: 'Latn',
    zeroText: false,
    tokens: 1234,
    documents: 5,
    fertility: 12.34,
    sharedTokens: null,
    ownFirst: 0.25,
    ownLast: 0.5,
    distanceFirst: 0,
    distanceLast: Number.NaN,
  });
  return {
    header,
    step: 7,
    verdict: 'Routing parts by language at the end & not before.',
    explanation: 'Three languages, <b>one</b> token each.',
    tiles: [{ value: '+0.16', meaning: 'late minus early' }],
    sections: [
      {
        title: 'Marks',
        words: 'A mark each.',
        figures: [{ name: 'marks', title: 'Marks', svg: finish(root), csv: '' }],
      },
    ],
    languages: ['aa', 'bb', 'cc'].map(line),
    notes: ['‡ zero-text: none.'],
  };
}

/** In the page: colour of words and of the ground they stand on, for each kind of words. */
const COLOURS = `(() => {
  const ground = from => {
    if (from === null) return 'rgb(255, 255, 255)';
    const colour = getComputedStyle(from).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' ? ground(from.parentElement) : colour;
  };
  const words = document.querySelectorAll('.verdict, header > p, .tiles span, .controls button, td, footer p');
  return [...words].map(element => [getComputedStyle(element).color, ground(element)]);
})()`;

test('words are escaped, a missing number is a dash, line breaks between marks are gone', () => {
  const html = report(input());
  expect(html).toContain('Routing parts by language at the end &amp; not before.');
  expect(html).toContain('&lt;b&gt;one&lt;/b&gt;');
  expect(html).not.toContain('<script>alert');
  expect(html).toContain('<td class="n">1,234</td><td class="n">12.3</td><td class="n">–</td><td class="n">25 %</td>');
  expect(html).toContain('<td class="n">0.00</td><td class="n">–</td></tr>');
  expect(html).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
});

test.runIf(browserHere === undefined)('no browser here, so the page itself is not tested', () => {
  expect(browserHere).toBeUndefined();
});

describe.runIf(browserHere !== undefined)('in a browser', () => {
  let browser: Browser;
  let close: () => Promise<void>;
  let page: Page;
  const folder = mkdtempSync(join(tmpdir(), 'report-'));
  const trouble: string[] = [];

  beforeAll(async () => {
    ({ browser, close } = await openBrowser());
    writeFileSync(join(folder, 'report.html'), report(input()));
    page = await browser.newPage();
    page.on('console', message => trouble.push(message.text()));
    page.on('pageerror', error => trouble.push(String(error)));
    page.on('request', request => {
      if (!/^(file|data):/.test(request.url())) trouble.push(`asked for ${request.url()}`);
    });
    await page.setViewport({ width: 1280, height: 800 });
    await page.goto(`file://${join(folder, 'report.html')}`);
  });
  afterAll(async () => {
    await close();
    rmSync(folder, { recursive: true, force: true });
  });

  const dimmed = () => page.$$eval('svg .dim', marks => marks.map(mark => mark.getAttribute('data-tip')));
  const tip = () => page.evaluate('document.querySelector("#tip:not([hidden])")?.textContent ?? null');

  test('opens without a word on the console and without a request', () => expect(trouble).toEqual([]));

  test('the pointer is told what is under it', async () => {
    const box = await (await page.$('[data-tip^="bb in layer 3"]'))!.boundingBox();
    await page.mouse.move(box!.x + 5, box!.y + 5);
    expect(await tip()).toBe('bb in layer 3: 40 %');
    await page.mouse.move(2, 2);
    expect(await tip()).toBeNull();
  });

  test('a family, then a language, then a layer are picked out; Escape shows all again', async () => {
    await page.click('button[data-pick="A"]');
    expect(await page.$eval('button[data-pick="A"]', button => button.getAttribute('aria-pressed'))).toBe('true');
    expect(await dimmed()).toEqual(['cc in layer 2: 40 %', 'cc in layer 3: 40 %']);
    await page.select('#language', 'bb');
    expect(await dimmed()).toHaveLength(4);
    expect(await page.$$eval('tr.chosen', rows => rows.map(row => row.getAttribute('data-row')))).toEqual(['bb']);
    await page.select('#layer', '2');
    expect(await dimmed()).toHaveLength(5);
    await page.keyboard.press('Escape');
    expect(await dimmed()).toEqual([]);
  });

  test('a cell of a row says its expert and value', async () => {
    const box = await (await page.$('[data-values]'))!.boundingBox();
    await page.mouse.move(box!.x + box!.width / 2, box!.y + 4);
    expect(await tip()).toBe('expert 0: 0.250\nbb');
    await page.mouse.move(box!.x + box!.width * 0.9, box!.y + 4);
    expect(await tip()).toBe('expert 1: 1.750\nbb');
  });

  test('tokens take the colour of their expert in the chosen layer, and give it back', async () => {
    const fill = () => page.$eval('#token rect', mark => mark.getAttribute('fill'));
    await page.select('#layer', '2');
    expect(await fill()).toBe('#222222');
    await page.select('#layer', '3');
    expect(await fill()).toBe('#111111');
    await page.keyboard.press('Escape');
    expect(await fill()).toBe('#eeeeee');
  });

  test('all of it can be reached and used by keyboard', async () => {
    await page.reload();
    const reached: unknown[] = [];
    for (let i = 0; i < 7; i++) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate('document.activeElement.id || document.activeElement.textContent.trim()'));
    }
    expect(reached.slice(0, 6)).toEqual(['language', 'layer', 'clear', 'A', 'B', 'marks']);
    expect(reached[6]).toMatch(/^Language/);
    await page.focus('#marks');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    expect(await tip()).toBe('bb in layer 2: 40 %');
    expect(await page.$eval('#said', element => element.textContent)).toBe('bb in layer 2: 40 %');
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    expect(await tip()).toBe('bb');
    await page.keyboard.press('ArrowLeft');
    expect(await tip()).toBe('cc in layer 3: 40 %');
    await page.keyboard.press('Escape');
  });

  test.each(['light', 'dark'])('words stand out in %s mode', async mode => {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: mode }]);
    const pairs = (await page.evaluate(COLOURS)) as [string, string][];
    const luminance = (colour: string) => {
      const [r, g, b] = colour.match(/[\d.]+/g)!.map(value => {
        const share = Number(value) / 255;
        return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const grounds = pairs.map(([, ground]) => luminance(ground));
    if (mode === 'dark') expect(Math.max(...grounds)).toBeLessThan(0.1);
    else expect(Math.min(...grounds)).toBeGreaterThan(0.8);
    for (const pair of pairs) {
      const [low, high] = pair.map(luminance).sort((a, b) => a - b);
      expect((high + 0.05) / (low + 0.05), pair.join(' on ')).toBeGreaterThan(4.5);
    }
  });

  test('at 400 px the page does not scroll sideways and the verdict is on the first screen', async () => {
    await page.setViewport({ width: 400, height: 800 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400);
    const box = await (await page.$('.verdict'))!.boundingBox();
    expect(box!.y + box!.height).toBeLessThan(800);
    await page.setViewport({ width: 1280, height: 800 });
  });

  test('on paper the controls are gone and the ground is white', async () => {
    await page.emulateMediaType('print');
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.controls')).display`)).toBe('none');
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    await page.emulateMediaType();
  });

  test('and nothing was said on the console through all of this', () => expect(trouble).toEqual([]));
});
