// `moe bench dispatch`: what moving tokens to their experts and back costs on this machine, for many shapes and loads.
import { totalmem } from 'node:os';
import {
  combinations,
  type DispatchResult,
  type DispatchShape,
  PIECES,
  type Piece,
  SWEEPS,
  timeDispatch,
} from '../bench/dispatch.ts';
import type { LoadKind } from '../bench/loads.ts';
import { UserError } from '../errors.ts';
import { type Common, measured } from './bench.ts';
import { type Output, table } from './output.ts';

interface Options extends Common {
  repeats: number;
  full?: boolean;
  tokens?: number[];
  experts?: number[];
  choices?: number[];
  width?: number[];
  load?: LoadKind[];
  memory?: number;
}

/** A piece that takes this long is run once. */
const PIECE_MS = 3000;
/** WebAssembly has 4 GiB, and the copy of an array that is made into a tensor takes from it too. */
const MOST_WASM = 3 * 2 ** 30;

export async function benchDispatch(options: Options): Promise<void> {
  const sweep = options.full ? SWEEPS.full : SWEEPS.small;
  const { tokens, experts, choices, width, load } = { ...sweep, ...given(options) };
  const shapes = combinations({ tokens, experts, choices, width, load });
  if (shapes.length === 0)
    throw new UserError(
      `--choices ${choices} is more than --experts ${experts}: a token chooses different experts; give fewer choices.`,
    );
  await measured(
    'dispatch',
    options,
    options.repeats,
    async (repeats, backend) => {
      const bytes = options.memory ? options.memory * 2 ** 30 : totalmem() / 2;
      const limits = { bytes: backend === 'wasm' ? Math.min(MOST_WASM, bytes) : bytes, pieceMs: PIECE_MS };
      const results: DispatchResult[] = [];
      for (const shape of shapes) {
        if (shapes.length > 1) process.stderr.write(`  ${results.length + 1} of ${shapes.length}: ${words(shape)}\n`);
        results.push(await timeDispatch(shape, options.seed, repeats, limits));
      }
      return { shape: { tokens, experts, choices, width, load }, results };
    },
    report,
  );
}

function given({ tokens, experts, choices, width, load }: Options): Partial<Record<keyof DispatchShape, never>> {
  const lists = { tokens, experts, choices, width, load };
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined));
}

const words = ({ tokens, choices, experts, width, load }: DispatchShape): string =>
  `${tokens} tokens × ${width}, ${choices} of ${experts} experts, ${load}`;

const NAMES: Record<Piece, string> = {
  plan: 'plan',
  permute: 'permute',
  combine: 'combine',
  dispatch: 'all three',
  permuteGradient: 'gradient of permute',
  combineGradient: 'gradient of combine',
  copy: 'copy of as many bytes',
  oneHot: 'one-hot products',
  sort: 'sort, gather, add',
  grouped: 'product of the experts',
  dense: 'one product',
};

function report(out: Output, { results }: { shape: object; results: DispatchResult[] }): void {
  for (const result of results) {
    const { columns, imbalance, times, skipped } = result;
    out.say(words(result));
    if (Object.keys(times).length === 0) {
      out.say(`    left out: ${skipped.plan}\n`);
      continue;
    }
    const onGpu = PIECES.some(piece => times[piece]?.gpu !== undefined);
    const header = ['', 'runs', 'median ms', 'min', 'max', ...(onGpu ? ['GPU ms'] : []), 'GB/s', ''];
    const rows = PIECES.flatMap(piece => row(result, piece, onGpu));
    out.say(table(header, rows, '    '));
    for (const [piece, why] of Object.entries(skipped)) out.say(`    left out: ${NAMES[piece as Piece]}: ${why}`);
    out.say(`    The fullest expert has ${imbalance.toFixed(2)} × its share; products to ${columns} columns.\n`);
  }
}

function row({ times, bytesPerSecond, ratios }: DispatchResult, piece: Piece, onGpu: boolean): (string | number)[][] {
  const time = times[piece];
  if (!time) return [];
  const rate = bytesPerSecond[piece];
  const numbers = [time.median, time.min, time.max, ...(onGpu ? [time.gpu ?? Number.NaN] : [])];
  const of = ratios as Partial<Record<Piece, number>>;
  const ratio = of[piece] === undefined ? '' : `${of[piece].toPrecision(3)} ${RATIOS[piece]}`;
  return [[NAMES[piece], time.ms.length, ...numbers.map(figure), rate ? (rate / 1e9).toFixed(1) : '', ratio]];
}

const copied = '× the speed of a copy';
const RATIOS: Partial<Record<Piece, string>> = {
  permute: copied,
  combine: copied,
  permuteGradient: copied,
  combineGradient: copied,
  oneHot: '× the time of all three',
  sort: '× the time of all three',
  grouped: '× the speed of one product',
};

const FOUR = { minimumSignificantDigits: 4, maximumSignificantDigits: 4 };
const figure = (ms: number): string => (Number.isNaN(ms) ? '' : ms.toLocaleString('en-US', FOUR));
