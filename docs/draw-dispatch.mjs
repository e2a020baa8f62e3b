// Draws docs/dispatch-kernel.svg: six tokens, two choices each, three experts, with the arrows that their plan really has.
//   node docs/draw-dispatch.mjs
import { writeFileSync } from 'node:fs';

const CHOICES = [
  [0, 1],
  [1, 2],
  [0, 2],
  [1, 0],
  [2, 1],
  [0, 1],
];
const EXPERTS = 3;
const HUES = ['#0072B2', '#E69F00', '#009E73'];
const PALE = ['#DCEBF5', '#FBEFD8', '#D8EFE8'];
const GREY = '#5F5F5F';
const [WIDTH, HEIGHT] = [1200, 860];
const ROW = 19;
const TOKEN = 2 * ROW;

const slots = CHOICES.flatMap((experts, token) =>
  experts.map((expert, choice) => ({ token, choice, expert, slot: 2 * token + choice })),
);
/** Rows in the order of experts, and of slots within one: the stable counting sort. */
const rows = Array.from({ length: EXPERTS }, (_, expert) => slots.filter(slot => slot.expert === expert)).flat();
const rowOf = slot => rows.findIndex(row => row.slot === slot);

const parts = [];
const text = (x, y, words, more = '') => parts.push(`<text x="${x}" y="${y}" ${more}>${words}</text>`);
const box = (x, y, width, height, fill, more = '') =>
  parts.push(`<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${fill}" ${more}/>`);
function lines(x, y, all) {
  for (const [i, words] of all.entries())
    text(x, y + 16 * i, words, i === 0 ? 'font-weight="bold" font-size="12.5"' : '');
}

function arrow(x1, y1, x2, y2, colour) {
  const middle = (x1 + x2) / 2;
  parts.push(
    `<path d="M${x1},${y1}C${middle},${y1} ${middle},${y2} ${x2 - 6},${y2}" fill="none" stroke="${colour}" stroke-width="1.4"/>`,
  );
  parts.push(`<path d="M${x2 - 7},${y2 - 3.5}L${x2},${y2}L${x2 - 7},${y2 + 3.5}Z" fill="${colour}"/>`);
}

const tokenY = (top, token) => top + TOKEN * token;
const rowY = (top, row) => top + ROW * row + 4 * rows[row].expert - 4;

function tokens(x, top, label) {
  CHOICES.forEach((_, token) => {
    box(x, tokenY(top, token) + 4, 62, TOKEN - 8, '#F2F2F2', 'stroke="#8F8F8F"');
    text(x + 31, tokenY(top, token) + TOKEN / 2 + 4, `token ${token}`, 'text-anchor="middle"');
  });
  text(x + 31, top - 12, label, 'text-anchor="middle" font-style="italic"');
}

function rowBoxes(x, top, label) {
  rows.forEach(({ token, choice, expert }, row) => {
    box(x, rowY(top, row) + 2, 74, ROW - 3, PALE[expert], `stroke="${HUES[expert]}"`);
    text(x + 37, rowY(top, row) + 15, `t${token}, choice ${choice}`, 'text-anchor="middle" font-size="10.5"');
  });
  text(x + 37, top - 12, label, 'text-anchor="middle" font-style="italic"');
}

/** @param from where the rows that come in end  @param to where those that go out begin */
function experts(x, top, label, from, to) {
  for (let expert = 0; expert < EXPERTS; expert++) {
    const own = rows.map((row, i) => (row.expert === expert ? i : -1)).filter(i => i >= 0);
    const [first, last] = [rowY(top, own[0]) + 2, rowY(top, own.at(-1)) + ROW - 1];
    box(x, first, 96, last - first, '#FFFFFF', `stroke="${HUES[expert]}" stroke-width="2"`);
    text(x + 48, (first + last) / 2 + 4, `expert ${expert}`, 'text-anchor="middle" font-weight="bold"');
    for (const i of own) {
      const y = rowY(top, i) + ROW / 2;
      arrow(from + 2, y, x - 3, y, HUES[expert]);
      arrow(x + 99, y, to - 3, y, HUES[expert]);
    }
  }
  text(x + 48, top - 12, label, 'text-anchor="middle" font-style="italic"');
}

function choices(x, top) {
  slots.forEach(({ token, choice, expert }) => {
    box(x + 27 * choice, tokenY(top, token) + 8, 25, TOKEN - 16, PALE[expert], `stroke="${HUES[expert]}"`);
    text(x + 27 * choice + 12.5, tokenY(top, token) + TOKEN / 2 + 4, expert, 'text-anchor="middle"');
  });
  text(x + 26, top - 12, 'expert ids [T, k]', 'text-anchor="middle" font-style="italic"');
}

function plan(x, top) {
  const counts = Array.from({ length: EXPERTS }, (_, e) => rows.filter(({ expert }) => expert === e).length);
  const offsets = counts.map((_, e) => counts.slice(0, e).reduce((sum, count) => sum + count, 0));
  const rank = slots.map(({ slot, expert }) => rowOf(slot) - offsets[expert]);
  const table = [
    ['counts [E]', counts.join('  ')],
    ['offsets [E+1]', [...offsets, slots.length].join('  ')],
    ['rank [N]', rank.join(' ')],
    ['slot → row [N]', slots.map(({ slot }) => rowOf(slot)).join(' ')],
    ['row → slot [N]', rows.map(({ slot }) => slot).join(' ')],
    ['row → token [N]', rows.map(({ token }) => token).join(' ')],
  ];
  table.forEach(([name, numbers], i) => {
    text(x, top + 14 + 38 * i, name, `fill="${GREY}"`);
    text(x, top + 30 + 38 * i, numbers, 'font-family="DejaVu Sans Mono, Consolas, monospace" font-size="10.5"');
  });
  text(x + 70, top - 12, 'the plan', 'text-anchor="middle" font-style="italic"');
}

function forward(top) {
  const x = { tokens: 24, ids: 128, plan: 222, rows: 486, experts: 622, back: 780, out: 1090 };
  tokens(x.tokens, top, 'x [T, D]');
  for (const token of CHOICES.keys())
    arrow(x.tokens + 64, tokenY(top, token) + TOKEN / 2, x.ids - 3, tokenY(top, token) + TOKEN / 2, '#8F8F8F');
  choices(x.ids, top);
  plan(x.plan, top);
  rowBoxes(x.rows, top, 'rows [N, D]');
  rows.forEach(({ token }, row) => {
    text(x.rows - 12, rowY(top, row) + 14, `← t${token}`, `text-anchor="end" font-size="10.5" fill="${GREY}"`);
  });
  experts(x.experts, top, 'grouped products', x.rows + 74, x.back);
  rowBoxes(x.back, top, 'rows [N, D]');
  for (const { slot, token, choice, expert } of slots)
    arrow(
      x.back + 76,
      rowY(top, rowOf(slot)) + ROW / 2,
      x.out - 3,
      tokenY(top, token) + TOKEN / 2 + (choice === 0 ? -6 : 6),
      HUES[expert],
    );
  tokens(x.out, top, 'y [T, D]');
}

function backward(top) {
  const x = { dout: 24, dy: 330, experts: 472, dx: 636, out: 1090 };
  tokens(x.dout, top, 'gradient of y');
  for (const { slot, token, choice, expert } of slots)
    arrow(
      x.dout + 64,
      tokenY(top, token) + TOKEN / 2 + (choice === 0 ? -5 : 5),
      x.dy - 3,
      rowY(top, rowOf(slot)) + ROW / 2,
      HUES[expert],
    );
  rowBoxes(x.dy, top, 'gradient of rows');
  experts(x.experts, top, 'gradients of products', x.dy + 74, x.dx);
  rowBoxes(x.dx, top, 'gradient of rows');
  for (const { slot, token, choice, expert } of slots)
    arrow(
      x.dx + 76,
      rowY(top, rowOf(slot)) + ROW / 2,
      x.out - 3,
      tokenY(top, token) + TOKEN / 2 + (choice === 0 ? -6 : 6),
      HUES[expert],
    );
  tokens(x.out, top, 'gradient of x');
}

box(0, 0, WIDTH, HEIGHT, '#FFFFFF');
text(
  24,
  32,
  'How tokens reach their experts and come back: every pass is a gather',
  'font-size="18" font-weight="bold"',
);
text(
  24,
  52,
  `Six tokens, k = 2 choices, E = 3 experts, N = T·k = 12 rows. An arrow is a row that is read; who writes a row reads all that it needs, in the order of the choices.`,
  `fill="${GREY}"`,
);
forward(100);
lines(24, 366, ['1 choose', 'an invocation per token', '2 barriers', 'reads T·E·4 bytes,', 'writes T·(E + k)·4']);
lines(222, 366, [
  '2 plan',
  'an expert’s workgroup ranks its',
  'slots; then each finds its row',
  '10 barriers per 4096 slots, then 1',
  '28 bytes a slot',
]);
lines(440, 366, ['3 permute', 'a workgroup per row, 16 bytes at a time', 'no barrier', 'reads T·D·4, writes k·T·D·4']);
lines(676, 366, ['4 experts', 'a workgroup per tile', '2 barriers per 16 terms', '6·N·D·F operations']);
lines(896, 366, [
  '5 combine',
  'a workgroup per token, no barrier',
  'reads k·T·D·4 and the gates, writes T·D·4',
  'sum over choices 0 … k − 1, in that order',
]);
parts.push(`<path d="M24,452H1176" stroke="#BDBDBD"/>`);
text(24, 480, 'Backward: the same plan, read the other way', 'font-size="14" font-weight="bold"');
backward(530);
lines(24, 796, [
  '6 gradient of combine',
  'a workgroup per row and slot, 6 barriers',
  'reads T·D·4 and k·T·D·4, writes k·T·D·4 and T·k gates',
  'row: gate · gradient of its token; gate: a dot product, by a tree',
]);
lines(440, 796, [
  '7 gradients of the experts',
  'the products of 4 with the other operands; each weight sums',
  'over its own rows, in rising order',
]);
lines(896, 796, ['8 gradient of permute', 'a workgroup per token, no barrier', 'reads k·T·D·4, writes T·D·4']);

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="Arial, Liberation Sans, DejaVu Sans, Helvetica, sans-serif" font-size="11.5" fill="#1a1a1a">
<title>The passes of token dispatch, forward and backward</title>
<desc>Six tokens choose two of three experts each. A plan sorts their twelve slots by expert; rows are gathered in that order, pass their experts, and are gathered back and summed in the order of the choices. The backward passes gather along the same plan.</desc>
${parts.join('\n')}
</svg>
`;
writeFileSync(new URL('dispatch-kernel.svg', import.meta.url), svg);
