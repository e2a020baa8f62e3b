// How many tensors are alive, asked of tfjs's global engine so that tests without tensors never load tfjs.
interface TfjsGlobal {
  _tfengine?: { state: { numTensors: number } };
}

export const tensorCount = (): number => (globalThis as TfjsGlobal)._tfengine?.state.numTensors ?? 0;
