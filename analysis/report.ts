// One self-contained HTML page: sentences first, then the figures inline, then a table per language. Works offline.
import type { TraceHeader } from '../routing/trace.ts';
import type { Figure } from './figures/svg.ts';
import { percent } from './figures/svg.ts';

/** What the table shows of a language; shares are null where nothing was counted. */
export interface LanguageLine {
  code: string;
  name: string;
  family: string;
  zeroText: boolean;
  tokens: number;
  documents: number;
  ownExpert: { layer: number; chosen: number | null }[];
}

const STYLE = `
body { font: 16px/1.5 Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif; color: #1a1a1a; max-width: 1240px; margin: 2rem auto; padding: 0 1rem }
figure { margin: 2.5rem 0 } figure svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-size: 14px } th, td { padding: 2px 12px 2px 0; text-align: left } thead th { border-bottom: 1px solid }
td.n, th.n { text-align: right } footer { color: #5f5f5f; font-size: 14px }
@media print { figure { break-inside: avoid } }`;

/** The page's text. */
export function report(header: TraceHeader, sentences: string[], figures: Figure[], languages: LanguageLine[]): string {
  const title = `Routing of ${header.model}, run ${header.run}`;
  const layers = header.moeLayers.map(layer => `<th class="n">own expert, layer ${layer}</th>`).join('');
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body>
<h1>${escapeHtml(title)}</h1>
${sentences.map(sentence => `<p>${escapeHtml(sentence)}</p>`).join('\n')}
${figures.map(({ svg }) => `<figure>\n${svg}</figure>`).join('\n')}
<h2>Languages</h2>
<p>Own expert: share of tokens whose plain top-${header.expertsPerToken} contains the language’s own expert;
${percent(header.expertsPerToken / header.numExperts)} for a router without preference.</p>
<table><thead><tr><th>Language</th><th>Family</th><th class="n">documents</th><th class="n">tokens</th>${layers}</tr></thead>
<tbody>
${languages.map(languageRow).join('\n')}
</tbody></table>
<footer><p>Numbers: metrics.json and the CSV file beside each figure. ‡ zero-text: trained on no running text.</p></footer>
</body>
</html>
`;
}

function languageRow({ code, name, family, zeroText, tokens, documents, ownExpert }: LanguageLine): string {
  const label = `${escapeHtml(name)} <small>${escapeHtml(code)}${zeroText ? ' ‡' : ''}</small>`;
  const own = ownExpert.map(({ chosen }) => `<td class="n">${chosen === null ? '–' : percent(chosen)}</td>`).join('');
  return `<tr><td>${label}</td><td>${escapeHtml(family)}</td><td class="n">${documents}</td><td class="n">${tokens}</td>${own}</tr>`;
}

const escapeHtml = (words: string): string =>
  words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
