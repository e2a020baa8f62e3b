// What a Qwen2-shaped decoder with plain top-k routing cannot express is refused: a file that loads elsewhere and computes
// something else is worse than none.
import { UserError } from '../../errors.ts';
import { expertCounts, type ModelSpec } from '../../model/spec.ts';

/** @param target as --to names it. @throws UserError naming the first feature that the target lacks */
export function refuseUnlikeQwen2(spec: ModelSpec, target: string): void {
  const why = decoderFeature(spec) ?? routingFeature(spec);
  if (why === null) return;
  throw new UserError(
    `--to ${target} cannot express this model: it has ${why}; use --to safetensors, which keeps everything for moe.`,
  );
}

function decoderFeature({ decoder, hidden_size, num_attention_heads }: ModelSpec): string | null {
  if (decoder.o_bias) return 'a bias in the output projection of attention';
  if (decoder.qk_norm !== 'none') return 'norms of queries and keys';
  if (decoder.clip_qkv !== null) return 'limits on queries, keys and values (clip_qkv)';
  if (decoder.rope_scaling !== null) return `stretched rotary positions (${decoder.rope_scaling.rope_type})`;
  if (decoder.window_L.some(window => window !== null)) return 'sliding windows';
  const width = hidden_size / num_attention_heads;
  if (decoder.head_dim !== width) return `heads ${decoder.head_dim} wide instead of ${width}`;
  return null;
}

function routingFeature(spec: ModelSpec): string | null {
  if (!spec.layers.includes('moe')) return null;
  const { kind, inference_mode, bias_rate } = spec.router;
  if (kind !== 'top-k' && kind !== 'hybrid-k') return `the router '${kind}'`;
  if (inference_mode !== 'free') return `routing by language at inference (router.inference_mode ${inference_mode})`;
  if (bias_rate > 0) return 'a balancing bias on the choice of experts (router.bias_rate)';
  if (spec.capacity_factor !== null)
    return `a limit on the load of an expert (capacity_factor ${spec.capacity_factor})`;
  const counts = expertCounts(spec);
  return counts.length > 1 ? `pruned layers of ${counts.join(' and ')} experts` : null;
}
