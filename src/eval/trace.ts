// Runs a model over documents and writes down where every token went: the trace that analysis/ reads.
import type { CountRow, Trace, TraceColumns, TraceHeader } from '../../routing/trace.ts';
import { TRACE_VERSION } from '../../routing/trace.ts';
import type { RoutingMode } from '../../routing/types.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Batch, TokenDocument } from '../data/types.ts';
import type { Model } from '../model/weights.ts';
import { documentLosses, type EvaluateOptions } from './evaluate.ts';

export interface TraceRequest {
  model: Model;
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

/** Padding is routed but never written. Columns are in batch order, the slots of a token in a layer side by side. */
export async function recordTrace(
  request: TraceRequest,
  options: Omit<EvaluateOptions, 'mode' | 'onRouting'>,
): Promise<Trace> {
  const { model, map, documents, step } = request;
  const columns = growingColumns();
  const counts = new Map<string, CountRow>();
  let places: Places | null = null;
  const before = new Int32Array(documents.length);
  await documentLosses(model, documents, map.languages, {
    ...options,
    mode: request.mode,
    onRouting: (layer, { expertId_TK, gate_TK, k }, batch) => {
      if (places?.batch !== batch) places = placesOf(batch, before);
      const gate = gate_TK.dataSync();
      for (let t = 0; t < batch.document_BS.length; t++) {
        const document = batch.document_BS[t];
        if (document < 0) continue;
        const language = batch.language_BS[t];
        const mass = sumOf(gate, t * k, k);
        for (let slot = 0; slot < k; slot++) {
          const expert = expertId_TK[t * k + slot];
          if (expert < 0) continue;
          const weight = gate[t * k + slot];
          const position = places.position_T[t];
          columns.push({ step, document, position, token: batch.inputId_BS[t], language, layer, slot, expert, gate: weight });
          const key = `${layer}/${language}/${expert}`;
          const row = counts.get(key) ?? { step, layer, language, expert, count: 0, gate: 0 };
          counts.set(key, row);
          row.count++;
          row.gate += mass > 0 ? weight / mass : 0;
        }
      }
    },
  });
  const here = [...counts.values()].sort((a, b) => a.layer - b.layer || a.language - b.language || a.expert - b.expert);
  const earlier = request.history.filter(row => row.step < step);
  return { header: headerOf(request), columns: columns.finish(), counts: [...earlier, ...here] };
}

/** Place of each token in its document. Windows of a document come in order, so a count per document is enough. */
interface Places {
  batch: Batch;
  position_T: Int32Array;
}

function placesOf(batch: Batch, before: Int32Array): Places {
  const position_T = batch.document_BS.map(document => (document < 0 ? -1 : before[document]++));
  return { batch, position_T };
}

function sumOf(values: ArrayLike<number>, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += values[i];
  return sum;
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

/** Typed arrays that double when full. */
function growingColumns() {
  const names = ['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert'] as const;
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
