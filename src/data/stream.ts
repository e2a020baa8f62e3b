// The endless stream of training batches, and its cursor. The order of documents is a pure function of the seed, so the cursor
// is a handful of counts and the windows left over from the last batch; restoring it gives the same bits from there on.
import { createHash } from 'node:crypto';
import { UserError } from '../errors.ts';
import { type DocumentOrder, fixedOrder, mixtureOrder, type OrderState } from './order.ts';
import { type PackOptions, packBatch, type Window, windowsOf } from './pack.ts';
import type { BatchStream, CursorState, TokenDocument } from './types.ts';

export interface StreamOptions extends PackOptions {
  /** Languages in these shares (mixture.ts), or the documents in this order, over and over (weightedDraw). */
  order: { share_G: Float64Array; seed: string | number } | { list: ArrayLike<number> };
}

interface Cursor {
  version: 1;
  /** SHA-256 of everything the stream is a function of. */
  fingerprint: string;
  order: OrderState;
  /** Windows taken from the order but not yet in a batch. */
  waiting: Window[];
}

/** Opens the stream, at its start or where a saved cursor stands.
 *  Errors: no document; a cursor of other documents, another mixture, seed, batch shape or packing. */
export function openStream(documents: TokenDocument[], options: StreamOptions, cursor?: CursorState): BatchStream {
  if (documents.length === 0) throw new UserError('there is no training document; add a source of text');
  const fingerprint = fingerprintOf(documents, options);
  const from = cursor === undefined ? undefined : readCursor(cursor, fingerprint);
  const order = openOrder(documents, options.order, from?.order);
  let waiting: Window[] = from === undefined ? [] : from.waiting.map(window => ({ ...window }));

  const take = (): Window => {
    if (waiting.length === 0) waiting = windowsOf(documents, order.next(), options.sequence);
    return waiting.shift()!;
  };
  return {
    next() {
      const { batch, rest } = packBatch(documents, take, options);
      waiting.unshift(...rest);
      return batch;
    },
    state() {
      const state: Cursor = { version: 1, fingerprint, order: order.state(), waiting: waiting.map(w => ({ ...w })) };
      return { ...state };
    },
  };
}

function openOrder(documents: TokenDocument[], order: StreamOptions['order'], from?: OrderState): DocumentOrder {
  return 'list' in order ? fixedOrder(order.list, from) : mixtureOrder(documents, order.share_G, order.seed, from);
}

function readCursor(state: CursorState, fingerprint: string): Cursor {
  if (state.version !== 1 || typeof state.fingerprint !== 'string') {
    throw new UserError('the saved data cursor is not one this version wrote; resume from another checkpoint');
  }
  if (state.fingerprint !== fingerprint) {
    throw new UserError(
      'the data has changed since the checkpoint (documents, tokenizer, mixture, seed, batch shape or packing differ); ' +
        'resume with the data and settings it was saved with, or start a new run',
    );
  }
  return state as unknown as Cursor;
}

function fingerprintOf(documents: TokenDocument[], options: StreamOptions): string {
  const hash = createHash('sha256');
  for (const { id, language, ids, learn } of documents) {
    hash.update(`${id}\0${language}\0${ids.length}\0`).update(ids);
    if (learn !== undefined) hash.update(learn);
  }
  const { order, batch, sequence, packing, padId } = options;
  hash.update(JSON.stringify({ batch, sequence, packing, padId }));
  if ('list' in order) hash.update(Int32Array.from(order.list));
  else hash.update(`seed ${order.seed}`).update(order.share_G);
  return hash.digest('hex');
}
