// What moving tokens to their experts and back costs: every piece by itself, a copy of as many bytes, the two usual ways, and
// the experts' product. Shapes: T tokens, k choices, N = T·k rows, E experts, D width, F columns of the product; fp32.
//   Least bytes: permute and combine each (1 + k)·T·D·4; the gradient of combine (1 + 2k)·T·D·4, as it reads the rows too.
import { type DispatchPlan, planDispatch } from '../../experts/dispatch/plan.ts';
import { dropIntegers, type Integers } from '../engine/integers.ts';
import { groupedLinear } from '../engine/ops/grouped-linear.ts';
import { linear } from '../engine/ops/linear.ts';
import { type Tensor, type Tensor2D, tf } from '../engine/tf.ts';
import { dropFreeBuffers } from '../engine/webgpu/drop-free-buffers.ts';
import { gpuOf } from '../engine/webgpu/gpu.ts';
import { createRng } from '../train/rng.ts';
import { timesOfCopy } from './copy.ts';
import {
  combineGradient,
  combineRows,
  dispatch,
  dispatchByMasks,
  dispatchBySort,
  idsFor,
  maskColumns,
  oneHotMasks,
  permute,
  permuteGradient,
  planOf,
  tensorsOf,
} from './dispatch-paths.ts';
import { expertIds, type LoadKind, type LoadShape } from './loads.ts';
import { normals } from './random.ts';
import { type Times, taken, timesOf, type Work } from './stopwatch.ts';
import type { Repeats } from './timing.ts';

/** One combination of the sweep. */
export interface DispatchShape extends LoadShape {
  width: number;
  load: LoadKind;
}

/** The sweeps: `small` takes a minute on two cores, `full` is for a GPU. */
export const SWEEPS = {
  small: { tokens: [1024, 4096], experts: [8], choices: [2], width: [896], load: ['balanced', 'zipf'] },
  full: {
    tokens: [1024, 2048, 4096, 8192, 16384, 32768, 65536],
    experts: [7, 8, 64, 128],
    choices: [1, 2, 8],
    width: [896, 2048, 4096],
    load: ['balanced', 'zipf', 'one-hot', 'empty', 'burst'],
  },
} satisfies Record<string, { [Key in keyof DispatchShape]: DispatchShape[Key][] }>;

export interface Limits {
  /** Bytes that all tensors of a combination may take together. */
  bytes: number;
  /** Milliseconds after which a piece is not repeated. */
  pieceMs: number;
}

export const PIECES = [
  'plan',
  'permute',
  'combine',
  'dispatch',
  'permuteGradient',
  'combineGradient',
  'copy',
  'oneHot',
  'sort',
  'grouped',
  'dense',
] as const;
export type Piece = (typeof PIECES)[number];

export interface DispatchResult extends DispatchShape {
  /** F. */
  columns: number;
  /** Slots of the fullest expert over the even share. */
  imbalance: number;
  /** How many sets of inputs take turns. */
  sets: number;
  floorBytes: Partial<Record<Piece, number>>;
  times: Partial<Record<Piece, Times>>;
  /** Floor bytes over time; for the copy, the bytes that it reads and writes. */
  bytesPerSecond: Partial<Record<Piece, number>>;
  /** Speed of each movement over that of the copy; time of each usual way over the whole dispatch; speed of the experts' product
   *  over that of one product of as many rows. */
  ratios: Partial<Record<Exclude<Piece, 'plan' | 'dispatch' | 'copy' | 'dense'>, number>>;
  /** Pieces that were left out, each with the reason. */
  skipped: Partial<Record<Piece, string>>;
}

/** Every combination of the lists, those left out in which a token has more choices than there are experts. */
export function combinations(lists: { [Key in keyof DispatchShape]: readonly DispatchShape[Key][] }): DispatchShape[] {
  const all = lists.width.flatMap(width =>
    lists.experts.flatMap(experts =>
      lists.choices.flatMap(choices =>
        lists.tokens.flatMap(tokens => lists.load.map(load => ({ tokens, choices, experts, width, load }))),
      ),
    ),
  );
  return all.filter(({ experts, choices }) => choices <= experts);
}

/** Bytes that must move: each row of a source once from memory, each row of the answer once to it. */
export function floorBytes({ tokens, choices, width }: DispatchShape): Partial<Record<Piece, number>> {
  const rows = (count: number): number => count * tokens * width * 4;
  const once = rows(1 + choices);
  return {
    permute: once,
    combine: once,
    dispatch: 2 * once,
    permuteGradient: once,
    combineGradient: rows(1 + 2 * choices),
    copy: once,
  };
}

/** Columns of the experts' product: as many as are wide, up to this, so that the weights of 128 experts fit. */
const MOST_COLUMNS = 1024;
/** On a GPU, inputs take turns until they are together larger than its caches. */
const BEYOND_CACHES = 2 ** 28;
const MOST_SETS = 8;

interface Rows {
  x_TD: Tensor2D;
  dout_TD: Tensor2D;
  y_MD: Tensor2D;
  dy_MD: Tensor2D;
}

/** What the pieces work on. */
interface Inputs {
  expertId_TK: Int32Array;
  hostPlan: DispatchPlan<Int32Array>;
  ids: Integers;
  plan: DispatchPlan;
  gate_TK: Tensor2D;
  /** Sets of rows that take turns. */
  turn(run: number): Rows;
  dispose(): void;
}

/** Times all pieces of one combination on the running backend. */
export async function timeDispatch(
  shape: DispatchShape,
  seed: number,
  repeats: Repeats,
  limits: Limits,
): Promise<DispatchResult> {
  const sets = setsOf(shape);
  const result = emptyResult(shape, sets);
  const refuse = (bytes: number, largest: number): string | null => tooLarge(bytes, largest, limits);
  const reason = refuse(bytesOf(shape, sets), bytesOf(shape, 0));
  if (reason) return { ...result, skipped: Object.fromEntries(PIECES.map(piece => [piece, reason])) };
  const inputs = prepare(shape, seed, sets);
  result.imbalance = imbalanceOf(inputs.hostPlan);
  const often = { ...repeats, warmup: Math.max(repeats.warmup, sets) };
  const time = async (piece: Piece, work: Work): Promise<void> => {
    result.times[piece] = await timesOf(work, often, limits.pieceMs);
  };
  for (const [piece, work] of Object.entries(movement(shape, inputs))) await time(piece as Piece, work);
  result.times.copy = await timesOfCopy(result.floorBytes.copy! / 8, sets, often, limits.pieceMs);
  const tooWide = await timeMasks(shape, inputs, time, refuse);
  if (tooWide) result.skipped.oneHot = tooWide;
  const tooMany = await timeProducts(shape, inputs, seed, time, refuse);
  if (tooMany) Object.assign(result.skipped, { grouped: tooMany, dense: tooMany });
  inputs.dispose();
  if (tf.getBackend() === 'webgpu') await dropFreeBuffers(gpuOf(tf.backend()));
  return { ...result, ...speeds(result) };
}

const emptyResult = (shape: DispatchShape, sets: number): DispatchResult => {
  const columns = Math.min(shape.width, MOST_COLUMNS);
  const none = { times: {}, bytesPerSecond: {}, ratios: {}, skipped: {} };
  return { ...shape, columns, imbalance: 1, sets, floorBytes: floorBytes(shape), ...none };
};

/** Bytes of so many sets of rows, and of two answers. */
const bytesOf = ({ tokens, choices, width }: DispatchShape, sets: number): number =>
  4 * tokens * width * (sets * 2 * (1 + choices) + 2 * choices);

/** A sentence where that much memory is not to be had; `largest` are the bytes of the largest tensors. */
function tooLarge(bytes: number, largest: number, limits: Limits): string | null {
  const binding =
    tf.getBackend() === 'webgpu' ? gpuOf(tf.backend()).device.limits.maxStorageBufferBindingSize : Infinity;
  const mib = (size: number): string =>
    `${(size / 2 ** 20).toLocaleString('en-US', { maximumSignificantDigits: 3 })} MiB`;
  if (largest > binding) return `a tensor of ${mib(largest)} is above the GPU's ${mib(binding)} for one buffer`;
  return bytes > limits.bytes ? `takes ${mib(bytes)}, more than ${mib(limits.bytes)}` : null;
}

function setsOf({ tokens, width }: DispatchShape): number {
  if (tf.getBackend() !== 'webgpu') return 1;
  return Math.min(MOST_SETS, Math.max(1, Math.ceil(BEYOND_CACHES / (4 * tokens * width))));
}

function prepare(shape: DispatchShape, seed: number, sets: number): Inputs {
  const { tokens, choices, experts, width, load } = shape;
  const expertId_TK = expertIds(load, shape, createRng(`${seed}/${load}`));
  const matrix = matrices(`${seed}/rows`);
  const [x_TD, dout_TD] = [0, 1].map(() => matrix(tokens, width));
  const [y_MD, dy_MD] = [0, 1].map(() => matrix(tokens * choices, width));
  const copied = (tensor: Tensor2D): Tensor2D => tf.add(tensor, 0);
  const rows: Rows[] = Array.from({ length: sets }, (_, set) =>
    set === 0
      ? { x_TD, dout_TD, y_MD, dy_MD }
      : { x_TD: copied(x_TD), dout_TD: copied(dout_TD), y_MD: copied(y_MD), dy_MD: copied(dy_MD) },
  );
  const gate_TK = tf.tidy(() => tf.softmax(matrix(tokens, choices)));
  const ids = idsFor(expertId_TK, choices);
  const plan = planOf(ids, choices, experts);
  return {
    expertId_TK,
    hostPlan: planDispatch(expertId_TK, choices, experts),
    ids,
    plan,
    gate_TK,
    turn: run => rows[run % sets],
    dispose() {
      tf.dispose([...rows.flatMap(each => Object.values(each) as Tensor[]), gate_TK, ...tensorsOf(plan)]);
      dropIntegers(ids);
    },
  };
}

/** Matrices of normal numbers, in the backend's own memory as the outputs of a layer before would be. */
function matrices(seed: string): (rows: number, columns: number) => Tensor2D {
  const draw = normals(seed);
  return (rows, columns) => tf.tidy(() => tf.add<Tensor2D>(tf.tensor2d(draw(rows * columns, 1), [rows, columns]), 0));
}

/** Slots of the fullest expert over the even share. */
function imbalanceOf({ offsets_E1, slot_M }: DispatchPlan<Int32Array>): number {
  const experts = offsets_E1.length - 1;
  return (maskColumns({ offsets_E1 }) / experts / slot_M.length) * experts;
}

/** The pieces that move rows, in the order that they are timed. */
function movement({ choices, experts }: DispatchShape, inputs: Inputs): Partial<Record<Piece, Work>> {
  const { ids, plan, gate_TK, turn } = inputs;
  return {
    plan: () => tensorsOf(planOf(ids, choices, experts)),
    permute: run => [permute(turn(run).x_TD, plan)],
    combine: run => [combineRows(turn(run).y_MD, gate_TK, plan)],
    dispatch: run => [dispatch(turn(run).x_TD, gate_TK, ids, experts)],
    permuteGradient: run => [permuteGradient(turn(run).x_TD, turn(run).dy_MD, plan, choices)],
    combineGradient: run => combineGradient(turn(run).y_MD, gate_TK, turn(run).dout_TD, plan),
    sort: run => [dispatchBySort(turn(run).x_TD, gate_TK, ids)],
  };
}

type TimePiece = (piece: Piece, work: Work) => Promise<void>;
type Refuse = (bytes: number, largest: number) => string | null;

/** Dispatch by one-hot products; answers why not, if not. */
async function timeMasks(
  shape: DispatchShape,
  inputs: Inputs,
  time: TimePiece,
  refuse: Refuse,
): Promise<string | null> {
  const columns = maskColumns(inputs.hostPlan);
  const mask = 4 * shape.tokens * columns;
  const reason = refuse((2 * shape.choices + 3) * mask + bytesOf(shape, 1), mask);
  if (reason) return `masks of ${shape.tokens} × ${columns}: ${reason}`;
  const masks = oneHotMasks(inputs.expertId_TK, inputs.gate_TK, inputs.hostPlan);
  await time('oneHot', run => [dispatchByMasks(inputs.turn(run).x_TD, masks)]);
  tf.dispose([masks.sends_TR, masks.returns_TR]);
  return null;
}

/** The experts' product of all rows, and one product of as many rows; answers why not, if not. */
async function timeProducts(
  shape: DispatchShape,
  { plan, turn }: Inputs,
  seed: number,
  time: TimePiece,
  refuse: Refuse,
): Promise<string | null> {
  const columns = Math.min(shape.width, MOST_COLUMNS);
  const weights = 4 * shape.experts * columns * shape.width;
  const reason = refuse(weights + bytesOf(shape, 1), weights / shape.experts);
  if (reason) return reason;
  const matrix = matrices(`${seed}/weights`);
  const w_EFD = Array.from({ length: shape.experts }, () => matrix(columns, shape.width));
  await time('grouped', run => [groupedLinear(turn(run).y_MD, w_EFD, plan.offsets_E1)]);
  await time('dense', run => [linear(turn(run).y_MD, w_EFD[0])]);
  tf.dispose(w_EFD);
  return null;
}

/** Rates and ratios of what has been timed. */
export function speeds({
  times,
  floorBytes,
}: Pick<DispatchResult, 'times' | 'floorBytes'>): Pick<DispatchResult, 'bytesPerSecond' | 'ratios'> {
  const rate = (piece: Piece): [Piece, number][] => {
    const [bytes, time] = [floorBytes[piece], times[piece]];
    return bytes === undefined || time === undefined ? [] : [[piece, bytes / (taken(time) / 1000)]];
  };
  const bytesPerSecond: DispatchResult['bytesPerSecond'] = Object.fromEntries(PIECES.flatMap(rate));
  const over = (one?: number, other?: number): number | undefined =>
    one === undefined || other === undefined ? undefined : one / other;
  const ms = (piece: Piece): number | undefined => times[piece] && taken(times[piece]);
  const { copy } = bytesPerSecond;
  const ratios = {
    permute: over(bytesPerSecond.permute, copy),
    combine: over(bytesPerSecond.combine, copy),
    permuteGradient: over(bytesPerSecond.permuteGradient, copy),
    combineGradient: over(bytesPerSecond.combineGradient, copy),
    oneHot: over(ms('oneHot'), ms('dispatch')),
    sort: over(ms('sort'), ms('dispatch')),
    grouped: over(ms('dense'), ms('grouped')),
  };
  return { bytesPerSecond, ratios };
}
