// The results of a GPU run as Markdown, for LOG.md. Times are medians over all rounds, by the GPU's own clock where it has one.

/** @param parts what machine.json, tests.json, dispatch.json and training.json hold, null where one is not there */
export function tableOf({ machine, tests, dispatch, training }) {
  const { card, webgpu, torch, processor, node, commit } = machine;
  const libraries = torch ? `PyTorch ${torch.torch}, Triton ${torch.triton ?? 'absent'}` : 'no PyTorch';
  return [
    `**Machine.** ${card ?? 'no NVIDIA card'}; ${webgpu.why} ${processor}, Node ${node}, ${libraries}; commit ${commit}.`,
    ...(tests ?? []).map(({ name, passed, failed }) => `**Tests, ${name}.** ${passed} passed, ${failed} failed.`),
    ...(dispatch ? dispatchLines(dispatch) : []),
    ...Object.entries(training ?? {}).map(([name, result]) => trainingLine(name, result)),
    '',
  ].join('\n\n');
}

function trainingLine(name, { sides, steps, apart }) {
  const failed = Object.entries(sides).find(([, side]) => side.failed);
  if (failed) return `**Training, ${name}.** ${failed[0]} failed: ${failed[1].failed}`;
  const names = Object.keys(sides).join(' and ');
  return `**Training, ${name}.** ${steps} steps on ${names}: losses at most ${apart.toExponential(1)} apart.`;
}

/** Ours against PyTorch's best way and Triton's, for each piece. */
const ROWS = [
  ['plan', 'plan', 'plan by sort', null],
  ['permute', 'permute', 'permute:', 'permute: triton'],
  ['combine', 'combine', 'combine:', 'combine: triton'],
  ['all three', 'dispatch', 'dispatch: sort', 'dispatch: sort, triton'],
  ['gradient of permute', 'permuteGradient', 'gradient of permute:', 'gradient of permute: triton'],
  ['gradient of combine', 'combineGradient', 'gradient of combine', 'gradient of combine: triton'],
  ['copy', 'copy', 'copy', null],
  ['one-hot products', 'oneHot', 'dispatch: one-hot', null],
  ['product of the experts', 'grouped', 'product of the experts', null],
  ['one product', 'dense', 'one product', null],
];

function dispatchLines({ command, rounds }) {
  const failed = rounds.flatMap(round => Object.entries(round)).filter(([, { failed }]) => failed);
  const lines = [
    `**Dispatch.** \`moe bench dispatch ${command} --backend webgpu\`, ${rounds.length} rounds in turn with PyTorch.`,
  ];
  for (const [side, { failed: why }] of failed) lines.push(`A round of ${side} failed: ${why.split('\n').at(-1)}`);
  const ours = rounds.map(({ ours: side }) => side?.results).filter(Boolean);
  const theirs = rounds.map(({ torch: side }) => side?.results).filter(Boolean);
  for (const first of ours[0] ?? []) lines.push(...shapeLines(first, ours, theirs));
  return lines;
}

const same = (a, b) => ['tokens', 'experts', 'choices', 'width', 'load'].every(key => a[key] === b[key]);

function shapeLines(shape, ours, theirs) {
  const { tokens, width, choices, experts, load, skipped, floorBytes } = shape;
  const pick = sides => sides.map(results => results.find(each => same(each, shape))).filter(Boolean);
  const [mine, torch] = [pick(ours), pick(theirs)];
  const rows = ROWS.map(([name, piece, way, triton]) =>
    row(name, piece, way, triton, mine, torch, floorBytes[piece]),
  ).filter(Boolean);
  const left = Object.entries(skipped).map(([piece, why]) => `Left out: ${piece}: ${why}.`);
  return [
    `${tokens} tokens × ${width}, ${choices} of ${experts} experts, ${load}:`,
    [
      '| | ours, ms (rounds) | GB/s | of copy | clock, ms | PyTorch, ms | its way | Triton, ms | PyTorch / ours | Triton / ours |',
      '|---|---|---|---|---|---|---|---|---|---|',
      ...rows,
    ].join('\n'),
    ...left,
  ];
}

function row(name, piece, way, triton, ours, torch, bytes) {
  const times = ours.map(({ times: of }) => of[piece]).filter(Boolean);
  if (times.length === 0) return null;
  const gpu = times.map(time => time.gpu ?? time.median);
  const ms = median(gpu);
  const copy = median(ours.map(({ times: { copy: of } }) => of && (of.gpu ?? of.median)).filter(Boolean));
  const copyBytes = ours[0].floorBytes.copy;
  const ofCopy = bytes && piece !== 'copy' ? figure(bytes / ms / (copyBytes / copy)) : '';
  const best = bestWay(torch, way, triton);
  const quick = triton ? over(torch, triton) : null;
  const cells = [
    name,
    `${figure(ms)} (${figure(Math.min(...gpu))}–${figure(Math.max(...gpu))})`,
    bytes ? (bytes / ms / 1e6).toFixed(0) : '',
    ofCopy,
    figure(median(times.map(time => time.median))),
    best ? figure(best.ms) : '',
    best?.name ?? '',
    quick ? figure(quick) : '',
    best ? figure(best.ms / ms) : '',
    quick ? figure(quick / ms) : '',
  ];
  return `| ${cells.join(' | ')} |`;
}

/** PyTorch's fastest way of a kind, Triton's left out. */
function bestWay(torch, way, triton) {
  const names = Object.keys(torch[0]?.times ?? {}).filter(name => name.startsWith(way) && name !== triton);
  const all = names.map(name => ({ name: name.replace(/^[^:]*: /, ''), ms: over(torch, name) }));
  return all.sort((a, b) => a.ms - b.ms)[0] ?? null;
}

const over = (torch, name) => {
  const times = torch.map(({ times: of }) => of[name]?.median).filter(ms => ms !== undefined);
  return times.length > 0 ? median(times) : null;
};

function median(values) {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const figure = value => (Number.isFinite(value) ? value.toLocaleString('en-US', { maximumSignificantDigits: 3 }) : '');
