// Dense model → mixture of experts: every dense FFN of a layer that is planned sparse is copied into its experts.
// All else (attention, norms, embeddings) passes unchanged. ApolloMoE §1.3; Komatsuzaki et al. 2022.
import { type HostFfn, initRouter, type RouterInit, upcycleFfn, upcycleShared } from '../../experts/upcycle.ts';
import type { ModelSpec } from './spec.ts';
import type { HostTensor } from './weights.ts';

export interface UpcycleOptions {
  /** Standard deviation of Gaussian noise on the copies, relative to each tensor's own; 0 copies exactly. */
  noise: number;
  /** Router start of each MoE layer. */
  router: (layer: number) => RouterInit;
  /** Draws from N(0, 1). */
  normal: () => number;
}

/** @param dense tensors of the dense model @param sparse shape of the model to make, equal but for its sparse layers */
export function upcycleTensors(
  dense: ReadonlyMap<string, HostTensor>,
  sparse: ModelSpec,
  { noise, router, normal }: UpcycleOptions,
): Map<string, HostTensor> {
  const { hidden_size: D, numExperts: E, router: settings, decoder } = sparse;
  const F = decoder.moe_intermediate_size;
  const out = new Map(dense);
  sparse.layers.forEach((kind, layer) => {
    if (kind === 'dense') return;
    const at = `model.layers.${layer}.mlp`;
    const from = readFfn(out, at);
    const write = (name: string, ffn: HostFfn): void => {
      out.set(`${name}.gate_proj.weight`, { shape: [F, D], values: ffn.gate_proj });
      out.set(`${name}.up_proj.weight`, { shape: [F, D], values: ffn.up_proj });
      out.set(`${name}.down_proj.weight`, { shape: [D, F], values: ffn.down_proj });
    };
    out.set(`${at}.gate.weight`, { shape: [E, D], values: initRouter(router(layer), E, D, normal) });
    for (const [e, expert] of upcycleFfn(from, E, noise, normal).entries()) write(`${at}.experts.${e}`, expert);
    if (!sparse.shared_expert) return;
    const shared = upcycleShared(from, D, settings.init_std, normal);
    write(`${at}.shared_expert`, shared.ffn);
    out.set(`${at}.shared_expert_gate.weight`, { shape: [1, D], values: shared.sharedGate_1D });
  });
  return out;
}

/** Takes the dense FFN out of the map. */
function readFfn(tensors: Map<string, HostTensor>, at: string): HostFfn {
  const take = (name: keyof HostFfn): Float32Array => {
    const { values } = tensors.get(`${at}.${name}.weight`)!;
    tensors.delete(`${at}.${name}.weight`);
    return values;
  };
  return { gate_proj: take('gate_proj'), up_proj: take('up_proj'), down_proj: take('down_proj') };
}
