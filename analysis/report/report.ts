// One self-contained HTML page of an analysis: the verdict in words first, then its numbers, then the figures with hover,
// family highlight and pickers, then a table of languages. Works offline and from disk; look and behaviour are page.css, page.mjs.
import { readFileSync } from 'node:fs';
import type { TraceHeader } from '../../routing/trace.ts';
import { familyHues } from '../figures/caption.ts';
import { type Figure, percent } from '../figures/svg.ts';
import { familiesOf } from '../table.ts';

/** A number that the first screen shows. */
export interface Tile {
  value: string;
  /** What it is, in plain words. */
  meaning: string;
}

export interface Section {
  title: string;
  /** How to read the figures, one or two sentences. */
  words: string;
  figures: Figure[];
}

/** One row of the table: what stands beside every language result. Null: unknown, drawn as a dash. */
export interface LanguageLine {
  code: string;
  name: string;
  family: string;
  script: string;
  zeroText: boolean;
  tokens: number;
  documents: number;
  /** Tokens per item, and share of its tokens whose id occurs in another language too. */
  fertility: number | null;
  sharedTokens: number | null;
  /** Share of tokens whose plain top-k holds the language's own expert, in the first and the last MoE layer. */
  ownFirst: number | null;
  ownLast: number | null;
  /** Routing distance to the pivot in the first and the last MoE layer, 0…1. */
  distanceFirst: number | null;
  distanceLast: number | null;
}

export interface ReportInput {
  header: TraceHeader;
  step: number | null;
  /** One sentence that a reader without context understands. */
  verdict: string;
  /** What it rests on and what it cannot say. */
  explanation: string;
  tiles: Tile[];
  sections: Section[];
  languages: LanguageLine[];
  notes: string[];
}

const asset = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');

/** The page's text. */
export function report(input: ReportInput): string {
  const { header, step, verdict, explanation, tiles, sections, languages, notes } = input;
  const title = `Routing of ${header.model}, run ${header.run}${step === null ? '' : `, step ${step}`}`;
  const familyOf = Object.fromEntries(header.languages.map(({ code, family }) => [code, family]));
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><link rel="icon" href="data:,"><style>${asset('page.css')}</style></head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p class="verdict">${escapeHtml(verdict)}</p>
<p>${escapeHtml(explanation)}</p>
<ul class="tiles">
${tiles.map(({ value, meaning }) => `<li><b>${escapeHtml(value)}</b><span>${escapeHtml(meaning)}</span></li>`).join('\n')}
</ul>
</header>
${controls(header)}
<main>
${sections.map(sectionHtml).join('\n')}
${languageTable(header, languages)}
</main>
<footer>
${notes.map(note => `<p>${escapeHtml(note)}</p>`).join('\n')}
<p>All numbers: metrics.json, and the CSV file of each figure, beside this page.</p>
</footer>
<div id="tip" role="tooltip" hidden></div><div id="said" aria-live="polite" style="position:absolute;left:-9999px"></div>
<script type="application/json" id="families">${JSON.stringify(familyOf).replaceAll('<', '\\u003c')}</script>
<script>${asset('page.mjs')}</script>
</body>
</html>
`;
}

function controls(header: TraceHeader): string {
  const hues = familyHues(header);
  const chips = familiesOf(header).map(
    (family, i) =>
      `<button type="button" data-pick="${escapeHtml(family)}" aria-pressed="false"><i style="background:${hues[i]}"></i>${escapeHtml(family)}</button>`,
  );
  const languages = header.languages.map(
    ({ code, name }) => `<option value="${escapeHtml(code)}">${escapeHtml(name)}</option>`,
  );
  const layers = header.moeLayers.map(layer => `<option value="${layer}">layer ${layer}</option>`);
  return `<div class="controls"><form id="controls" aria-label="Highlight in all figures">
<label>Language <select id="language"><option value="">all</option>${languages.join('')}</select></label>
<label>Layer <select id="layer"><option value="">all</option>${layers.join('')}</select></label>
<button type="button" id="clear">Show all (Esc)</button>
${chips.join('\n')}
</form></div>`;
}

function sectionHtml({ title, words, figures }: Section): string {
  const cards = figures.map(
    ({ name, title: alternative, svg }) =>
      `<figure id="${name}" tabindex="0" style="--least:${leastWidth(svg)}px" aria-label="${escapeHtml(alternative)}. Arrow keys move through its marks.">\n${oneLine(svg)}</figure>`,
  );
  return `<section>\n<h2>${escapeHtml(title)}</h2>\n<p>${escapeHtml(words)}</p>\n${cards.join('\n')}\n</section>`;
}

/** Below this width a sheet scrolls instead of shrinking. */
const leastWidth = (svg: string): number => Math.round(0.8 * Number(/ width="(\d+)"/.exec(svg)?.[1] ?? 800));

/** Line breaks between marks serve reviews of the SVG files; here they would only be bytes. */
const oneLine = (svg: string): string => svg.replaceAll('>\n<', '><');

function languageTable(header: TraceHeader, languages: LanguageLine[]): string {
  const { moeLayers, expertsPerToken, numExperts } = header;
  const [first, last] = [moeLayers[0], moeLayers.at(-1)];
  const depth = (words: string) =>
    [first, last].map(layer => `<th scope="col" class="n">${words}, layer ${layer}</th>`);
  const heads = [
    '<th scope="col">Language</th><th scope="col">Family</th><th scope="col">Script</th>',
    '<th scope="col" class="n">documents</th><th scope="col" class="n">tokens</th>',
    '<th scope="col" class="n">tokens per item</th><th scope="col" class="n">tokens shared with others</th>',
    ...depth('own expert'),
    ...depth('distance to pivot'),
  ];
  return `<section><h2>Languages</h2>
<p>What every language result has to be read beside: how much text was counted, how finely the tokenizer cuts it and how many of its
tokens other languages use too. Own expert: share of tokens whose plain top-${expertsPerToken} holds it; a router without preference gives ${percent(expertsPerToken / numExperts)}.</p>
<div class="table" tabindex="0" aria-label="Table of languages"><table><thead><tr>${heads.join('')}</tr></thead>
<tbody>
${languages.map(languageRow).join('\n')}
</tbody></table></div></section>`;
}

function languageRow(line: LanguageLine): string {
  const name = `${escapeHtml(line.name)} <small>${escapeHtml(line.code)}${line.zeroText ? ' ‡' : ''}</small>`;
  const number = (value: number | null, show: (value: number) => string) =>
    `<td class="n">${value === null || Number.isNaN(value) ? '–' : show(value)}</td>`;
  const whole = (value: number) => value.toLocaleString('en-US');
  const places = (count: number) => (value: number) => value.toFixed(count);
  const cells = [
    number(line.documents, whole),
    number(line.tokens, whole),
    number(line.fertility, places(1)),
    number(line.sharedTokens, percent),
    number(line.ownFirst, percent),
    number(line.ownLast, percent),
    number(line.distanceFirst, places(2)),
    number(line.distanceLast, places(2)),
  ];
  return `<tr data-row="${escapeHtml(line.code)}"><td>${name}</td><td>${escapeHtml(line.family)}</td><td>${escapeHtml(line.script)}</td>${cells.join('')}</tr>`;
}

function escapeHtml(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
