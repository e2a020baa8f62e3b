// Runs a model over documents and writes down where every token went: the trace that analysis/ reads.
import type { CountRow, Trace, TraceColumns, TraceHeader } from '../../routing/trace.ts';
import { TRACE_VERSION } from '../../routing/trace.ts';
import type { RoutingMode } from '../../routing/types.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Batch, TokenDocument } from '../data/types.ts';
import { documentLosses, type Evaluated, type EvaluateOptions } from './evaluate.ts';
import { routingCounter } from './routing-counter.ts';

export interface TraceRequest {
  model: Evaluated;
  map: FamilyMap;
  documents: TokenDocument[];
  mode: RoutingMode;
  /** Names for the header. */
  run: string;
  modelName: string;
  step: number;
  /** Training bytes by language id; 0 marks a zero-text language. */
  trainingBytes: ArrayLike<number>;
  /** Counts of earlier steps (recorded while training), put before this step's. */
  history: CountRow[];
}

/** Padding and the end of text are routed but never written. Rows are in batch order, the slots of a token in a layer side by side. */
export async function recordTrace(
  request: TraceRequest,
  options: Omit<EvaluateOptions, 'mode' | 'onRouting'>,
): Promise<Trace> {
  const { model, map, documents, step } = request;
  const columns = growingColumns();
  const counter = routingCounter(options.padId);
  let places: Places | null = null;
  const read = new Int32Array(documents.length);
  await documentLosses(model, documents, map.languages, {
    ...options,
    mode: request.mode,
    keptPerSlot: SLOT_BYTES,
    onRouting: (routing, batch) => {
      if (places?.batch !== batch) places = placesOf(batch, documents, read);
      counter.add(routing, batch);
      const { layer, expertId_TK, gate_TK, k } = routing;
      for (let slot = 0; slot < expertId_TK.length; slot++) {
        const t = Math.floor(slot / k);
        const special = batch.document_BS[t] < 0 || batch.inputId_BS[t] === options.padId;
        if (special || expertId_TK[slot] < 0) continue;
        columns.push({
          step,
          document: batch.document_BS[t],
          position: places.position_T[t],
          token: batch.inputId_BS[t],
          language: batch.language_BS[t],
          layer,
          slot: slot % k,
          expert: expertId_TK[slot],
          gate: gate_TK[slot],
          special: 0,
        });
      }
    },
  });
  const earlier = request.history.filter(row => row.step < step);
  return { header: headerOf(request), columns: columns.finish(), counts: [...earlier, ...counter.rows(step)] };
}

/** Place of each token of a batch in its document. */
interface Places {
  batch: Batch;
  position_T: Int32Array;
}

/** Whole windows of a document come in order, but its shorter last one may be packed before them, in a gap.
 *  @param read positions given to whole windows so far, by document */
function placesOf(batch: Batch, documents: TokenDocument[], read: Int32Array): Places {
  const { document_BS, segment_BS, position_BS, sequence } = batch;
  const position_T = new Int32Array(document_BS.length).fill(-1);
  for (let start = 0, end = 0; start < position_T.length; start = end) {
    end = start + 1;
    const document = document_BS[start];
    if (document < 0) continue;
    while (end % sequence !== 0 && segment_BS[end] === segment_BS[start]) end++;
    const whole = end - start === sequence;
    const from = whole ? read[document] : documents[document].ids.length - (end - start);
    if (whole) read[document] += sequence;
    for (let t = start; t < end; t++) position_T[t] = from + position_BS[t];
  }
  return { batch, position_T };
}

function headerOf({ model, map, documents, mode, run, modelName, trainingBytes }: TraceRequest): TraceHeader {
  const { spec } = model;
  return {
    version: TRACE_VERSION,
    run,
    model: modelName,
    routing: mode,
    numExperts: spec.numExperts,
    expertsPerToken: spec.num_experts_per_tok,
    numLayers: spec.num_hidden_layers,
    moeLayers: spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : [])),
    normalised: spec.norm_topk_prob,
    expertNames: map.expertNames,
    languages: map.languages.map(({ code, name, script, family, expert, index }) => ({
      code,
      name,
      script,
      family,
      expert,
      trainingBytes: trainingBytes[index],
    })),
    documents: documents.map(({ id, item, language, source, domain }) => ({
      id,
      item,
      language: map.languages[language].code,
      source,
      domain,
    })),
  };
}

type Row = Record<keyof TraceColumns, number>;

/** Ten columns of four bytes, at their largest three times: as they are, grown by half, and as they are handed on. */
const SLOT_BYTES = 3 * 10 * 4;

/** Typed arrays that double when full. */
function growingColumns() {
  const names = ['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert', 'special'] as const;
  let room = 1 << 16;
  let length = 0;
  const ints = Object.fromEntries(names.map(name => [name, new Int32Array(room)])) as Record<string, Int32Array>;
  let gate = new Float32Array(room);
  const grow = (): void => {
    room *= 2;
    for (const name of names) {
      const larger = new Int32Array(room);
      larger.set(ints[name]);
      ints[name] = larger;
    }
    const larger = new Float32Array(room);
    larger.set(gate);
    gate = larger;
  };
  return {
    push(row: Row): void {
      if (length === room) grow();
      for (const name of names) ints[name][length] = row[name];
      gate[length++] = row.gate;
    },
    finish: (): TraceColumns =>
      ({
        ...Object.fromEntries(names.map(name => [name, ints[name].slice(0, length)])),
        gate: gate.slice(0, length),
      }) as unknown as TraceColumns,
  };
}
